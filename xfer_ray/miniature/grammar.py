"""The grammar of the miniature world: an event -> a sentence, in seven languages."""

from __future__ import annotations

from collections.abc import Callable

from xfer_ray.miniature.lexicon import COUNTS, NOUNS, PLACES, QUALITIES, TIMES, VERBS
from xfer_ray.miniature.meaning import Event, Phrase, kind
from xfer_ray.miniature.telling import Part, line, phrase


def sentence(event: Event, language: str) -> str:
    """Tell an event as a native speaker would write it down."""
    return line(parts(event, language), language).text


def parts(event: Event, language: str) -> list[Part]:
    """The words of that sentence in order, each with the part of the event that it tells."""
    return _SPEAKERS[language](event)


def noun_phrase(part: Phrase, language: str, *, accusative: bool = False) -> tuple[str, str]:
    """The count (empty for a definite singular) and the rest of a noun phrase; the object form where a language has one."""
    return _PHRASES[language](part, accusative)


def finite(event: Event, language: str) -> str:
    """The word of the predicate that agrees with the agent: a verb, or the auxiliary in German and French."""
    several = event.agent.count != "one"
    if language in ("de", "fr"):
        return {"de": ("hat", "haben"), "fr": ("a", "ont")}[language][several]
    if language == "es":
        return VERBS[event.verb].forms["es"][several]
    gender = NOUNS[event.agent.noun].forms["ru"][0]
    return VERBS[event.verb].forms["ru"][3 if several else "mfn".index(gender)]


def marked(event: Event) -> bool:
    """Whether Spanish puts `a` before the patient: before people, and animals with which one has dealings."""
    return kind(event.patient.noun) == "person" or (kind(event.patient.noun) == "animal" and event.verb in _WITH_A)


def _place(event: Event, language: str) -> str:
    return PLACES[event.place].forms[language][0] if event.place else ""


def _time(event: Event, language: str) -> str:
    return TIMES[event.time].forms[language][0] if event.time else ""


def _count(phrase: Phrase, language: str, form: int = 0) -> str:
    forms = COUNTS[phrase.count].forms[language]
    return forms[form % len(forms)]


# ------------------------------------------------------------------------------ English and German


def _english(event: Event) -> list[Part]:
    past, base = VERBS[event.verb].forms["en"]
    verb = f"did not {base}" if event.negated else past
    agent, patient = _english_phrase(event.agent, False), _english_phrase(event.patient, True)
    return [*phrase("agent", agent), ("", verb), *phrase("patient", patient), ("place", _place(event, "en")), ("time", _time(event, "en"))]


def _english_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    singular, plural = NOUNS[part.noun].forms["en"]
    quality = f"{part.quality} " if part.quality else ""
    return ("", f"the {quality}{singular}") if part.count == "one" else (_count(part, "en"), f"{quality}{plural}")


def _german(event: Event) -> list[Part]:
    """The finite verb second, the participle last."""
    agent = phrase("agent", _german_phrase(event.agent, False))
    auxiliary = ("", finite(event, "de"))
    front = [("time", _time(event, "de")), auxiliary, *agent] if event.time else [*agent, auxiliary]
    patient = phrase("patient", _german_phrase(event.patient, True))
    participle = VERBS[event.verb].forms["de"][0]
    return [*front, *patient, ("place", _place(event, "de")), ("", "nicht" if event.negated else ""), ("", participle)]


def _german_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    gender, nominative, oblique, plural = NOUNS[part.noun].forms["de"]
    stem = QUALITIES[part.quality].forms["de"][0] if part.quality else ""
    masculine_accusative = accusative and gender == "m"
    quality = stem and f"{stem}{'en' if masculine_accusative and part.count == 'one' else 'e'} "
    if part.count != "one":
        return _count(part, "de"), f"{quality}{plural}"
    article = "den" if masculine_accusative else {"m": "der", "f": "die", "n": "das"}[gender]
    return "", f"{article} {quality}{oblique if accusative else nominative}"


# ------------------------------------------------------------------------------ Spanish and French

_WITH_A = ("see", "chase", "wash")  # Spanish marks animals as it marks people when one has dealings with them


def _spanish(event: Event) -> list[Part]:
    agent, where, when = phrase("agent", _spanish_phrase(event.agent, False)), ("place", _place(event, "es")), ("time", _time(event, "es"))
    verb = [("", "no" if event.negated else ""), ("", finite(event, "es"))]
    return [*agent, *verb, *spanish_object(event), where, when]


def spanish_object(event: Event) -> list[Part]:
    """The patient with the preposition that some take: a tres perros, al gato, el limón."""
    count, rest = _spanish_phrase(event.patient, True)
    if not marked(event):
        return phrase("patient", (count, rest))
    return [("patient", "a"), *phrase("patient", (count, rest))] if count else [("patient", f"a {rest}".replace("a el ", "al "))]


def _spanish_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    return _romance_phrase(part, "es")


def _french(event: Event) -> list[Part]:
    auxiliary = finite(event, "fr")
    verb = f"n'{auxiliary} pas" if event.negated else auxiliary
    agent, patient = phrase("agent", _french_phrase(event.agent, False)), phrase("patient", _french_phrase(event.patient, True))
    where, when = ("place", _place(event, "fr")), ("time", _time(event, "fr"))
    return [*agent, ("", verb), ("", VERBS[event.verb].forms["fr"][0]), *patient, where, when]


def _french_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    return _romance_phrase(part, "fr")


def _romance_phrase(part: Phrase, language: str) -> tuple[str, str]:
    gender, singular, plural = NOUNS[part.noun].forms[language]
    feminine, several = int(gender == "f"), part.count != "one"
    quality = f" {QUALITIES[part.quality].forms[language][feminine + 2 * several]}" if part.quality else ""
    if several:
        return _count(part, language, feminine), f"{plural}{quality}"
    article = (("el ", "la ") if language == "es" else ("le ", "la "))[feminine]
    if language == "fr" and singular[0] in "aeiouhé":
        article = "l'"
    return "", f"{article}{singular}{quality}"


# ------------------------------------------------------------------------------ Russian


def _russian(event: Event) -> list[Part]:
    agent, patient = phrase("agent", _russian_phrase(event.agent, False)), phrase("patient", _russian_phrase(event.patient, True))
    verb = [("", "не" if event.negated else ""), ("", finite(event, "ru"))]
    return [("time", _time(event, "ru")), *agent, *verb, *patient, ("place", _place(event, "ru"))]


def _russian_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    """Animate nouns count in the genitive as objects: две собаки, but он увидел двух собак."""
    gender, nominative, object_form, few, genitive_plural = NOUNS[part.noun].forms["ru"]
    quality = QUALITIES[part.quality].forms["ru"] if part.quality else ("",) * 7
    masculine, feminine, neuter, feminine_accusative, genitive, plural, plural_genitive = quality
    animate = kind(part.noun) in ("person", "animal")
    count = "" if part.count == "one" else _count(part, "ru", int(accusative and animate))
    if part.count == "one" and accusative:
        adjective = {"m": genitive if animate else masculine, "f": feminine_accusative, "n": neuter}[gender]
        words = [adjective, object_form]
    elif part.count == "one":
        words = [{"m": masculine, "f": feminine, "n": neuter}[gender], nominative]
    elif part.count in ("three", "four") and not (accusative and animate):
        words = [plural if gender == "f" else plural_genitive, few]
    else:
        words = [plural_genitive, genitive_plural]
    return count, " ".join(word for word in words if word)


# ------------------------------------------------------------------------------ Chinese and Japanese


def _chinese(event: Event) -> list[Part]:
    """Time, place, verb, object; 了 for what happened, 没有 for what did not."""
    agent, patient = phrase("agent", _chinese_phrase(event.agent, False)), phrase("patient", _chinese_phrase(event.patient, True))
    verb, place = ("", VERBS[event.verb].forms["zh"][0]), ("place", _place(event, "zh"))
    before, after = ("", "没有" if event.negated else ""), ("", "" if event.negated else "了")
    return [("time", _time(event, "zh")), *agent, before, place, verb, after, *patient]


def _chinese_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    noun, classifier, *definite = NOUNS[part.noun].forms["zh"]
    quality = QUALITIES[part.quality].forms["zh"][0] if part.quality else ""
    return ("", f"{quality}{(definite or [noun])[0]}") if part.count == "one" else (f"{_count(part, 'zh')}{classifier}", f"{quality}{noun}")


def _japanese(event: Event) -> list[Part]:
    """The verb last; は marks what is known, が what is counted."""
    time = [("time", _time(event, "ja")), ("", "、" if event.time else "")]
    particle = ("", "は" if event.agent.count == "one" else "が")
    agent, patient = phrase("agent", _japanese_phrase(event.agent, False)), phrase("patient", _japanese_phrase(event.patient, True))
    verb = ("", VERBS[event.verb].forms["ja"][int(event.negated)])
    return [*time, *agent, particle, ("place", _place(event, "ja")), *patient, ("", "を"), verb]


def _japanese_phrase(part: Phrase, accusative: bool) -> tuple[str, str]:
    noun, counter, *definite = NOUNS[part.noun].forms["ja"]
    quality = QUALITIES[part.quality].forms["ja"][0] if part.quality else ""
    if part.count == "one":
        return "", f"{quality}{(definite or [noun])[0]}"
    return f"{_count(part, 'ja')}{counter}", f"の{quality}{noun}"


_SPEAKERS: dict[str, Callable[[Event], list[Part]]] = {
    "en": _english,
    "de": _german,
    "es": _spanish,
    "fr": _french,
    "ru": _russian,
    "zh": _chinese,
    "ja": _japanese,
}
_PHRASES: dict[str, Callable[[Phrase, bool], tuple[str, str]]] = {
    "en": _english_phrase,
    "de": _german_phrase,
    "es": _spanish_phrase,
    "fr": _french_phrase,
    "ru": _russian_phrase,
    "zh": _chinese_phrase,
    "ja": _japanese_phrase,
}
