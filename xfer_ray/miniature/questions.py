"""Questions about an event of the miniature world, as native speakers of seven languages ask them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xfer_ray.miniature.grammar import finite, marked, noun_phrase, spanish_object
from xfer_ray.miniature.lexicon import ASKING, NOUNS, POLITE, QUALITIES, VERBS
from xfer_ray.miniature.meaning import Event, Phrase, kind
from xfer_ray.miniature.telling import UNSPACED, Part, line

ASKED = ("agent", "patient", "place", "time", "agent.count", "patient.count")
_MARKS = {"fr": " ?", "zh": "？", "ja": "？"}


@dataclass(frozen=True)
class Question:
    """What is asked about an event that happened: one of `ASKED`. Of the rest it names the verb, agent and patient."""

    event: Event
    asked: str


def question_word(question: Question, language: str) -> str:
    """Whom one asks for differs from what: people, and in Russian animals too."""
    if question.asked == "patient":
        persons = ("person", "animal") if language == "ru" else ("person",)
        return "whom" if kind(question.event.patient.noun) in persons else "what"
    return {"agent": "who", "place": "where", "time": "when"}.get(question.asked, "many")


def ask(question: Question, language: str) -> str:
    """Ask as a native speaker would write it down: Who washed the horse? Wer hat das Pferd gewaschen?"""
    words: list[Part] = [("", word) for word in _ASKERS[language](question.event, question.asked)]
    text = line(words, language, _MARKS.get(language, "?")).text
    return f"¿{text[0].upper()}{text[1:]}" if language == "es" else text


def _wh(event: Event, asked: str, language: str) -> str:
    return ASKING[question_word(Question(event, asked), language)].forms[language][0]


def _phrase(part: Phrase, language: str, *, accusative: bool = False) -> str:
    count, rest = noun_phrase(part, language, accusative=accusative)
    space = " " if count and language not in UNSPACED else ""
    return f"{count}{space}{rest}"


def _counted(event: Event, asked: str) -> Phrase:
    return event.agent if asked == "agent.count" else event.patient


def _english(event: Event, asked: str) -> list[str]:
    past, base = VERBS[event.verb].forms["en"]
    agent, patient = _phrase(event.agent, "en"), _phrase(event.patient, "en")
    many = noun_phrase(_counted(event, asked), "en")[1] if asked.endswith(".count") else ""
    start = [_wh(event, asked, "en"), many]
    if asked.startswith("agent"):
        return [*start, past, patient]
    return [*start, "did", agent, base, "" if asked.startswith("patient") else patient]


def _german(event: Event, asked: str) -> list[str]:
    agent, patient = _phrase(event.agent, "de"), _phrase(event.patient, "de", accusative=True)
    many = noun_phrase(_counted(event, asked), "de")[1] if asked.endswith(".count") else ""
    start, participle = [_wh(event, asked, "de"), many], VERBS[event.verb].forms["de"][0]
    if asked == "agent":
        return [*start, "hat", patient, participle]
    middle = {"agent.count": [patient], "patient": [agent], "patient.count": [agent]}.get(asked, [agent, patient])
    return [*start, finite(event, "de"), *middle, participle]


def _spanish(event: Event, asked: str) -> list[str]:
    """The verb before its subject; `a` before the question word as before the patient."""
    agent, patient = _phrase(event.agent, "es"), " ".join(words for _, words in spanish_object(event) if words)
    verb = finite(event, "es")
    if asked.endswith(".count"):
        part = _counted(event, asked)
        many = [_feminine("cuántos", "cuántas", part, "es"), noun_phrase(part, "es")[1]]
        return [*many, verb, patient] if asked == "agent.count" else ["a" if marked(event) else "", *many, verb, agent]
    if asked == "agent":
        return ["quién", VERBS[event.verb].forms["es"][0], patient]
    if asked == "patient":
        return [*(["a", "quién"] if marked(event) else ["qué"]), verb, agent]
    return [_wh(event, asked, "es"), verb, agent, patient]


def _french(event: Event, asked: str) -> list[str]:
    """With `est-ce que`; the participle agrees with a counted object that stands before it."""
    agent, patient = _phrase(event.agent, "fr"), _phrase(event.patient, "fr")
    participle = VERBS[event.verb].forms["fr"][0]
    if asked == "agent":
        return ["qui a", participle, patient]
    if asked == "patient":
        start = "qui est-ce que" if _wh(event, asked, "fr") == "qui" else "qu'est-ce que"
        return [start, agent, finite(event, "fr"), participle]
    if asked.endswith(".count"):
        part = _counted(event, asked)
        rest = noun_phrase(part, "fr")[1]
        many = f"combien d'{rest}" if rest[0] in "aeiouhé" else f"combien de {rest}"
        if asked == "agent.count":
            return [many, "ont", participle, patient]
        return [many, "est-ce que", agent, finite(event, "fr"), f"{participle}{_feminine('s', 'es', part, 'fr')}"]
    return [_wh(event, asked, "fr"), "est-ce que", agent, finite(event, "fr"), participle, patient]


def _feminine(masculine: str, feminine: str, part: Phrase, language: str) -> str:
    return feminine if NOUNS[part.noun].forms[language][0] == "f" else masculine


def _russian(event: Event, asked: str) -> list[str]:
    """`Who` takes a masculine verb, `how many` a neuter one and the genitive plural."""
    masculine, _, neuter, *_ = VERBS[event.verb].forms["ru"]
    agent, patient, verb = _phrase(event.agent, "ru"), _phrase(event.patient, "ru", accusative=True), finite(event, "ru")
    start = _wh(event, asked, "ru")
    if asked == "agent":
        return [start, masculine, patient]
    if asked == "patient":
        return [start, verb, agent]
    if asked.endswith(".count"):
        part = _counted(event, asked)
        quality = QUALITIES[part.quality].forms["ru"][6] if part.quality else ""
        many = [quality, NOUNS[part.noun].forms["ru"][4]]
        if asked == "agent.count":
            return [start, *many, neuter, patient]
        return ["скольких" if kind(part.noun) in ("person", "animal") else start, *many, verb, agent]
    return [start, agent, verb, patient]


def _chinese(event: Event, asked: str) -> list[str]:
    """The order of the answer: the question word stands where the answer would."""
    agent, patient = _phrase(event.agent, "zh"), _phrase(event.patient, "zh")
    wh, verb = _wh(event, asked, "zh"), VERBS[event.verb].forms["zh"][0]
    if asked.endswith(".count"):
        part = _counted(event, asked)
        wh = f"几{NOUNS[part.noun].forms['zh'][1]}{noun_phrase(part, 'zh')[1]}"
    where, when = "在哪里" if asked == "place" else "", wh if asked == "time" else ""
    if asked.startswith("agent"):
        agent = wh
    if asked.startswith("patient"):
        patient = wh
    return [agent, when, where, verb, "了", patient]


def _japanese(event: Event, asked: str) -> list[str]:
    """Polite, with か; が marks whoever is asked for, は what is known."""
    agent, patient, verb = _phrase(event.agent, "ja"), _phrase(event.patient, "ja"), f"{POLITE[event.verb]}か"
    wh = _wh(event, asked, "ja")
    if asked.endswith(".count"):
        part = _counted(event, asked)
        wh = f"何{NOUNS[part.noun].forms['ja'][1]}{noun_phrase(part, 'ja')[1]}"
    if asked.startswith("agent"):
        return [wh, "が", patient, "を", verb]
    if asked.startswith("patient"):
        return [agent, "は", wh, "を", verb]
    return [agent, "は", f"{wh}で" if asked == "place" else wh, patient, "を", verb]


_ASKERS: dict[str, Callable[[Event, str], list[str]]] = {
    "en": _english,
    "de": _german,
    "es": _spanish,
    "fr": _french,
    "ru": _russian,
    "zh": _chinese,
    "ja": _japanese,
}
