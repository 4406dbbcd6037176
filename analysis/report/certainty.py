"""How sure the advantages of a finding are: the intervals and tests of its tables, and the order of its sources, from one resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import ranking
from analysis.blocks import ALPHA, Block, Interval
from analysis.intervals import DIFFERENCES
from analysis.significance import Resampled


@dataclass(frozen=True)
class Advantages:
    """Advantages, their 95 % limits and corrected p-values: a row per source, a column per target and group; NaN where not known."""

    gains: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    p: pd.DataFrame


@dataclass(frozen=True)
class Order:
    """How sure the order of sources by their average is: the first, how probable each is to be it, and who is not surely behind it."""

    first: str
    chances: Mapping[str, float]
    rivals: tuple[str, ...]


def advantages(blocks: Sequence[Block], sources: Sequence[str], columns: Sequence[str]) -> Advantages:
    """What the blocks of one model say of each source; a baseline's advantage over itself is 0 where it has a value."""
    gains, low, high, p = (pd.DataFrame(np.nan, index=list(sources), columns=list(columns)) for _ in range(4))
    for block in blocks:
        for row in block.rows:
            cells = np.array(row.cells)
            gains.loc[row.source] = cells if row.values in DIFFERENCES else 0 * cells
            if row.values in DIFFERENCES and row.intervals:
                low.loc[row.source], high.loc[row.source], p.loc[row.source] = _limits(row.intervals)
    return Advantages(gains, low, high, p)


def _limits(told: Sequence[Interval | None]) -> tuple[list[float], list[float], list[float]]:
    nothing = Interval(np.nan, np.nan, np.nan, np.nan, conditional=False)
    found = [one or nothing for one in told]
    return [one.low for one in found], [one.high for one in found], [one.p for one in found]


def of_cell(blocks: Sequence[Block], source: str, column: int) -> Interval | None:
    """What is known of the error of an advantage."""
    rows = [row for block in blocks for row in block.rows if row.source == source and row.values in DIFFERENCES and row.intervals]
    return rows[0].intervals[column] if rows else None


def order(matrix: pd.DataFrame, resampled: Resampled | None, own: Mapping[str, str] | None) -> Order | None:
    """How sure the order by average over all targets is; None where nothing tells.

    Args:
        matrix: what is averaged, (sources x targets), fractions.
        resampled: of the model.
        own: target -> its denominator, where the values are relative.
    """
    if resampled is None or matrix.isna().any(axis=1).all():
        return None
    targets = len(matrix.columns)
    ranked = ranking.ranking_of(matrix, np.full(targets, 1 / targets), least=False, zero_shot=False)
    known = ranking.known_of(ranked, matrix, resampled, own)
    names = list(map(str, matrix.index))
    rivals = tuple(name for name, p in zip(names, known.p, strict=True) if p >= ALPHA)
    return Order(names[ranked.best], dict(zip(names, map(float, known.p_best), strict=True)), rivals)
