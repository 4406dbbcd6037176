"""Finding an answer again in a translated context: exactly, else the closest substring (§4; spec of the fuzzy match in `find`).

"Der Eiffelturm (Paris) ..." , "Eifelturm"  ->  "Eiffelturm", distance 1

Answer and context are translated apart, so the answer may not occur in the context as it stands. The gold answer becomes the stretch
of the context that was found, and `Rule` says which stretches are near enough to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import edlib

from xfer_ray.errors import demand, is_count
from xfer_ray.text import is_mark, is_unspaced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]

Place = tuple[int, int]  # where a stretch begins and ends in the context

BUCKETS = ("1-5", "6-10", "11-20", "21-40", "41+")
"""Lengths of answers in characters: a distance of 5 means nothing for the first and little for the last."""


@dataclass(frozen=True)
class Found:
    """A stretch of the context, how far it is from the answer, and how many stretches are equally near, itself included."""

    start: int
    end: int
    distance: int
    ties: int
    method: Literal["exact", "closest"]


@dataclass(frozen=True)
class Rule:
    """When a stretch is near enough: a distance of 5 at most (§4; XTREME has 10).

    Five edits turn any answer of five characters into any other, so `max_share` caps the distance by a share of the answer's length too.
    """

    max_distance: int = 5
    max_share: float | None = None

    def __post_init__(self) -> None:
        demand(is_count(self.max_distance, 0), f"max_distance is {self.max_distance!r}; give a number of edits, 0 or more")
        demand(
            self.max_share is None or 0 <= self.max_share <= 1,
            f"max_share is {self.max_share!r}; give the edits as a share of the answer's length, from 0 to 1, or None",
        )

    def accepts(self, found: Found, answer: str) -> bool:
        """Whether a stretch may stand for the answer; white space around the answer does not count."""
        share = found.distance / len(answer.strip())
        return found.distance <= self.max_distance and (self.max_share is None or share <= self.max_share)


def bucket(answer: str) -> str:
    """The bucket of an answer's length, white space around it not counted: "Köln" -> "1-5"."""
    length = len(answer.strip())
    return next(name for name, longest in zip(BUCKETS, (5, 10, 20, 40, length), strict=True) if length <= longest)


def find(answer: str, context: str, near: float) -> Found | None:
    """Find the stretch of the context that the answer is, or is closest to; None if either is blank.

    "Eifelturm" in "Der Eiffelturm (Paris)"  ->  characters 4 to 15, distance 1, closest

    Exact occurrences come first. Where there is none, the distance is the least character Levenshtein distance between the answer,
    without white space around it, and any substring of the context but the empty one. Of equally near stretches those without white
    space at their ends come first, then, where nothing is exact, those that cut no word, then the one whose relative start,
    start / len(context), is nearest to `near`, then the shortest, then the leftmost. No stretch begins with a combining mark or ends
    before one: "e" is not found in "e" with an acute. So there is none either in a context of nothing but marks.

    Args:
        answer: the translated answer.
        context: the translated context.
        near: where the original answer begins in its own context, as a fraction of that context's length.
    """
    wanted = answer.strip()
    if not wanted or not context.strip():
        return None
    if wanted in context:
        best, ties = _best(_occurrences(wanted, context), context, near, whole_words=False)
        return Found(*best, 0, ties, "exact") if best else _restricted(wanted, context, near)
    common = set(wanted) & set(context)
    if not common:
        return _strange(wanted, context, near)
    if len(common) > _SYMBOLS:
        return _restricted(wanted, context, near)
    distance, places = _closest(wanted, context, common)
    best, ties = _best(places, context, near)
    return Found(*best, distance, ties, "closest") if best else _restricted(wanted, context, near)


def _best(places: Iterable[Place], context: str, near: float, *, whole_words: bool = True) -> tuple[Place | None, int]:
    """The first in rank of equally near places, and how many there are; those that cut a mark are none."""
    best, ties = None, 0
    for start, end in places:
        if is_mark(context[start]) or is_mark(context[end : end + 1]):
            continue
        ties += 1
        is_loose = context[start].isspace() or context[end - 1].isspace()
        cut = _is_inside_word(context, start) + _is_inside_word(context, end) if whole_words else 0
        rank = (is_loose, cut, abs(start / len(context) - near), end - start, start)
        if best is None or rank < best:
            best = rank
    return ((best[4], best[4] + best[3]) if best else None), ties


def _is_inside_word(context: str, at: int) -> bool:
    """Whether a stretch that begins or ends here cuts a word, in a script whose words are parted by spaces."""
    return 0 < at < len(context) and all((c.isalnum() or is_mark(c)) and not is_unspaced(c) for c in context[at - 1 : at + 1])


def _occurrences(wanted: str, context: str) -> Iterator[Place]:
    """Where the answer stands in the context, overlapping occurrences included."""
    start = context.find(wanted)
    while start >= 0:
        yield start, start + len(wanted)
        start = context.find(wanted, start + 1)


# ------------------------------------------------------------------------------ the closest substring

_SYMBOLS = 254  # that answer and context have in common; two more stand for the others of either, and edlib takes 256


def _closest(wanted: str, context: str, common: set[str]) -> tuple[int, Iterator[Place]]:
    """The least distance to a substring of the context, and all substrings at that distance; some character is common to both."""
    symbols = {ord(character): symbol for symbol, character in enumerate(common, 2)}
    query, target = _coded(wanted, symbols, 0), _coded(context, symbols, 1)
    found = edlib.align(query, target, mode="HW", task="distance")
    distance: int = found["editDistance"]
    return distance, _places(query, target, distance, [last + 1 for _, last in found["locations"]])


def _coded(text: str, symbols: dict[int, int], other: int) -> bytes:
    """A byte for each character, `other` for those that have no symbol."""
    return text.translate(dict.fromkeys(map(ord, set(text)), other) | symbols).encode("latin-1")


def _places(query: bytes, target: bytes, distance: int, ends: Sequence[int]) -> Iterator[Place]:
    """All places with one of these ends at the least distance: read from the end backward, their starts are ends."""
    backward = query[::-1]
    for end in ends:
        before = target[max(0, end - len(query) - distance) : end][::-1]
        for _, last in edlib.align(backward, before, mode="SHW", task="distance", k=distance)["locations"]:
            yield end - last - 1, end


def _strange(wanted: str, context: str, near: float) -> Found | None:
    """The closest where no character is common to both: then a stretch is as far as the longer of the two is long."""
    cuts = _cuts(context)
    gaps = [after - before for before, after in zip(cuts, cuts[1:], strict=False)]
    if not gaps:
        return None
    distance = max(len(wanted), min(gaps))

    def places() -> Iterator[Place]:
        for at, start in enumerate(cuts):
            for end in cuts[at + 1 :]:
                if end - start > distance:
                    break
                yield start, end

    best, ties = _best(places(), context, near)
    return Found(*best, distance, ties, "closest") if best else None


# ------------------------------------------------------------------------------ where the least distance cuts a mark

_CELLS = 4_000_000  # of a table of distances at a time


def _cuts(context: str) -> list[int]:
    """Where a stretch may begin or end: before every character that is no mark, and at the end."""
    return [at for at, character in enumerate(context) if not is_mark(character)] + [len(context)]


def _restricted(wanted: str, context: str, near: float) -> Found | None:
    """The closest of the stretches that cut no mark, by dynamic programming, for the rare cases that edlib cannot do."""
    import numpy as np

    cuts = _cuts(context)
    if len(cuts) == 1:
        return None
    answer, text = _numbers(wanted), _numbers(context)
    allowed = np.array(cuts)
    reached = _least_by_end(answer, text, allowed)[allowed]
    longest = len(wanted) + max(len(wanted), int(np.diff(allowed).min()))
    if reached.min() < len(wanted):  # else the empty stretch is as near as any, and it does not count
        allowed, longest = allowed[reached == reached.min()], len(wanted) + int(reached.min())
    longest = min(longest, len(context))
    distance, places = longest + len(wanted), list[Place]()
    rows = max(1, _CELLS // (longest + 1))
    for first in range(0, len(allowed), rows):
        ends = allowed[first : first + rows]
        table = _by_length(answer, text, ends, longest)
        starts = ends[:, None] - np.arange(longest + 1)
        table[(starts < 0) | (starts == ends[:, None]) | ~np.isin(starts, cuts)] = distance + 1
        if table.min() < distance:
            distance, places = int(table.min()), []
        places += [(int(ends[row] - length), int(ends[row])) for row, length in zip(*np.nonzero(table == distance), strict=True)]
    best, ties = _best(places, context, near)
    return Found(*best, distance, ties, "closest") if best else None


def _numbers(text: str) -> Numbers:
    import numpy as np

    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.int32)


def _least_by_end(answer: Numbers, text: Numbers, cuts: NDArray[np.int64]) -> Numbers:
    """For each place in the text the least distance between the answer and a stretch, empty ones included, from a cut to there."""
    import numpy as np

    places = np.arange(len(text) + 1, dtype=np.int32)
    before = np.searchsorted(cuts, places, side="right") - 1
    row = np.where(before < 0, len(answer) + len(text), places - cuts[before]).astype(np.int32)
    for character in answer:
        row = _next(row[None], (text != character)[None])[0]
    return row


def _by_length(answer: Numbers, text: Numbers, ends: NDArray[np.int64], longest: int) -> Numbers:
    """Distances between the answer and the stretches with these ends, of each length up to the longest: (ends, lengths from 0)."""
    import numpy as np

    at = ends[:, None] - 1 - np.arange(longest)
    backward = np.where(at < 0, -1, text[np.maximum(at, 0)])
    table = np.tile(np.arange(longest + 1, dtype=np.int32), (len(ends), 1))
    for character in answer[::-1]:
        table = _next(table, backward != character)
    return table


def _next(rows: Numbers, differs: NDArray[np.bool_]) -> Numbers:
    """Rows of Levenshtein's table after one more character of the answer."""
    import numpy as np

    here = np.arange(rows.shape[1], dtype=np.int32)
    new = rows + 1
    np.minimum(new[:, 1:], rows[:, :-1] + differs, out=new[:, 1:])
    grown: Numbers = np.minimum.accumulate(new - here, axis=1) + here
    return grown
