"""From translated texts to translated examples: labels stay, answers are found again, and what became of each is written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xfer_ray.sources import Example
from xfer_ray.text import is_blank
from xfer_ray.translation import faults, projection
from xfer_ray.translation.fate import Fate
from xfer_ray.translation.projection import Found, Rule
from xfer_ray.translation.translator import Translation

Memory = Mapping[str, Translation]
"""Text of the origin -> its translation."""


@dataclass(frozen=True)
class Route:
    """From which language to which, whether answers are spans of the second text, and when a span is near enough."""

    source: str
    target: str
    spans: bool
    rule: Rule = dataclasses.field(default_factory=Rule)


def texts_of(examples: Sequence[Example], *, spans: bool) -> list[str]:
    """The distinct texts to translate, in the order of their first mention; blank ones need no translation."""
    mentioned = (text for example in examples for text in _texts(example, spans))
    return list(dict.fromkeys(text for text in mentioned if text.strip()))


def _texts(example: Example, spans: bool) -> tuple[str, ...]:
    return (example.first, example.second, *(example.answers if spans else ()))


def assembled(examples: Sequence[Example], memory: Memory, route: Route) -> tuple[list[Example], list[Fate]]:
    """The examples that survive, under their old ids, and the fate of every one; `memory` holds all texts of `texts_of`."""
    kept: list[Example] = []
    fates: list[Fate] = []
    for example in examples:
        translated, told = _spans(example, memory, route) if route.spans else _pair(example, memory, route)
        kept += [translated] if translated else []
        fates += told
    return kept, fates


def _pair(example: Example, memory: Memory, route: Route) -> tuple[Example | None, list[Fate]]:
    first, second = _told(example.first, memory), _told(example.second, memory)
    empty = _is_lost(example.first, first) or _is_lost(example.second, second)
    fate = Fate(example.id, 0, not empty, "empty" if empty else "", _faults(example, memory, route))
    return (None if empty else dataclasses.replace(example, first=first, second=second)), [fate]


def _spans(example: Example, memory: Memory, route: Route) -> tuple[Example | None, list[Fate]]:
    question, context = _told(example.first, memory), _told(example.second, memory)
    found, fates = list[Found](), list[Fate]()
    for gold, (answer, start) in enumerate(zip(example.answers, example.starts, strict=True)):
        place, fate = _answer(example, gold, (_told(answer, memory), start / len(example.second)), (question, context), route)
        fates.append(dataclasses.replace(fate, faults=_faults(example, memory, route, answer)))
        found += [place] if place else []
    places = list(dict.fromkeys((place.start, place.end) for place in found))
    if not places:
        return None, fates
    answers = tuple(context[start:end] for start, end in places)
    return Example(example.id, question, context, answers, tuple(start for start, _ in places)), fates


def _answer(example: Example, gold: int, wanted: tuple[str, float], texts: tuple[str, str], route: Route) -> tuple[Found | None, Fate]:
    """Where one answer is found again, if that is near enough; `wanted` is its translation and where in the context it began."""
    (answer, near), (question, context) = wanted, texts
    length = len(answer.strip())
    is_lost = any(map(is_blank, (question, context, answer)))
    fate = Fate(example.id, gold, False, "empty" if is_lost else "distance", length=length, translated=answer)
    if is_lost:
        return None, fate
    fate = dataclasses.replace(fate, bucket=projection.bucket(answer))
    found = projection.find(answer, context, near)
    if found is None:
        return None, fate
    fits = route.rule.accepts(found, answer)
    told = dataclasses.replace(
        fate,
        kept=fits,
        reason="" if fits else "distance",
        method=found.method,
        distance=found.distance,
        ties=found.ties,
        start=found.start,
        answer=context[found.start : found.end],
    )
    return (found if fits else None), told


def _told(text: str, memory: Memory) -> str:
    return memory[text].text if text.strip() else text


def _is_lost(text: str, translated: str) -> bool:
    return is_blank(translated) and not is_blank(text)


def _faults(example: Example, memory: Memory, route: Route, answer: str | None = None) -> str:
    """What is suspicious about the translations of an example: "second:looping third:untranslated"."""
    named = {"first": example.first, "second": example.second} | ({} if answer is None else {"answer": answer})
    return " ".join(_suspicions(named, memory, route))


def _suspicions(named: Mapping[str, str], memory: Memory, route: Route) -> Iterator[str]:
    for name, text in named.items():
        if text.strip():
            for fault in faults.faults_of(text, memory[text], route.source, route.target):
                yield f"{name}:{fault}"
