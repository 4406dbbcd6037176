"""How sure a difference is: examples resampled, seeds as a second level, numerator, denominator and baseline jointly.

A score of source S on target T is a mean over n examples and K seeds, so it errs for two reasons. With x[k, i] = what example i scored
under seed k, the variance of the mean has the two-way components

    examples / n  +  seeds / K  +  (examples x seeds) / (n K)

- *Examples* are drawn anew, with replacement, the same ones for every source, and for every target where the test sets are parallel:
  what is common to a numerator, its denominator and the baseline cancels (paired bootstrap; Koehn 2004). This brings the first and the
  last component.
- *Seeds* are too few to be drawn: three of them have ten different resamples, all too narrow. Their part is drawn as normal deviates
  with the covariance that the seeds of a source show over the targets. Means of seeds also vary by the last component, which is taken
  off, so that it is counted once.
- A variance that a few seeds, or a few examples, show is itself uncertain: all deviations are widened to Student's t, with the degrees
  of freedom that Satterthwaite (1946) gives a sum of variances. For one seed and answers that are right or wrong this is the paired t-test.

The estimand is that of E[score of S on T] / E[score of T on T] over seeds and examples (Eq. 1; averages as Eq. 3). With one seed there is
no second level: the interval is conditional on that very model, and says so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from analysis.outcomes import Outcomes

Array = NDArray[np.floating]
RESAMPLES = 10_000
CONFIDENCE = 0.95
POWER = 0.8
_AT_ONCE = 500  # resamples whose weights lie in memory: 500 x 5,010 x 4 bytes are 10 MB
_ROUNDING = 1e-5  # sums of float32 draws that are 0 but for their rounding: two models that answer alike do not differ
_NOTHING = 1e-12  # a slope below this is one that cancels: Z(S→S) does not depend on S


# ------------------------------------------------------------------------------ what is asked


@dataclass(frozen=True)
class Contrast:
    """A weighted mean over targets of one source's values, less that of the source it is compared `over`, if any.

    One target is a cell (Eq. 1, 2); equal weights are an average (Eq. 3, 4).
    """

    source: str
    targets: Mapping[str, float]  # target -> weight; they sum to 1
    over: str | None = None


def mean_over(targets: Sequence[str]) -> Mapping[str, float]:
    """Equal weights."""
    return {target: 1 / len(targets) for target in targets}


def coefficients(contrasts: Sequence[Contrast], sources: Sequence[str], targets: Sequence[str]) -> Array:
    """Contrasts as (contrasts x sources x targets) factors of a matrix of values.

    NaN where a contrast names a source that has no predictions, or has no target: it cannot be told.
    """
    found = np.zeros((len(contrasts), len(sources), len(targets)))
    row, column = ({name: i for i, name in enumerate(names)} for names in (sources, targets))
    for factors, contrast in zip(found, contrasts, strict=True):
        for source, sign in ((contrast.source, 1), (contrast.over, -1)):
            for target, weight in contrast.targets.items() if source is not None else ():
                if source in row:
                    factors[row[source], column[target]] += sign * weight
        if not contrast.targets or {contrast.source, contrast.over} - {None, *sources}:
            factors[:] = np.nan
    return found


# ------------------------------------------------------------------------------ resampling


@dataclass(frozen=True)
class Resampled:
    """A model's abilities E (sources x targets) under resampling; NaN is a hole.

    `draws` (resamples x sources x targets): E on examples drawn anew. `shifts`, likewise: how far other seeds may have moved E.
    `between` (sources x targets x targets): the covariance of E that its seeds show; `within`: the part of it due to the examples.
    `examples` (targets): how many stand behind E. `mixing` (resamples): uniform deviates, which widen all statistics of a resample alike.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    seeds: tuple[int, ...]  # how many, of each source
    abilities: Array
    draws: Array
    shifts: Array
    between: Array
    within: Array
    examples: Array
    mixing: Array


def resample(outcomes: Outcomes, *, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """Draw examples and seeds anew. The same outcomes and seed give the same draws, whatever else is resampled beside them."""
    sources, targets = outcomes.sources, outcomes.targets
    shape = (len(sources), len(targets))
    abilities, between, within = np.full(shape, np.nan), np.zeros((*shape, shape[1])), np.zeros((*shape, shape[1]))
    examples = np.zeros(shape[1])
    draws, shifts = np.full((resamples, *shape), np.nan, dtype=np.float32), np.zeros((resamples, *shape), dtype=np.float32)
    deviations = [np.zeros((len(outcomes.seeds[source]), shape[1])) for source in sources]
    for block in outcomes.blocks:
        at = [targets.index(target) for target in block.targets]
        means = np.stack([block.scores[source].mean(axis=0) for source in sources], axis=1)  # (items x sources x targets)
        abilities[:, at], examples[at] = _mean(means), (~np.isnan(means)).sum(axis=0).max(axis=0)
        draws[:, :, at] = _resampled_means(means, resamples, _generator(seed, outcomes.model, *block.targets))
        for i, source in enumerate(sources):
            deviations[i][:, at], within[i][np.ix_(at, at)] = _by_seed(block.scores[source])
    for i, source in enumerate(sources):
        many = len(deviations[i])
        if many > 1:
            between[i] = deviations[i].T @ deviations[i] / (many - 1) / many
            within[i] /= many
            shifts[:, i] = _shifts(deviations[i], resamples, _generator(seed, outcomes.model, source))
    seeds = tuple(len(outcomes.seeds[source]) for source in sources)
    mixing = _generator(seed, outcomes.model).uniform(size=resamples)
    return Resampled(sources, targets, seeds, abilities, draws, shifts, between, within, examples, mixing)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """A stream of its own for each thing that is drawn."""
    key = hashlib.sha256("\n".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(key, dtype=np.uint32).tolist()])


def _mean(scores: Array) -> Array:
    """The mean over items (first axis) of those that are there; NaN where none is."""
    count = (~np.isnan(scores)).sum(axis=0)
    mean: Array = np.nansum(scores, axis=0) / np.where(count, count, np.nan)
    return mean


def _resampled_means(scores: Array, resamples: int, generator: np.random.Generator) -> Array:
    """Means over items drawn with replacement: (items x ...) -> (resamples x ...)."""
    items = len(scores)
    flat = scores.reshape(items, -1).astype(np.float32)
    there = ~np.isnan(flat)
    values, complete = np.where(there, flat, np.float32(0)), bool(there.all())
    found = np.empty((resamples, flat.shape[1]), dtype=np.float32)
    for first in range(0, resamples, _AT_ONCE):
        many = min(_AT_ONCE, resamples - first)
        drawn = generator.integers(items, size=(many, items), dtype=np.int32) + items * np.arange(many, dtype=np.int32)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=many * items).reshape(many, items).astype(np.float32)
        count = np.float32(items) if complete else weights @ there.astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[first : first + many] = weights @ values / count
    return found.reshape(resamples, *scores.shape[1:])


def _by_seed(scores: Array) -> tuple[Array, Array]:
    """How far each seed's means lie from their mean, (seeds x targets), and the covariance of that due to examples x seeds.

    `scores`: (seeds x items x targets). The covariance is the mean square of interaction in a two-way table without replication,
    over n: what the means of seeds would vary by if seeds differed in nothing but which examples they got right.
    """
    there = ~np.isnan(scores[0])
    count = there.sum(axis=0)
    means = np.stack([_mean(of_seed) for of_seed in scores])
    deviations = means - means.mean(axis=0)
    if len(scores) == 1:
        return deviations, np.zeros((scores.shape[2], scores.shape[2]))
    rest = scores - scores.mean(axis=0) - deviations[:, None, :]
    rest = np.where(there, rest, 0.0).reshape(-1, scores.shape[2])
    shared = there.T.astype(float) @ there
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = rest.T @ rest / (len(scores) - 1) / np.outer(count, count) * (shared / (shared - 1))
    return np.nan_to_num(deviations), np.nan_to_num(covariance, posinf=0.0)


def _shifts(deviations: Array, resamples: int, generator: np.random.Generator) -> Array:
    """Draws of how far the mean of K seeds lies from that of all, (seeds x targets) -> (resamples x targets)."""
    many = len(deviations)
    shifts: Array = generator.standard_normal((resamples, many)) @ deviations / np.sqrt(many * (many - 1))
    return shifts


# ------------------------------------------------------------------------------ estimates


@dataclass(frozen=True)
class Estimates:
    """Statistics with what is known of their error: one entry each, NaN where a hole is involved.

    `low`, `high`: the interval of 95 %, by the draws. `p`: two-sided, of "it is 0", by Student's t. `detectable`: the smallest
    true difference from 0 that a test at 5 % would have found with a power of 80 %. `conditional`: a single seed stands behind it,
    so all these hold for those very models.
    `draws`: (resamples x statistics), jointly.
    """

    value: Array
    low: Array
    high: Array
    p: Array
    detectable: Array
    conditional: NDArray[np.bool_]
    draws: Array


def estimate(resampled: Resampled, contrasts: Sequence[Contrast], denominators: Mapping[str, str] | None = None) -> Estimates:
    """Contrasts of relative abilities Z, or of abilities E where there are no `denominators` (target -> source)."""
    return estimates(resampled, coefficients(contrasts, resampled.sources, resampled.targets), denominators)


def estimates(resampled: Resampled, factors: Array, denominators: Mapping[str, str] | None = None) -> Estimates:
    """Linear combinations of Z, or of E without `denominators`; `factors` as `coefficients` gives them."""
    own = None if denominators is None else _own(resampled, denominators)
    values, draws = (_measured(matrix, own) for matrix in (resampled.abilities[None], resampled.draws))
    held = np.isnan(factors) | ((factors != 0) & np.isnan(values))
    usable = np.where(np.isnan(factors), 0.0, factors)
    flat = usable.reshape(len(factors), -1)
    value = (np.nan_to_num(values).reshape(1, -1) @ flat.T)[0]
    drawn = np.nan_to_num(draws).reshape(len(draws), -1) @ flat.T.astype(np.float32)
    slopes = _slopes(resampled.abilities, usable, own)
    drawn, p = _widened(resampled, slopes, value, drawn)
    drawn = np.maximum(drawn, np.where((usable < 0).any(axis=(1, 2)), -np.inf, 0))  # no mean of scores is below 0
    alone = np.array([many < 2 for many in resampled.seeds])
    conditional = (np.abs(slopes).max(axis=2) > _NOTHING)[:, alone].any(axis=1)
    return _summed_up(np.where(held.any(axis=(1, 2)), np.nan, value), drawn, p, conditional)


def unbounded(resampled: Resampled, denominators: Mapping[str, str]) -> tuple[str, ...]:
    """The targets whose denominator is 0 in some resample, so that no ratio there has bounds."""
    own = _rows_of(resampled, denominators)
    return tuple(target for target, zero in zip(resampled.targets, _may_be_0(resampled, own), strict=True) if zero)


def _own(resampled: Resampled, denominators: Mapping[str, str]) -> NDArray[np.int_]:
    """For each target the row of its denominator; -1 where there is none, or where it may be 0."""
    own = _rows_of(resampled, denominators)
    return np.where(_may_be_0(resampled, own), -1, own)


def _rows_of(resampled: Resampled, denominators: Mapping[str, str]) -> NDArray[np.int_]:
    row = {source: i for i, source in enumerate(resampled.sources)}
    return np.array([row.get(denominators.get(target, ""), -1) for target in resampled.targets])


def _may_be_0(resampled: Resampled, own: NDArray[np.int_]) -> NDArray[np.bool_]:
    zero: NDArray[np.bool_] = (own >= 0) & (resampled.draws[:, own, np.arange(len(own))] == 0).any(axis=0)
    return zero


def _measured(abilities: Array, own: NDArray[np.int_] | None) -> Array:
    """Z of E, along the first axis (Eq. 1); E itself without denominators."""
    if own is None:
        return abilities
    divisor = np.where(own < 0, np.nan, abilities[:, own, np.arange(len(own))])
    with np.errstate(invalid="ignore", divide="ignore"):
        return abilities / divisor[:, None, :].astype(abilities.dtype)


def _slopes(abilities: Array, factors: Array, own: NDArray[np.int_] | None) -> Array:
    """The derivative of each statistic by each ability, (statistics x sources x targets)."""
    if own is None:
        return factors
    columns = np.arange(len(own))
    divisor = np.where(own < 0, np.nan, abilities[own, columns])
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = np.nan_to_num(factors / divisor)
        pulled = np.nan_to_num((factors * np.nan_to_num(abilities)).sum(axis=1) / divisor**2)
    slopes[:, own[own >= 0], columns[own >= 0]] -= pulled[:, own >= 0]
    return slopes


def _widened(resampled: Resampled, slopes: Array, value: Array, drawn: Array) -> tuple[Array, Array]:
    """Draws for the examples, with what other seeds would have moved, and as wide as so few of both ask for; and p of the values."""
    seeds = np.array(resampled.seeds)
    total, counted = (np.einsum("jst,stu,jsu->js", slopes, each, slopes, optimize=True) for each in (resampled.between, resampled.within))
    shown = total.sum(axis=1)
    kept = np.clip(1 - counted.sum(axis=1) / np.where(shown > 0, shown, np.inf), 0, 1)  # the share that is due to the seeds alone
    flat = slopes.reshape(len(slopes), -1).T.astype(np.float32)
    near, moved = (np.nan_to_num(of).reshape(len(drawn), -1) @ flat for of in (resampled.draws, resampled.shifts))
    many = np.where(np.abs(slopes).max(axis=1) > _NOTHING, resampled.examples, resampled.examples.max()).min(axis=1)
    fewer = np.maximum(many - 1, 1)
    of_examples = near.var(axis=0) * many / fewer  # of the ratio's tangent, for a denominator that may come near 0 has no variance
    variance = of_examples + kept * shown
    unsure = of_examples**2 / fewer + (total**2 / np.maximum(seeds - 1, 1)).sum(axis=1)
    freedom = variance**2 / np.where(unsure > 0, unsure, np.nan)  # NaN: nothing varies
    deviations = (drawn - value) * np.sqrt(many / fewer) + moved * np.sqrt(kept)
    widened: Array = value + deviations * _student(freedom, resampled.mixing)
    return np.where(np.abs(widened) < _ROUNDING, 0.0, widened), _two_sided(value, np.sqrt(variance), freedom, many)


def _two_sided(value: Array, error: Array, freedom: Array, examples: Array) -> Array:
    """P of "it is 0", by Student's t; a tail that is counted in draws would depend on which were drawn.

    Where all examples differ alike there is no error, and p is that of the sign test, 2 x 0.5^examples; 1 where only seeds are known.
    """
    from scipy.special import stdtr

    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(np.where(np.isnan(freedom), np.inf, np.maximum(freedom, 1.0)), -np.abs(value) / error)
    p = np.where(error < _ROUNDING, np.minimum(1.0, 2 * 0.5**examples), p)
    return np.where(np.abs(value) < _ROUNDING, 1.0, p)


def _student(freedom: Array, mixing: Array) -> Array:
    """What makes a normal deviate one of Student's t, (resamples x statistics): sqrt(f / chi2_f), 1 where f is NaN or above 1,000.

    Degrees of freedom are taken in steps of 2 %.
    """
    from scipy.special import gammaincinv

    step = np.log(1.02)
    held = np.where(freedom < 1_000, np.exp(step * np.floor(np.log(np.maximum(freedom, 1.0)) / step)), np.nan)
    factors = np.ones((len(mixing), len(freedom)), dtype=np.float32)
    for each in np.unique(held[~np.isnan(held)]):
        factors[:, held == each] = np.sqrt(each / (2 * gammaincinv(each / 2, mixing)))[:, None]
    return factors


def _summed_up(value: Array, draws: Array, p: Array, conditional: NDArray[np.bool_]) -> Estimates:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    at, power = NormalDist().inv_cdf(1 - tail), NormalDist().inv_cdf(POWER)
    detectable = (high - low) / 2 * (at + power) / at
    hole = np.isnan(value)
    low, high, p, detectable = (np.where(hole, np.nan, found) for found in (low, high, p, detectable))
    return Estimates(value, low, high, p, detectable, conditional & ~hole, draws)


def holm(p: Array) -> Array:
    """P-values corrected for how many were looked at (Holm 1979): rejecting those below 5 % errs in any with 5 % at most.

    Works under any dependence. NaN, of a test that could not be made, stays NaN and does not count.
    """
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    stepped = p[order] * np.arange(len(order), 0, -1)
    corrected = np.full_like(p, np.nan, dtype=float)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected
