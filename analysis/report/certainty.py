"""How sure the advantages of a finding are: the intervals and tests of its tables, and the order of its sources, from one resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import ranking, significance
from analysis.blocks import ALPHA, Block, Interval
from analysis.intervals import DIFFERENCES, interval_of
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
    """How sure the order of sources by their average is: its limits, how probable each is to be first, and who is not surely behind."""

    limits: Mapping[str, tuple[float, float]]
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


def over_one(
    over: str, sources: Sequence[str], targets: Sequence[str], resampled: Resampled | None, own: Mapping[str, str] | None
) -> dict[str, Interval]:
    """What is known of the average advantages of sources over one baseline, which are one family of tests.

    `own`: target -> its denominator, where values are relative. A source of which nothing is known is not there.
    """
    if resampled is None:
        return {}
    everything = significance.mean_over(targets)
    found = significance.estimate(resampled, [significance.Contrast(source, everything, over) for source in sources], own)
    corrected = significance.holm(found.p)
    told = {source: interval_of(found, corrected, i) for i, source in enumerate(sources)}
    return {source: interval for source, interval in told.items() if interval}


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
    limits = {name: (float(low), float(high)) for name, low, high in zip(names, known.low, known.high, strict=True)}
    return Order(limits, dict(zip(names, map(float, known.p_best), strict=True)), rivals)
