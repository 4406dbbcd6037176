"""What advantages go along with, one model at a time: correlations over languages, which say nothing of causes.

Cells share their rows and columns, so 15 x 14 cells are no 210 observations: what is exchanged, and left out, is languages.

- The measure is split by value ~ source + target over the cells off the diagonal. What is left is correlated with facts of pairs, from
  which source and target means are taken likewise (Pearson); source and target effects with facts of sources and targets (Spearman).
- p: how often the facts, handed to the languages in another order, correlate as strongly (Mantel 1967; Holm's correction over facts).
- Limits: all of this done again without each language in turn, as source and as target at once (jackknife of Fisher's z, Student's t).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    """How a measure of one model goes along with a fact: r with limits of 95 %, p, and p by Holm's correction over facts.

    `low`, `high`: NaN where one of the languages has all that varies.
    """

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
    rest = np.full(there.shape, np.nan)
    solution, rest[there] = _least_squares(there, matrix.to_numpy(dtype=float)[there])
    effects = [pd.Series(solution[: len(there)], index=matrix.index), pd.Series(solution[len(there) :], index=matrix.columns)]
    sources, targets = (effect[pd.Series(there.any(axis=axis), effect.index)] for axis, effect in ((1, effects[0]), (0, effects[1])))
    return Split(sources - sources.mean(), targets - targets.mean(), pd.DataFrame(rest, index=matrix.index, columns=matrix.columns))


def _least_squares(there: NDArray[np.bool_], values: Array) -> tuple[Array, Array]:
    """Source and target effects of the cells' values, NaN where the cells do not compare them all; and what is left of each cell."""
    source, target = np.nonzero(there)
    design = np.hstack([np.eye(there.shape[0])[source], np.eye(there.shape[1])[target]])
    solution = np.linalg.pinv(design, rcond=1e-10) @ values  # sources and targets sum up to the same, so a singular value is 0
    compared = np.linalg.matrix_rank(design) == there.any(axis=1).sum() + there.any(axis=0).sum() - 1
    return solution if compared else solution * np.nan, values - design @ solution


def correlations(
    matrix: pd.DataFrame, factors: Sequence[Factor], measure: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[list[Correlation], list[tuple[str, str]]]:
    """The correlations of one measure with every fact; and the facts of which it could not be told, each with the reason.

    `matrix`: (sources x targets), fractions; NaN where a cell does not count. The same seed gives the same numbers.
    """
    found: list[Correlation] = []
    lacking: list[tuple[str, str]] = []
    for factor in factors:
        one = _told(matrix, replace(factor, values=_complete(factor.values)), np.random.default_rng(seed), resamples)
        if isinstance(one, str):
            lacking.append((factor.name, one))
        else:
            languages, r, low, high, p = one
            found.append(Correlation(measure, factor.name, factor.level, languages, r, low, high, p, np.nan))
    corrected = significance.holm(np.array([one.p for one in found]))
    return [replace(one, corrected=float(p)) for one, p in zip(found, corrected, strict=True)], lacking


Told = tuple[int, float, float, float, float]  # languages, r, low, high, p


def _complete(facts: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    """The languages of which the fact is known; of pairs, the language that lacks it most goes first."""
    if isinstance(facts, pd.Series):
        return facts.dropna()
    while facts.isna().to_numpy().any():
        lacking = str(facts.isna().sum(axis=1).idxmax())
        facts = facts.drop(index=lacking, columns=lacking)
    return facts


def _told(matrix: pd.DataFrame, factor: Factor, generator: np.random.Generator, resamples: int) -> Told | str:
    """The r of everything, with limits by the r without each language and p by the r of other orders; or why there is none.

    The limits are NaN where nothing varies without one of the languages.
    """
    from scipy.special import stdtrit

    languages, x, y = _sides(matrix, factor, generator, resamples)
    many = len(languages)
    if many < FEWEST:
        return TOO_FEW
    if np.allclose(x[:, 0], 0, atol=1e-9):
        return "the fact does not vary"
    if np.allclose(y, 0, atol=1e-12):
        return "the measure does not vary"
    r = _pearson(x, y)
    p = (1 + int((np.abs(r[1:]) >= np.abs(r[0]) - 1e-12).sum())) / len(r)
    without = [_sides(_among(matrix, language.__ne__), factor, generator, 0) for language in languages]
    left = np.array([_pearson(*sides)[0] for _, *sides in without])
    z, changed = (np.arctanh(np.clip(found, -NEARLY, NEARLY)) for found in (r[0], left))
    error = np.sqrt((many - 1) / many * ((changed - changed.mean()) ** 2).sum())
    low, high = np.tanh(z + error * stdtrit(many - 1, 0.975) * np.array([-1, 1]))
    return many, float(r[0]), float(low), float(high), p


def _among(matrix: pd.DataFrame, spoken: Callable[[str], bool]) -> pd.DataFrame:
    """The sources and targets in such languages."""
    rows, columns = ([spoken(only_language(name)) for name in names] for names in (matrix.index, matrix.columns))
    return matrix.loc[rows, columns]


Sides = tuple[list[str], Array, Array]  # languages; the fact as it is and in other orders (cells x orders); the measure (cells)


def _sides(matrix: pd.DataFrame, factor: Factor, generator: np.random.Generator, resamples: int) -> Sides:
    """What is correlated."""
    if isinstance(factor.values, pd.DataFrame):
        return _of_pairs(matrix, factor.values, generator, resamples)
    parts = split(matrix)
    return _of_each(parts.sources if factor.level == "source" else parts.targets, factor.values, generator, resamples)


def _of_pairs(matrix: pd.DataFrame, facts: pd.DataFrame, generator: np.random.Generator, resamples: int) -> Sides:
    """Over cells: what is left of the fact and of the measure."""
    known = _among(matrix, facts.index.__contains__)
    there = known.notna().to_numpy()
    names = zip((known.index, known.columns), np.nonzero(there), strict=True)
    spoken = [only_language(name) for index, at in names for name in index[at]]
    codes, languages = pd.factorize(np.array(spoken, dtype=object))
    source, target = codes.reshape(2, -1)
    orders = _orders(generator, resamples, len(languages))
    x = facts.loc[languages, languages].to_numpy(dtype=float)[orders[:, source], orders[:, target]].T
    y = known.to_numpy(dtype=float)[there]
    return list(languages), _least_squares(there, x)[1], _least_squares(there, y)[1]


def _of_each(effects: pd.Series, facts: pd.Series, generator: np.random.Generator, resamples: int) -> Sides:
    """Over sources or targets: ranks of the fact and of the effects."""
    used = effects[[only_language(name) in facts.index for name in effects.index]].dropna()
    codes, languages = pd.factorize(np.array([only_language(name) for name in used.index], dtype=object))
    x = facts[languages].rank().to_numpy(dtype=float)[_orders(generator, resamples, len(languages))[:, codes]].T
    y = used.rank().to_numpy(dtype=float)
    return list(languages), x - x.mean(axis=0), y - y.mean()


def _orders(generator: np.random.Generator, resamples: int, many: int) -> NDArray[np.int_]:
    """The order as it is, then others at random: (1 + resamples x languages)."""
    return np.vstack([np.arange(many), generator.permuted(np.tile(np.arange(many), (resamples, 1)), axis=1)])


def _pearson(x: Array, y: Array) -> Array:
    """Of each column of x with y, whose means are 0; NaN where nothing varies."""
    xx, yy = (x**2).sum(axis=0), y @ y
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where((xx > 1e-15) & (yy > 1e-21), np.clip(y @ x / np.sqrt(xx * yy), -1, 1), np.nan)
    return found
