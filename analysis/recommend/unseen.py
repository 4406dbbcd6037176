"""Targets that nobody measured: what a regression on typology says of them, and whether it says more than the mean does.

The value of a source on a target is its mean over the other targets, plus what the pair's features add:

    value(S, T) = mean of S + slopes . (features of S, T - their mean over the targets of S)

by ridge regression over the measured cells off the diagonal, of one model. How good that is, is what it says of a language that it did
not see, neither as source nor as target, beside what the mean alone says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import transfer, typology
from analysis.typology import PreTraining

Array = NDArray[np.float64]
PENALTY = 0.1  # per cell; features have deviation 1, so one feature alone has its slope divided by 1.1
FEWEST = 5  # languages, to leave one out of


@dataclass(frozen=True)
class Features:
    """What is known of pairs of languages; `values`: (sources x targets x names). `lacking` were left out, for some language lacks them."""

    names: tuple[str, ...]
    lacking: tuple[str, ...]
    values: Array


def features(sources: Sequence[str], targets: Sequence[str], pretraining: PreTraining | None) -> Features:
    """The features of pairs of languages: distances, whether they share a script, and how much of each was in pre-training."""
    everyone = list(dict.fromkeys((*sources, *targets)))
    found = {f"{kind} distance": table.loc[list(sources), list(targets)].to_numpy() for kind, table in typology.distances(everyone).items()}
    scripts = {language: typology.script(language) for language in everyone}
    found["same script"] = np.array([[float(scripts[s] == scripts[t]) for t in targets] for s in sources])
    if pretraining:
        amount = {language: float(np.log(pretraining.sizes.get(language, np.nan))) for language in everyone}
        found["pre-training of the source"] = np.array([[amount[s]] * len(targets) for s in sources])
        found["pre-training of the target"] = np.array([[amount[t] for t in targets]] * len(sources))
    known = [name for name, values in found.items() if not np.isnan(values).any()]
    lacking = tuple(name for name in found if name not in known) + (() if pretraining else ("pre-training",))
    return Features(tuple(known), lacking, np.stack([found[name] for name in known], axis=2))


@dataclass(frozen=True)
class Fitted:
    """A regression: each row's mean, the mean of its features, and the slope of each feature."""

    means: Array
    centers: Array
    slopes: Array

    def predict(self, features: Array) -> Array:
        """Values of the same rows in other columns: (rows x columns x features) -> (rows x columns)."""
        found: Array = self.means[:, None] + (features - self.centers[:, None]) @ self.slopes
        return found


def fit(values: Array, features: Array) -> Fitted:
    """Ridge regression within rows. `values`: (rows x columns), NaN where there is none; `features`: (rows x columns x features)."""
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    divisor = np.where(count, count, np.nan)
    means = np.where(there, values, 0).sum(axis=1) / divisor
    centers = np.where(there[..., None], features, 0).sum(axis=1) / divisor[:, None]
    x, y = (features - centers[:, None])[there], (values - means[:, None])[there]
    scale = x.std(axis=0)
    scaled = x / np.where(scale > 1e-9, scale, np.inf)  # a feature that never varies says nothing
    penalty = PENALTY * max(len(y), 1) * np.eye(x.shape[1])
    slopes = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ y) / np.where(scale > 1e-9, scale, np.inf)
    return Fitted(means, centers, slopes)


@dataclass(frozen=True)
class Skill:
    """Errors on languages left out (root mean square, in the values' unit), of the regression and of the mean alone.

    `between`: the same of differences between the rows, by which one ranks. `gain`: how much smaller the regression's mean square of
    those is, and `doubt` the standard error of that over languages.
    """

    languages: int
    error: float
    mean_error: float
    between: float
    mean_between: float
    gain: float
    doubt: float

    @property
    def beats_the_mean(self) -> bool:
        """By more than one standard error over the languages left out."""
        return self.gain > self.doubt


def skill(values: pd.DataFrame, features: Array) -> Skill | None:
    """Leave each column's language out, as row and as column, and predict that column; None where too few languages are there.

    `values`: as a matrix, or its transpose; cells of a language with itself are not used.
    """
    rows, columns = ([only_language(name) for name in names] for names in (values.index, values.columns))
    table = zero_shot(values).to_numpy(dtype=float)
    squares = []
    for language in dict.fromkeys(columns):
        held = np.array([column == language for column in columns])
        kept = np.array([row != language for row in rows])
        fitted = fit(table[np.ix_(kept, ~held)], features[np.ix_(kept, ~held)])
        truth = table[np.ix_(kept, held)]
        errors = [fitted.predict(features[np.ix_(kept, held)]) - truth, fitted.means[:, None] - truth]
        if not np.isnan(errors[0]).all():
            squares.append([_square(e) for e in errors] + [_square(e - np.nanmean(e, axis=0)) for e in errors])
    if len(squares) < FEWEST:
        return None
    each = np.array(squares)
    gains = each[:, 3] - each[:, 2]
    error, mean_error, between, mean_between = np.sqrt(each.mean(axis=0)).tolist()
    doubt = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    return Skill(len(each), error, mean_error, between, mean_between, float(gains.mean()), doubt)


def _square(errors: Array) -> float:
    return float(np.nanmean(errors**2))


def only_language(spelling: str) -> str:
    """The language of a corpus, or of a mixture in one language; of another the first."""
    return transfer.languages(spelling)[0]


def single(matrix: pd.DataFrame) -> pd.DataFrame:
    """The rows of sources in one language: only between two languages there is a distance."""
    return matrix.loc[[source for source in matrix.index if len(transfer.languages(source)) == 1]]


def zero_shot(matrix: pd.DataFrame) -> pd.DataFrame:
    """The cells of two languages, whichever is the source; the rest are holes."""
    apart = [[only_language(a) != only_language(b) for b in matrix.columns] for a in matrix.index]
    return matrix.where(np.array(apart, dtype=bool).reshape(matrix.shape))


@dataclass(frozen=True)
class Predicted:
    """What is said of languages that nobody measured, a prediction and no measurement.

    `values`: source -> the weighted mean over these languages, a fraction, best first; empty where the regression does not beat the
    mean. A source in one of these languages is not there, for self-transfer is not predicted, nor is a mixture of languages.
    """

    weights: Mapping[str, float]
    names: tuple[str, ...]
    lacking: tuple[str, ...]
    as_target: Skill | None
    as_source: Skill | None
    values: Mapping[str, float]


def predict(values: pd.DataFrame, weights: Mapping[str, float], pretraining: PreTraining | None) -> Predicted:
    """What sources would reach on languages that are no target; `weights`: language -> its share, which sum to 1.

    `values`: one model's matrix, relative abilities or abilities.
    """
    values = single(values).dropna(how="all").dropna(how="all", axis=1)
    sources, targets = ([only_language(name) for name in names] for names in (values.index, values.columns))
    known = features(sources, [*targets, *weights], pretraining)
    seen, unseen = np.split(known.values, [len(targets)], axis=1)
    as_target, as_source = skill(values, seen), skill(values.T, seen.transpose(1, 0, 2))
    found: dict[str, float] = {}
    if as_target and as_target.beats_the_mean:
        predicted = fit(zero_shot(values).to_numpy(dtype=float), seen).predict(unseen) @ np.array(list(weights.values()))
        pairs = zip(values.index, sources, predicted.tolist(), strict=True)
        found = {source: value for source, own, value in pairs if own not in weights and not np.isnan(value)}
    ranked = dict(sorted(found.items(), key=lambda pair: -pair[1]))
    return Predicted(weights, known.names, known.lacking, as_target, as_source, ranked)
