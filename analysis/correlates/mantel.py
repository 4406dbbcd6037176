"""What advantages go along with, one model at a time: correlations over languages, which say nothing of causes.

Cells share their rows and columns, so 15 x 14 cells are no 210 observations: what is exchanged, and left out, is languages.

- The measure is split by value ~ source + target over the cells off the diagonal. What is left is correlated with facts of pairs, from
  which source and target means are taken likewise (Pearson); source and target effects with facts of sources and targets (Spearman).
- p: how often the facts, handed to the languages in another order, correlate as strongly (Mantel 1967; Holm's correction over facts).
- Limits: each language left out in turn, as source and as target at once (jackknife of Fisher's z, Student's t).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import significance, transfer
from analysis.correlates.factors import Factor
from analysis.recommend.unseen import only_language

Array = NDArray[np.float64]
RESAMPLES = 2_000
FEWEST = 5  # languages
TOO_FEW = f"the fact and the measure are known together of fewer than {FEWEST} languages"
NEARLY = 1 - 1e-9  # 1, of which Fisher's z is infinite
MEASURES = ("advantage", "gap")  # Eq. 2; the transfer gap of XTREME (footnote 2)


@dataclass(frozen=True)
class Correlation:
    """How a measure of one model goes along with a fact: r with limits of 95 %, p, and p by Holm's correction over facts."""

    measure: str
    factor: str
    level: str
    languages: int
    r: float
    low: float
    high: float
    p: float
    corrected: float


@dataclass(frozen=True)
class Split:
    """A measure as source effects, target effects, and what is left in each cell (source x target, NaN where it is not used)."""

    sources: pd.Series
    targets: pd.Series
    rest: pd.DataFrame


def advantages(values: pd.DataFrame, baselines: dict[str, str | None]) -> pd.DataFrame:
    """Advantages over each source's baseline (Eq. 2), where neither a source nor its baseline is at home."""
    rows = {s: values.loc[s] - values.loc[over] for s, over in baselines.items() if over in values.index and s != over}
    found = pd.DataFrame.from_dict(rows, orient="index", columns=values.columns)
    apart = [[t in transfer.common_targets(s, str(baselines[s]), list(values.columns)) for t in values.columns] for s in found.index]
    return found.where(np.array(apart, dtype=bool).reshape(found.shape))


def split(matrix: pd.DataFrame) -> Split:
    """Least squares of value ~ source + target over the cells that are there; effects have mean 0, or are NaN where they are not told."""
    there = matrix.notna().to_numpy()
    design = _design(there)
    y = matrix.to_numpy(dtype=float)[there]
    solution = np.linalg.lstsq(design, y, rcond=None)[0] if len(y) else np.zeros(sum(there.shape))
    if np.linalg.matrix_rank(design) < there.any(axis=1).sum() + there.any(axis=0).sum() - 1:  # the cells do not compare all sources
        solution = solution * np.nan
    rest = np.full(there.shape, np.nan)
    rest[there] = y - design @ np.linalg.pinv(design) @ y
    effects = [pd.Series(solution[: len(there)], index=matrix.index), pd.Series(solution[len(there) :], index=matrix.columns)]
    sources, targets = (effect[pd.Series(there.any(axis=axis), effect.index)] for axis, effect in ((1, effects[0]), (0, effects[1])))
    return Split(sources - sources.mean(), targets - targets.mean(), pd.DataFrame(rest, index=matrix.index, columns=matrix.columns))


def _design(there: NDArray[np.bool_]) -> Array:
    source, target = np.nonzero(there)
    return np.hstack([np.eye(there.shape[0])[source], np.eye(there.shape[1])[target]])


def correlations(
    matrix: pd.DataFrame, factors: Sequence[Factor], measure: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[list[Correlation], list[tuple[str, str]]]:
    """The correlations of one measure with every fact; and the facts of which it could not be told, each with the reason.

    `matrix`: (sources x targets), fractions; NaN where a cell does not count. The same seed gives the same numbers.
    """
    parts = split(matrix)
    found: list[Correlation] = []
    lacking: list[tuple[str, str]] = []
    for factor in factors:
        generator = np.random.default_rng(seed)
        if isinstance(factor.values, pd.DataFrame):
            one = _of_pairs(parts.rest, factor.values, generator, resamples)
        else:
            one = _of_each(parts.sources if factor.level == "source" else parts.targets, factor.values, generator, resamples)
        if isinstance(one, str):
            lacking.append((factor.name, one))
        else:
            languages, r, low, high, p = one
            found.append(Correlation(measure, factor.name, factor.level, languages, r, low, high, p, np.nan))
    corrected = significance.holm(np.array([one.p for one in found]))
    return [Correlation(**{**one.__dict__, "corrected": float(p)}) for one, p in zip(found, corrected, strict=True)], lacking


Told = tuple[int, float, float, float, float]  # languages, r, low, high, p


def _of_pairs(rest: pd.DataFrame, table: pd.DataFrame, generator: np.random.Generator, resamples: int) -> Told | str:
    """Over cells: what is left of the measure, with what is left of the fact."""
    known = set(_complete(table))
    there = [(i, j) for i, j in np.argwhere(rest.notna().to_numpy()).tolist()]
    pairs = [(str(rest.index[i]), str(rest.columns[j])) for i, j in there]
    left = rest.to_numpy(dtype=float)[tuple(np.array(there, dtype=int).reshape(-1, 2).T)]
    cells = {pair: y for pair, y in zip(pairs, left.tolist(), strict=True) if set(map(only_language, pair)) <= known}
    order = list(dict.fromkeys(only_language(name) for pair in cells for name in pair))
    if len(order) < FEWEST:
        return TOO_FEW
    source, target = (np.array([order.index(only_language(pair[end])) for pair in cells]) for end in (0, 1))
    facts = table.loc[order, order].to_numpy(dtype=float)
    design = np.hstack([pd.get_dummies(pd.Series([pair[end] for pair in cells])).to_numpy(dtype=float) for end in (0, 1)])
    keep = np.eye(len(cells)) - design @ np.linalg.pinv(design)
    y = keep @ np.array(list(cells.values()))  # anew, since languages without the fact are gone
    orders = _orders(generator, resamples, len(order))
    x = keep @ facts[orders[:, source], orders[:, target]].T  # (cells x 1 + resamples); the first is as it is
    without = 1 - np.eye(len(order))
    return _told(len(order), x, y, without[:, source] * without[:, target])


def _complete(table: pd.DataFrame) -> list[str]:
    """The languages without those that lack the fact with any other; the one that lacks it most goes first."""
    while table.isna().to_numpy().any():
        lacking = str(table.isna().sum(axis=1).idxmax())
        table = table.drop(index=lacking, columns=lacking)
    return list(table.index)


def _of_each(effects: pd.Series, facts: pd.Series, generator: np.random.Generator, resamples: int) -> Told | str:
    """Over sources or targets: ranks of the effects, with ranks of the fact."""
    used = effects[[only_language(name) in facts.index and not np.isnan(facts[only_language(name)]) for name in effects.index]].dropna()
    order = list(dict.fromkeys(map(only_language, used.index)))
    if len(order) < FEWEST:
        return TOO_FEW
    place = np.array([order.index(only_language(name)) for name in used.index])
    y = used.rank().to_numpy(dtype=float)
    orders = _orders(generator, resamples, len(order))
    ranks = facts[order].rank().to_numpy(dtype=float)
    x = ranks[orders[:, place]].T
    return _told(len(order), x - x.mean(axis=0), y - y.mean(), 1 - np.eye(len(order))[:, place])


def _orders(generator: np.random.Generator, resamples: int, many: int) -> NDArray[np.int_]:
    """The order as it is, then others at random: (1 + resamples x languages)."""
    return np.vstack([np.arange(many), generator.permuted(np.tile(np.arange(many), (resamples, 1)), axis=1)])


def _told(languages: int, x: Array, y: Array, kept: Array) -> Told | str:
    """The r of the first column of x with y; its limits by what is `kept` without each language; and p by the other columns."""
    if np.allclose(x[:, 0], 0, atol=1e-9):
        return "the fact does not vary"
    if np.allclose(y, 0, atol=1e-12):
        return "the measure does not vary"
    r = np.clip((y @ x) / np.sqrt((y @ y) * np.maximum((x**2).sum(axis=0), 1e-300)), -1, 1)
    p = (1 + int((np.abs(r[1:]) >= np.abs(r[0]) - 1e-12).sum())) / len(r)
    z, left = (np.arctanh(np.clip(found, -NEARLY, NEARLY)) for found in (r[0], _weighted_correlations(x[:, 0], y, kept)))
    error = np.sqrt((languages - 1) / languages * ((left - left.mean()) ** 2).sum())
    low, high = np.tanh(z + error * student(languages - 1) * np.array([-1, 1]))
    return languages, float(r[0]), float(low), float(high), float(p)


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t, by its expansion about the normal one (Abramowitz & Stegun 26.7.5)."""
    x, n = NormalDist().inv_cdf(0.975), freedom
    terms = (x**3 + x) / 4, (5 * x**5 + 16 * x**3 + 3 * x) / 96, (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    return float(x + sum(term / n ** (i + 1) for i, term in enumerate(terms)))


def _weighted_correlations(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's r under each row of weights, (rows x cells) -> (rows,); NaN where nothing varies."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my = weights @ x / total, weights @ y / total
        xx, yy, xy = weights @ x**2 / total - mx**2, weights @ y**2 / total - my**2, weights @ (x * y) / total - mx * my
        found: Array = np.where((xx > 1e-12) & (yy > 1e-18), np.clip(xy / np.sqrt(xx * yy), -1, 1), np.nan)
    return found
