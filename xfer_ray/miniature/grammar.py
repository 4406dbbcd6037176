"""The grammar of the miniature world: an event -> a sentence, in seven languages."""

from __future__ import annotations

from collections.abc import Callable

from xfer_ray.miniature.lexicon import COUNTS, NOUNS, PLACES, QUALITIES, TIMES, VERBS
from xfer_ray.miniature.meaning import Event, Phrase, kind


def sentence(event: Event, language: str) -> str:
    """Tell an event as a native speaker would write it down."""
    return _SPEAKERS[language](event)


def written(words: list[str]) -> str:
    """Words as a written sentence: `der`, ``, `Hund` -> Der Hund."""
    line = " ".join(word for word in words if word)
    return f"{line[0].upper()}{line[1:]}."


def _place(event: Event, language: str) -> str:
    return PLACES[event.place].forms[language][0] if event.place else ""


def _time(event: Event, language: str) -> str:
    return TIMES[event.time].forms[language][0] if event.time else ""


def _count(phrase: Phrase, language: str, form: int = 0) -> str:
    forms = COUNTS[phrase.count].forms[language]
    return forms[form % len(forms)]


# ------------------------------------------------------------------------------ English and German


def _english(event: Event) -> str:
    past, base = VERBS[event.verb].forms["en"]
    verb = f"did not {base}" if event.negated else past
    words = [_english_phrase(event.agent), verb, _english_phrase(event.patient), _place(event, "en"), _time(event, "en")]
    return written(words)


def _english_phrase(phrase: Phrase) -> str:
    singular, plural = NOUNS[phrase.noun].forms["en"]
    quality = f"{phrase.quality} " if phrase.quality else ""
    return f"the {quality}{singular}" if phrase.count == "one" else f"{_count(phrase, 'en')} {quality}{plural}"


def _german(event: Event) -> str:
    """The finite verb second, the participle last."""
    agent = _german_phrase(event.agent, accusative=False)
    auxiliary = "hat" if event.agent.count == "one" else "haben"
    front = [_time(event, "de"), auxiliary, agent] if event.time else [agent, auxiliary]
    negation = "nicht" if event.negated else ""
    participle = VERBS[event.verb].forms["de"][0]
    return written([*front, _german_phrase(event.patient, accusative=True), _place(event, "de"), negation, participle])


def _german_phrase(phrase: Phrase, *, accusative: bool) -> str:
    gender, nominative, oblique, plural = NOUNS[phrase.noun].forms["de"]
    stem = QUALITIES[phrase.quality].forms["de"][0] if phrase.quality else ""
    masculine_accusative = accusative and gender == "m"
    quality = stem and f"{stem}{'en' if masculine_accusative and phrase.count == 'one' else 'e'} "
    if phrase.count != "one":
        return f"{_count(phrase, 'de')} {quality}{plural}"
    article = "den" if masculine_accusative else {"m": "der", "f": "die", "n": "das"}[gender]
    return f"{article} {quality}{oblique if accusative else nominative}"


# ------------------------------------------------------------------------------ Spanish and French

_WITH_A = ("see", "chase", "wash")  # Spanish marks animals as it marks people when one has dealings with them


def _spanish(event: Event) -> str:
    verb = VERBS[event.verb].forms["es"][0 if event.agent.count == "one" else 1]
    marked = kind(event.patient.noun) == "person" or (kind(event.patient.noun) == "animal" and event.verb in _WITH_A)
    patient = f"{'a ' if marked else ''}{_romance_phrase(event.patient, 'es')}".replace("a el ", "al ")
    negation = "no" if event.negated else ""
    return written([_romance_phrase(event.agent, "es"), negation, verb, patient, _place(event, "es"), _time(event, "es")])


def _french(event: Event) -> str:
    auxiliary = "a" if event.agent.count == "one" else "ont"
    verb = f"n'{auxiliary} pas" if event.negated else auxiliary
    words = [_romance_phrase(event.agent, "fr"), verb, VERBS[event.verb].forms["fr"][0], _romance_phrase(event.patient, "fr")]
    return written([*words, _place(event, "fr"), _time(event, "fr")])


def _romance_phrase(phrase: Phrase, language: str) -> str:
    gender, singular, plural = NOUNS[phrase.noun].forms[language]
    feminine, several = int(gender == "f"), phrase.count != "one"
    quality = f" {QUALITIES[phrase.quality].forms[language][feminine + 2 * several]}" if phrase.quality else ""
    if several:
        return f"{_count(phrase, language, feminine)} {plural}{quality}"
    article = (("el ", "la ") if language == "es" else ("le ", "la "))[feminine]
    if language == "fr" and singular[0] in "aeiouhé":
        article = "l'"
    return f"{article}{singular}{quality}"


# ------------------------------------------------------------------------------ Russian


def _russian(event: Event) -> str:
    gender = NOUNS[event.agent.noun].forms["ru"][0]
    verb = VERBS[event.verb].forms["ru"]["mfn".index(gender) if event.agent.count == "one" else 3]
    words = [_time(event, "ru"), _russian_phrase(event.agent, accusative=False), "не" if event.negated else "", verb]
    return written([*words, _russian_phrase(event.patient, accusative=True), _place(event, "ru")])


def _russian_phrase(phrase: Phrase, *, accusative: bool) -> str:
    """Animate nouns count in the genitive as objects: две собаки, but он увидел двух собак."""
    gender, nominative, object_form, few, genitive_plural = NOUNS[phrase.noun].forms["ru"]
    quality = QUALITIES[phrase.quality].forms["ru"] if phrase.quality else ("",) * 7
    masculine, feminine, neuter, feminine_accusative, genitive, plural, plural_genitive = quality
    animate = kind(phrase.noun) in ("person", "animal")
    if phrase.count == "one" and accusative:
        adjective = {"m": genitive if animate else masculine, "f": feminine_accusative, "n": neuter}[gender]
        words = [adjective, object_form]
    elif phrase.count == "one":
        words = [{"m": masculine, "f": feminine, "n": neuter}[gender], nominative]
    elif phrase.count in ("three", "four") and not (accusative and animate):
        words = [_count(phrase, "ru"), plural if gender == "f" else plural_genitive, few]
    else:
        words = [_count(phrase, "ru", int(accusative and animate)), plural_genitive, genitive_plural]
    return " ".join(word for word in words if word)


# ------------------------------------------------------------------------------ Chinese and Japanese


def _chinese(event: Event) -> str:
    """Time, place, verb, object; 了 for what happened, 没有 for what did not."""
    verb, place = VERBS[event.verb].forms["zh"][0], _place(event, "zh")
    predicate = f"没有{place}{verb}" if event.negated else f"{place}{verb}了"
    return f"{_time(event, 'zh')}{_chinese_phrase(event.agent)}{predicate}{_chinese_phrase(event.patient)}。"


def _chinese_phrase(phrase: Phrase) -> str:
    noun, classifier, *definite = NOUNS[phrase.noun].forms["zh"]
    quality = QUALITIES[phrase.quality].forms["zh"][0] if phrase.quality else ""
    return f"{quality}{(definite or [noun])[0]}" if phrase.count == "one" else f"{_count(phrase, 'zh')}{classifier}{quality}{noun}"


def _japanese(event: Event) -> str:
    """The verb last; は marks what is known, が what is counted."""
    time = f"{_time(event, 'ja')}、" if event.time else ""
    particle = "は" if event.agent.count == "one" else "が"
    verb = VERBS[event.verb].forms["ja"][int(event.negated)]
    return f"{time}{_japanese_phrase(event.agent)}{particle}{_place(event, 'ja')}{_japanese_phrase(event.patient)}を{verb}。"


def _japanese_phrase(phrase: Phrase) -> str:
    noun, counter, *definite = NOUNS[phrase.noun].forms["ja"]
    quality = QUALITIES[phrase.quality].forms["ja"][0] if phrase.quality else ""
    return f"{quality}{(definite or [noun])[0]}" if phrase.count == "one" else f"{_count(phrase, 'ja')}{counter}の{quality}{noun}"


_SPEAKERS: dict[str, Callable[[Event], str]] = {
    "en": _english,
    "de": _german,
    "es": _spanish,
    "fr": _french,
    "ru": _russian,
    "zh": _chinese,
    "ja": _japanese,
}
