"""What happens in the miniature world: events, and how one account of an event relates to another.

Both accounts are of one occasion, which has one place, one time, one agent and one patient: what is told otherwise is contradicted.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from xfer_ray.miniature.lexicon import COUNTS, NOUNS, PLACES, QUALITIES, TIMES, VERBS

BEINGS = ("person", "animal")
THINGS = ("animal", "fruit", "instrument")
EVERYTHING = ("person", *THINGS)
# verb: the kinds that may do it, and the kinds to which it may be done
ROLES = {
    "see": (BEINGS, EVERYTHING),
    "chase": (BEINGS, BEINGS),
    "wash": (("person",), ("animal", "fruit")),
    "draw": (("person",), EVERYTHING),
    "invite": (("person",), ("person",)),
    "find": (("person",), THINGS),
    "lose": (("person",), THINGS),
    "buy": (("person",), THINGS),
    "sell": (("person",), THINGS),
    "praise": (("person",), ("person",)),
    "criticize": (("person",), ("person",)),
}
NUMBERS = tuple(count for count, word in COUNTS.items() if word.kind == "number")


@dataclass(frozen=True)
class Phrase:
    """A noun, how many of it (`one` is the definite singular), and a quality."""

    noun: str
    count: str = "one"
    quality: str = ""


@dataclass(frozen=True)
class Event:
    """Who did what to whom, where, and when; or that it did not happen."""

    agent: Phrase
    verb: str
    patient: Phrase
    place: str = ""
    time: str = ""
    negated: bool = False


Change = tuple[str, Event]  # which part of an event changed, and the event after it


def kind(noun: str) -> str:
    """The hypernym of a noun: `dog` -> `animal`; a hypernym is its own."""
    return NOUNS[noun].kind.replace("-", noun)


def members(kind: str) -> list[str]:
    """The hyponyms of a kind: `animal` -> `dog`, `cat`, ..."""
    return [noun for noun, word in NOUNS.items() if word.kind == kind]


def choose(random: Random, changes: Iterable[Change]) -> Change | None:
    """One of the changes, each part of the event being as likely as the others; None if there are none."""
    by_part: dict[str, list[Change]] = {}
    for change in changes:
        by_part.setdefault(change[0], []).append(change)
    return random.choice(by_part[random.choice(list(by_part))]) if by_part else None


def fold(event: Event) -> str:
    """The split that alone may tell this event: train (and pre-training) six tenths, validation and test two each."""
    return ("train", "train", "train", "validation", "test")[zlib.crc32(repr(event).encode()) % 5]


def draw(random: Random) -> Event:
    """An event at random. A negated one has definite singulars only: the scope of a number would be ambiguous."""
    verb = random.choice(list(ROLES))
    negated = random.random() < 0.25
    agent, patient = (_phrase(random, random.choice(kinds), definite=negated) for kinds in ROLES[verb])
    if agent.noun == patient.noun:
        return draw(random)
    place = random.choice(list(PLACES)) if random.random() < 0.5 else ""
    time = random.choice(list(TIMES)) if random.random() < 0.3 else ""
    return Event(agent, verb, patient, place, time, negated)


def _phrase(random: Random, kind: str, *, definite: bool) -> Phrase:
    noun = kind if random.random() < 0.25 else random.choice(members(kind))
    count = "one" if definite or random.random() < 0.6 else random.choice(list(COUNTS))
    quality = random.choice(_qualities(noun)) if random.random() < 0.3 else ""
    return Phrase(noun, count, quality)


def _qualities(noun: str) -> list[str]:
    return [quality for quality, word in QUALITIES.items() if word.kind == kind(noun)]


# ------------------------------------------------------------------------------ relations


def narrower(event: Event) -> Iterator[Change]:
    """Accounts that say more: `event` follows from them."""
    return general(event) if event.negated else _specific(event)


def wider(event: Event) -> Iterator[Change]:
    """Accounts that leave open whether `event` is so; of what did not happen, other things that did not."""
    return itertools.chain(_specific(event), _otherwise(event)) if event.negated else general(event)


def contrary(event: Event) -> Iterator[Change]:
    """Accounts that `event` contradicts, both being of the same occasion."""
    if event.agent.count == event.patient.count == "one":
        yield "negated", replace(event, negated=not event.negated)
    if not event.negated:
        yield from _otherwise(event)


def general(event: Event) -> Iterator[Change]:
    """Accounts that say one thing less, whether it happened or not."""
    for role, phrase, other in _phrases(event):
        if kind(phrase.noun) not in (phrase.noun, other.noun):
            yield f"{role}.noun", _with(event, role, noun=kind(phrase.noun))
        if phrase.quality:
            yield f"{role}.quality", _with(event, role, quality="")
        if phrase.count in NUMBERS:
            yield f"{role}.count", _with(event, role, count="several")
    if event.place:
        yield "place", replace(event, place="")
    if event.time:
        yield "time", replace(event, time="")


def _specific(event: Event) -> Iterator[Change]:
    for role, phrase, other in _phrases(event):
        for noun in members(phrase.noun):
            if noun != other.noun:
                yield f"{role}.noun", _with(event, role, noun=noun)
        for quality in [] if phrase.quality else _qualities(phrase.noun):
            yield f"{role}.quality", _with(event, role, quality=quality)
        for count in NUMBERS if phrase.count == "several" else ():
            yield f"{role}.count", _with(event, role, count=count)
    yield from (("place", replace(event, place=place)) for place in PLACES if not event.place)
    yield from (("time", replace(event, time=time)) for time in TIMES if not event.time)


def _otherwise(event: Event) -> Iterator[Change]:
    if VERBS[event.verb].opposite:
        yield "verb", replace(event, verb=VERBS[event.verb].opposite)
    if _may_swap(event):
        yield "roles", replace(event, agent=event.patient, patient=event.agent)
    for role, phrase, other in _phrases(event):
        yield from _other_phrases(event, role, phrase, other)
    yield from (("place", replace(event, place=place)) for place in PLACES if event.place not in ("", place))
    yield from (("time", replace(event, time=time)) for time in TIMES if event.time not in ("", time))


def _other_phrases(event: Event, role: str, phrase: Phrase, other: Phrase) -> Iterator[Change]:
    for noun in _siblings(phrase.noun):
        if noun != other.noun:
            yield f"{role}.noun", _with(event, role, noun=noun)
    for count in NUMBERS if phrase.count in NUMBERS else ():
        if count != phrase.count:
            yield f"{role}.count", _with(event, role, count=count)
    if phrase.quality:
        yield f"{role}.quality", _with(event, role, quality=QUALITIES[phrase.quality].opposite)


def _phrases(event: Event) -> tuple[tuple[str, Phrase, Phrase], ...]:
    """Each role with its phrase and the phrase of the other role."""
    return ("agent", event.agent, event.patient), ("patient", event.patient, event.agent)


def _siblings(noun: str) -> list[str]:
    return [] if kind(noun) == noun else [other for other in members(kind(noun)) if other != noun]


def _may_swap(event: Event) -> bool:
    agents, patients = ROLES[event.verb]
    return kind(event.patient.noun) in agents and kind(event.agent.noun) in patients


def _with(event: Event, role: str, **changes: str) -> Event:
    if role == "agent":
        return replace(event, agent=replace(event.agent, **changes))
    return replace(event, patient=replace(event.patient, **changes))
