"""Sources by a value that is made of their cells, and how sure that is: intervals, and the probability of being the best."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import significance, transfer
from analysis.blocks import ALIKE
from analysis.significance import Resampled
from xfer_ray.errors import DataError

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Ranking:
    """How cells (sources x targets) make values: by `factors` (sources x sources x targets), or as the least of those `counted`."""

    counted: NDArray[np.bool_]
    complete: NDArray[np.bool_]  # sources without a hole
    factors: Array | None
    values: Array

    @property
    def best(self) -> int:
        """Where the best source stands; of several that are equal, the first."""
        return int(np.flatnonzero(self.values > np.nanmax(self.values) - ALIKE)[0])


def leaders(values: Mapping[str, float]) -> tuple[str, ...]:
    """The names with the highest value: all that equal it but for rounding, in their order. NaN is no value."""
    there = {name: value for name, value in values.items() if not math.isnan(value)}
    return tuple(name for name, value in there.items() if value > max(there.values()) - ALIKE)


def ranking_of(matrix: pd.DataFrame, weights: Array, *, least: bool, zero_shot: bool) -> Ranking:
    """The values of sources from their cells: weighted means over the targets, or the `least` of them.

    Args:
        matrix: (sources x targets), fractions.
        weights: of the targets; they sum to 1.
        least: the value is the least over targets, whatever they weigh.
        zero_shot: cells of a source's own languages do not count.
    """
    cells = matrix.to_numpy(dtype=float)
    counted = np.ones(cells.shape, dtype=bool)
    if zero_shot:
        counted = np.array([[not transfer.at_home(s, t) for t in matrix.columns] for s in matrix.index])
    complete = counted.any(axis=1) & ~(counted & np.isnan(cells)).any(axis=1)
    if least:
        values = np.where(counted, cells, np.inf).min(axis=1)
        return Ranking(counted, complete, None, np.where(complete, values, np.nan))
    factors = effects_of(counted & complete[:, None], weights) if zero_shot else np.eye(len(cells))[:, :, None] * weights
    values = (factors * np.nan_to_num(cells)).sum(axis=(1, 2))
    return Ranking(counted, complete, factors, np.where(complete, values, np.nan))


def effects_of(counted: NDArray[np.bool_], weights: Array) -> Array:
    """Each source's value over all targets, by value ~ source + target, as (sources x sources x targets) factors of the cells.

    Least squares over the cells that count, weighted by their targets. Differences between sources are those of
    `transfer.source_effects` where the weights are equal. A source without such a cell has factors of 0.
    """
    source, target = np.nonzero(counted)
    rows, columns = counted.any(axis=1), counted.any(axis=0)
    design = np.hstack([np.eye(len(counted))[source], np.eye(len(weights))[target]])
    there = int(rows.sum() + columns.sum())
    if there and np.linalg.matrix_rank(design) < there - 1:  # one degree of freedom is the constant
        raise DataError(
            f"the {len(source)} zero-shot cells of these targets do not compare all sources; ask for more targets, or without --zero-shot"
        )
    root = np.sqrt(weights[target])
    solution = np.linalg.pinv(design * root[:, None]) * root
    reached = weights * columns
    factors = np.zeros((len(counted), *counted.shape))
    if there:
        factors[:, source, target] = solution[: len(counted)] + reached / reached.sum() @ solution[len(counted) :]
    factors[~rows] = 0
    return factors


# ------------------------------------------------------------------------------ how sure


@dataclass(frozen=True)
class Known:
    """Limits and probabilities, one entry per source.

    `p`: of no difference from the best. The data chose which that is, so the correction (Holm) is for all pairs of sources.
    """

    low: Array
    high: Array
    p_best: Array
    behind_low: Array
    behind_high: Array
    p: Array
    conditional: bool


def nothing_known(ranking: Ranking) -> Known:
    """Where there are no predictions."""
    nothing = np.full(len(ranking.values), np.nan)
    return Known(nothing, nothing, nothing, nothing, nothing, nothing, False)


def known_of(ranking: Ranking, matrix: pd.DataFrame, resampled: Resampled, own: Mapping[str, str] | None) -> Known:
    """How sure the values are; `own`: target -> its denominator, where the cells are relative abilities."""
    many, best = len(matrix), ranking.best
    if ranking.factors is None:
        return _known_least(ranking, matrix, resampled, own)
    factors, pairs = ranking.factors, _pairs(ranking.complete)
    statistics = np.concatenate([factors, factors[best] - factors, factors[pairs[:, 0]] - factors[pairs[:, 1]]])
    statistics[: 2 * many][~np.tile(ranking.complete, 2)] = np.nan
    found = significance.estimates(resampled, _arranged(statistics, matrix, resampled), own)
    others = np.arange(many) != best
    return Known(
        low=found.low[:many],
        high=found.high[:many],
        p_best=probability_best(found.draws[:, :many], ranking.complete, ~np.isnan(found.value[:many])),
        behind_low=np.where(others, found.low[many : 2 * many], np.nan),
        behind_high=np.where(others, found.high[many : 2 * many], np.nan),
        p=_with_best(pairs, significance.holm(found.p[2 * many :]), ranking),
        conditional=bool(found.conditional.any()),
    )


def _known_least(ranking: Ranking, matrix: pd.DataFrame, resampled: Resampled, own: Mapping[str, str] | None) -> Known:
    """Of the least over targets: its limits are the least of the targets' limits, for the least of draws is biased downwards."""
    shape = matrix.shape
    cells = np.eye(matrix.size).reshape(matrix.size, *shape)
    found = significance.estimates(resampled, _arranged(cells, matrix, resampled), own)
    told = ranking.complete & ~(ranking.counted & np.isnan(found.value.reshape(shape))).any(axis=1)
    draws = np.where(ranking.counted, found.draws.reshape(-1, *shape), np.inf).min(axis=2)
    behind = draws[:, [ranking.best]] - draws
    others = told & told[ranking.best] & (np.arange(len(matrix)) != ranking.best)
    pairs = _pairs(told)
    apart = [draws[:, i] - draws[:, j] for i, j in pairs]
    tails = np.array([min((each <= 0).sum(), (each >= 0).sum()) for each in apart])
    p = np.minimum(1.0, 2 * (tails + 1) / (len(draws) + 1))
    low, high = np.quantile(behind, [0.025, 0.975], axis=0)
    return Known(
        low=np.where(told, np.where(ranking.counted, found.low.reshape(shape), np.inf).min(axis=1), np.nan),
        high=np.where(told, np.where(ranking.counted, found.high.reshape(shape), np.inf).min(axis=1), np.nan),
        p_best=probability_best(draws, ranking.complete, told),
        behind_low=np.where(others, low, np.nan),
        behind_high=np.where(others, high, np.nan),
        p=_with_best(pairs, significance.holm(p), ranking),
        conditional=bool(found.conditional.any()),
    )


def _pairs(ranked: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Every two of the ranked sources, (pairs x 2)."""
    return np.array(list(itertools.combinations(np.flatnonzero(ranked), 2)), dtype=int).reshape(-1, 2)


def _with_best(pairs: NDArray[np.int_], p: Array, ranking: Ranking) -> Array:
    """For each source the p of the pair that it makes with the best one; NaN where there is none."""
    found = np.full(len(ranking.values), np.nan)
    for pair, value in zip(pairs.tolist(), p, strict=True):
        if ranking.best in pair:
            found[sum(pair) - ranking.best] = value
    return found


def _arranged(factors: Array, matrix: pd.DataFrame, resampled: Resampled) -> Array:
    """The same factors in the order of the resampled cells; NaN where one needs a source that left no predictions."""
    held = [source for source in matrix.index if source in resampled.sources]
    lacking = [source not in resampled.sources for source in matrix.index]
    found = np.zeros((len(factors), len(resampled.sources), len(resampled.targets)))
    rows, columns = [resampled.sources.index(s) for s in held], [resampled.targets.index(t) for t in matrix.columns]
    found[:, np.array(rows, dtype=int)[:, None], columns] = factors[:, ~np.array(lacking)]
    found[np.isnan(factors).any(axis=(1, 2)) | (factors[:, lacking] != 0).any(axis=(1, 2))] = np.nan
    return found


def probability_best(draws: Array, ranked: NDArray[np.bool_], told: NDArray[np.bool_]) -> Array:
    """How often each of the ranked sources has the highest draw, (resamples x sources) -> (sources,); equal ones share it.

    NaN throughout where one of them was not drawn, for it could be the best as well.
    """
    if (ranked & ~told).any():
        return np.full(len(ranked), np.nan)
    drawn = np.where(ranked, draws, -np.inf)
    first = drawn == drawn.max(axis=1, keepdims=True)
    return np.where(ranked, (first / first.sum(axis=1, keepdims=True)).mean(axis=0), np.nan)
