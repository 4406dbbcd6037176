"""What a table holds: rows of numbers in blocks, as fractions, with names; no character of how they look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ALPHA = 0.05  # the level of a test
ALIKE = 1e-9  # values that differ by less differ by rounding


@dataclass(frozen=True)
class Interval:
    """What is known of a cell's error: 95 % limits, fractions, and the p-value of "it is 0", corrected over the sources of its column.

    `p` is NaN for a value that is compared with nothing. `detectable`: the smallest true difference that would have been found four
    times out of five. `conditional`: a single seed stands behind it, so all this holds for those very models.
    """

    low: float
    high: float
    p: float
    detectable: float
    conditional: bool

    @property
    def significant(self) -> bool:
        """Whether it differs from 0 at 5 %."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Row:
    """One source: what its values are, the fewest seeds behind any of them, and one fraction per column (NaN: a hole)."""

    source: str
    values: str  # relative, advantage, ability, ability-difference, gap
    runs: int
    cells: tuple[float, ...]
    intervals: tuple[Interval | None, ...] = ()  # one for each cell, where they were computed


@dataclass(frozen=True)
class Block:
    """The rows of one model that share a baseline, which comes first; `effects` rank the sources under values "common"."""

    model: str
    baseline: str | None
    rows: tuple[Row, ...]
    effects: Mapping[str, float] = field(default_factory=dict)
    metric: str = ""


@dataclass(frozen=True)
class Verdict:
    """The source in another language that transfers best, and its average advantage: above 0 it out-performs the baseline.

    `equal`: the sources with the same average. `over`: the baseline, where the model has several.
    """

    task: str
    model: str
    source: str
    advantage: float
    interval: Interval | None = None
    equal: tuple[str, ...] = ()
    over: str = ""

    @property
    def outperforms(self) -> bool:
        """Whether it is better than its baseline, by more than rounding."""
        return self.advantage > ALIKE


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Blocks of rows under one header (the targets, then the groups; or the provenances), or verdicts; and notes on what is missing."""

    layout: str = "matrix"
    values: str = "paper"
    task: str = ""
    metric: str = ""
    selection: str = ""  # where one was asked for
    targets: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provenances: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    of_seeds: tuple[tuple[str, str], ...] = ()  # tasks and models whose intervals tell of seeds alone

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """All that there are, in any order."""
        return tuple(interval for _, interval in self._told())

    @property
    def of_examples(self) -> tuple[Interval, ...]:
        """Those that tell of examples too."""
        return tuple(interval for whose, interval in self._told() if whose not in self.of_seeds)

    def _told(self) -> Iterator[tuple[tuple[str, str], Interval]]:
        cells = [((self.task, block.model), interval) for block in self.blocks for row in block.rows for interval in row.intervals]
        for whose, interval in (*cells, *(((verdict.task, verdict.model), verdict.interval) for verdict in self.verdicts)):
            if interval:
                yield whose, interval
