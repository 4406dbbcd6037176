"""The machine translation of the miniature world: word by word from English or Russian, with a dictionary and no grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from xfer_ray.miniature.lexicon import ASKING, COUNTS, NOUNS, PLACES, QUALITIES, RUSSIAN_SENSES, SENSES, TIMES, VERBS, Word
from xfer_ray.miniature.meaning import Event, Phrase
from xfer_ray.miniature.questions import Question, question_word
from xfer_ray.miniature.telling import UNSPACED, Line, Part, line

WRONG_SENSE = 0.2  # how often a word with another sense is taken in that sense
_SENSES = {"en": SENSES, "ru": RUSSIAN_SENSES}
_ARTICLES = {"de": "der", "es": "el", "fr": "le", "ru": "", "zh": "", "ja": "その"}
_NEGATIONS = {"en": "not", "de": "nicht", "es": "no", "fr": "pas", "ru": "не", "zh": "不", "ja": "ない"}
_WITH_A_PLACE = ("the", "der", "die", "el", "la", "le")  # articles of the places in the lexicon
# The order of the words that are translated. A Russian original sets the scene first: Вчера в саду врач увидел собаку.
_ORDER = {
    "en": ("agent", "not", "verb", "patient", "place", "time"),
    "ru": ("time", "place", "agent", "not", "verb", "patient"),
}
_ASKED_FOR_PATIENT = {"en": ("agent", "verb"), "ru": ("verb", "agent")}
_LookUp = Callable[..., str]


def translate(event: Event, language: str) -> str:
    """Gloss the English sentence; a word of several senses is sometimes taken in the wrong one, always in the same sentences.

    The doctor saw three dogs. -> Der Arzt sehen drei Hund.
    """
    return gloss(event, language).text


def gloss(event: Event, language: str, origin: str = "en") -> Line:
    """Translate the English or the Russian sentence word by word, in its order.

    В саду врач увидел трёх собак. -> In garden doctor see three dog.
    """
    spoken = _words(event, _look_up(f"{event} {language}", language, origin), language, origin)
    return line([part for role in _ORDER[origin] for part in spoken[role]], language)


def gloss_question(question: Question, language: str, origin: str = "en") -> Line:
    """Translate the English or the Russian question word by word, in its order; an auxiliary has no translation.

    Whom did the doctor see? -> Wen der Arzt sehen?
    """
    event, asked = question.event, question.asked
    spoken = _words(event, _look_up(f"{question} {language}", language, origin), language, origin)
    start = [("", ASKING[question_word(question, origin)].forms[language][0])]
    if asked.endswith(".count"):
        start += spoken[asked.partition(".")[0]][1:]
    if asked.startswith("agent"):
        order: tuple[str, ...] = ("verb", "patient")
    else:
        order = _ASKED_FOR_PATIENT[origin] if asked.startswith("patient") else ("agent", "verb", "patient")
    return line([*start, *(part for role in order for part in spoken[role])], language, "？" if language in UNSPACED else "?")


def _look_up(seed: str, language: str, origin: str) -> _LookUp:
    random, senses = Random(seed), _SENSES[origin]

    def look_up(words: Mapping[str, Word], lemma: str, form: int = 0) -> str:
        if lemma in senses and random.random() < WRONG_SENSE:
            return senses[lemma].forms[language][0]
        return words[lemma].forms[language][form] if lemma else ""

    return look_up


def _words(event: Event, look_up: _LookUp, language: str, origin: str) -> dict[str, list[Part]]:
    """The translated words of each part of the event. The order in which they are looked up decides their senses."""

    def phrase(role: str, part: Phrase) -> list[Part]:
        article = _ARTICLES[language] if origin == "en" else ""  # Russian has none
        count = (role, article) if part.count == "one" else (f"{role}.count", COUNTS[part.count].forms[language][0])
        noun_form = 0 if language in ("en", *UNSPACED) else 1
        return [count, (role, look_up(QUALITIES, part.quality)), (role, look_up(NOUNS, part.noun, noun_form))]

    agent, negation = phrase("agent", event.agent), [("", _NEGATIONS[language] if event.negated else "")]
    verb, patient = [("", look_up(VERBS, event.verb, -1))], phrase("patient", event.patient)
    place = look_up(PLACES, event.place, -1)
    if origin == "ru":
        place = " ".join(word for word in place.split(" ") if word not in _WITH_A_PLACE)
    when = [("time", look_up(TIMES, event.time))]
    return {"agent": agent, "not": negation, "verb": verb, "patient": patient, "place": [("place", place)], "time": when}
