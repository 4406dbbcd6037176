"""The batch plan, and how a batch meets the device: numpy only, so that one reads what a seed decides.

The plan says which examples make up a step; it depends on the recipe and the seed alone. The layout cuts a batch into
micro-batches and lays each out as a grid of tokens; the gradient of the step is the same for every layout, up to rounding:

    padded   one sequence a row, filled up to the longest
    sorted   the same, of a batch that was sorted by length first, so that less is filled up
    packed   several sequences in a row, each of which attends to itself alone
    recorded the same in few shapes, whose steps a GPU records and plays (captured.py); on no GPU tried yet, so nobody's default
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfer_ray.core import Layout
from xfer_ray.models.tokens import Tokens
from xfer_ray.recipe import Recipe

Rows = NDArray[np.int64]


PACKS = ("packed", "recorded")
ROOM = 2.0  # mean lengths in the width of a packed row: wider rows waste attention, narrower ones leave gaps
NOBODY = -1  # the owner of padding
NOTHING = -100  # a label that asks for nothing, as PyTorch's losses have it


@dataclass(frozen=True)
class Grid:
    """Sequences of tokens laid out in rows; arrays of shape (rows, width), and one entry a sequence in the last three.

    Where `packed`, a row holds several sequences, else the row and the sequence are one and the same.
    """

    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    positions: NDArray[np.int64]  # of each token in its sequence
    owner: NDArray[np.int64]  # to which sequence it belongs, NOBODY for padding
    row: NDArray[np.int64]
    column: NDArray[np.int64]  # where the sequence begins
    lengths: NDArray[np.int64]
    packed: bool = False

    @property
    def mask(self) -> NDArray[np.int64]:
        """1 for a token, 0 for padding."""
        mask: NDArray[np.int64] = (self.owner != NOBODY).astype(np.int64)
        return mask

    @property
    def first(self) -> NDArray[np.int64]:
        """Where each sequence begins in the flattened grid."""
        first: NDArray[np.int64] = self.row * self.ids.shape[1] + self.column
        return first


def total_steps(examples: int, recipe: Recipe) -> int:
    """Optimizer steps of a whole fine-tuning run; the last batch of an epoch may be short."""
    if recipe.steps is not None:
        return recipe.steps
    assert recipe.epochs is not None
    assert recipe.batch_size is not None  # a recipe in tokens has steps
    return recipe.epochs * math.ceil(examples / recipe.batch_size)


def plan(lengths: NDArray[np.int64], recipe: Recipe, seed: int) -> Iterator[Rows]:
    """The batch of each step: every epoch is a permutation of its own, drawn from (seed, epoch).

    Args:
        lengths: tokens of each row, by which `batch_tokens` fills a batch: with the next rows, as many as it holds.
        recipe: its batch and its steps or epochs.
        seed: of the permutations.
    """
    left = total_steps(len(lengths), recipe)
    epoch = 0
    while left > 0:
        order = np.random.default_rng((seed, epoch)).permutation(len(lengths))
        for batch in _cut(order, lengths, recipe):
            if left > 0:
                yield batch
                left -= 1
        epoch += 1


def _cut(order: Rows, lengths: NDArray[np.int64], recipe: Recipe) -> list[Rows]:
    if recipe.batch_size is not None:
        return [order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size)]
    assert recipe.batch_tokens is not None
    cuts, held = [], 0
    for position, length in enumerate(lengths[order]):
        held += int(length)
        if held > recipe.batch_tokens and position:
            cuts.append(position)
            held = int(length)
    return np.split(order, cuts)


def micro_batches(batch: Rows, lengths: NDArray[np.int64], size: int, layout: Layout = "sorted") -> list[Rows]:
    """The batch in micro-batches of at most `size` rows; a batch that fits stays as it is."""
    if len(batch) <= size:
        return [batch]
    if layout in PACKS:  # long and short ones together fill a row best
        return np.array_split(batch, math.ceil(len(batch) / size))
    ordered = batch[np.argsort(lengths[batch], kind="stable")] if layout == "sorted" else batch
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def by_length(lengths: NDArray[np.int64], budget: int) -> Iterator[Rows]:
    """All rows, longest first, in groups of at most `budget` tokens once padded; a longer row is a group by itself."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def laid(tokens: Tokens, rows: Rows, pad: int, layout: Layout) -> Grid:
    """These rows as a micro-batch of this layout."""
    return packed(tokens, rows, pad) if layout in PACKS else padded(tokens, rows, pad)


def padded(tokens: Tokens, rows: Rows, pad: int) -> Grid:
    """These rows side by side, filled up on the right with `pad`."""
    numbers = np.arange(len(rows))
    return _filled(tokens, rows, pad, Places(numbers, np.zeros_like(numbers), int(tokens.lengths[rows].max())))


def packed(tokens: Tokens, rows: Rows, pad: int, width: int | None = None) -> Grid:
    """These rows one after another in as few rows of a common width as best fit finds, gaps filled up with `pad`."""
    lengths = tokens.lengths[rows]
    return _filled(tokens, rows, pad, best_fit(lengths, width or width_for(lengths)), packed=True)


def width_for(lengths: NDArray[np.int64]) -> int:
    """How wide packed rows are: room for the longest, and for two of the mean, the latter as a multiple of 8."""
    return max(int(lengths.max()), math.ceil(ROOM * float(lengths.mean()) / 8) * 8)


def beside(tokens: Tokens, rows: Rows, pad: int, grid: Grid) -> Grid:
    """Other sequences of the same examples, such as their targets, each in the row where `grid` has its first one."""
    lengths = tokens.lengths[rows]
    order = np.argsort(grid.row, kind="stable")
    ends = np.cumsum(lengths[order])
    held = np.bincount(grid.row, lengths, minlength=len(grid.ids)).astype(np.int64)
    column = np.empty_like(lengths)
    column[order] = ends - lengths[order] - (np.cumsum(held) - held)[grid.row[order]]
    return _filled(tokens, rows, pad, Places(grid.row, column, int(held.max())), packed=grid.packed)


class Places(NamedTuple):
    """Where each sequence begins in rows of a width."""

    row: Rows
    column: Rows
    width: int


def best_fit(lengths: NDArray[np.int64], width: int) -> Places:
    """A place for each sequence, the longest first, each in the row with the least room that holds it."""
    free: list[tuple[int, int]] = []  # room and row, the least room first
    row, column = np.zeros(len(lengths), dtype=np.int64), np.zeros(len(lengths), dtype=np.int64)
    opened = 0
    sizes = lengths.tolist()
    for index in np.argsort(-lengths, kind="stable").tolist():
        size = sizes[index]
        at = bisect.bisect_left(free, (size, -1))
        if at < len(free):
            room, into = free.pop(at)
        else:
            room, into, opened = width, opened, opened + 1
        row[index], column[index] = into, width - room
        bisect.insort(free, (room - size, into))
    return Places(row, column, width)


def _filled(tokens: Tokens, rows: Rows, pad: int, places: Places, *, packed: bool = False) -> Grid:
    row, column, width = places
    starts, lengths = tokens.offsets[rows], tokens.lengths[rows]
    height = int(row.max()) + 1
    owners = np.repeat(np.arange(len(rows)), lengths)
    positions = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    at = (row * width + column)[owners] + positions

    def grid(values: NDArray[np.generic], filler: int) -> NDArray[np.int64]:
        flat = np.full(height * width, filler, dtype=np.int64)
        flat[at] = values
        return flat.reshape(height, width)

    return Grid(
        ids=grid(tokens.ids[starts[owners] + positions], pad),
        segments=grid(positions >= tokens.seconds[rows][owners], 0),
        positions=grid(positions, 0),
        owner=grid(owners, NOBODY),
        row=row,
        column=column,
        lengths=lengths,
        packed=packed,
    )


# ------------------------------------------------------------------------------ a few shapes


class Part(NamedTuple):
    """One of the arrays that a batch is made of: what fills it up to a larger shape, and what its first dimension counts."""

    values: NDArray[np.int64]
    filler: int
    counts: Literal["rows", "sequences", "tokens"]


def parts(grid: Grid, pad: int) -> tuple[Part, ...]:
    """The arrays of a grid in the order of its fields: what is filled up belongs to nobody, and is a sequence without a token."""
    tokens = ((grid.ids, pad), (grid.segments, 0), (grid.positions, 0), (grid.owner, NOBODY))
    sequences = (grid.row, grid.column, grid.lengths)
    return (*(Part(values, filler, "rows") for values, filler in tokens), *(Part(values, 0, "sequences") for values in sequences))


def in_few_shapes(found: Sequence[Part], sequences: int) -> list[NDArray[np.int64]]:
    """These arrays filled up so that batches of alike size have the same shapes; `sequences` is the least number of them.

    Rows and sequences grow by an eighth to a sixteenth at most, the width of rows to a multiple of 16, tokens to a power of two.
    """

    def size(part: Part) -> list[int]:
        count, *others = part.values.shape
        if part.counts == "rows":
            return [rounded(count), *(math.ceil(width / 16) * 16 for width in others)]
        return [rounded(max(count, sequences)) if part.counts == "sequences" else 1 << (count - 1).bit_length(), *others]

    return [_enlarged(part, size(part)) for part in found]


def rounded(count: int) -> int:
    """The next number whose binary digits after the fourth are zeros: 15, 16, 18, 20 and so on to 30, then 32, 36, 40."""
    step = 1 << max(0, count.bit_length() - 4)
    return math.ceil(count / step) * step


def _enlarged(part: Part, shape: Sequence[int]) -> NDArray[np.int64]:
    whole = np.full(shape, part.filler, dtype=np.int64)
    whole[tuple(map(slice, part.values.shape))] = part.values
    return whole
