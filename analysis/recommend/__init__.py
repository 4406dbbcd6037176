"""Which source to fine-tune on, for a user's own targets: ranked, with intervals and the probability of being the best.

The value of a source is its weighted mean over the targets, or the least of them; of relative abilities where the task is normalized,
else of its metric; fractions. By default a source's own language counts as any target does, since it will be served. Zero-shot, those
cells do not count, and what is averaged is the value that source and target effects give (value ~ source + target over the cells off
the diagonal, as `transfer.source_effects`), for plain means would be over different targets.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis import measure, outcomes, significance, typology
from analysis.blocks import ALIKE, ALPHA
from analysis.intervals import unbounded
from analysis.ranking import Known, Ranking, known_of, leaders, nothing_known, ranking_of
from analysis.recommend import unseen
from analysis.recommend.unseen import Predicted
from analysis.recommend.wanted import wanted
from analysis.selection import Options, Selected, planned_scores, select
from analysis.significance import Resampled
from xfer_ray.errors import DataError, unknown
from xfer_ray.planfile import Plan, read_plan
from xfer_ray.results import Results

MEASURES = ("average", "worst")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a user asks. `targets`: spellings or languages, none: all; `pretraining`: the corpus of the models, where it is not known."""

    targets: tuple[str, ...] = ()
    weights: Mapping[str, float] | None = None
    measure: str = "average"
    zero_shot: bool = False
    pretraining: str | None = None

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise unknown("measure", self.measure, MEASURES)
        typology.named(self.pretraining)


@dataclass(frozen=True)
class Ranked:
    """A source: its value with limits of 95 %, the probability that it is best, its worst target, the fewest seeds behind any cell.

    `behind`: how far below the best it lies, with limits; `p`: of no difference, by Holm's correction. NaN where it is not known.
    """

    source: str
    value: float
    low: float
    high: float
    p_best: float
    worst_target: str
    worst: float
    runs: int
    behind: float
    behind_low: float
    behind_high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer for one model, best source first. `weights` are those of the targets that were measured; they sum to 1.

    `conditional`: a single seed stands behind some source, so intervals hold for those very models. `intervals`: there are any;
    `of_seeds`: they tell of seeds alone; `lacking`: the sources of whose errors nothing is known. `baseline`: the best there is under
    the budget of the best source.
    """

    task: str
    model: str
    metric: str
    kind: str  # relative, ability
    measure: str
    zero_shot: bool
    weights: Mapping[str, float]
    sources: tuple[Ranked, ...] = ()
    baseline: str | None = None
    conditional: bool = False
    intervals: bool = False
    of_seeds: bool = False
    lacking: tuple[str, ...] = ()
    like_for_like: tuple[str, ...] = ()  # the sources that come first where their own language does not count, if they are others
    unmeasured: float = 0.0  # the share of the weight that is on languages that nobody measured
    predicted: Predicted | None = None
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> tuple[str, ...]:
        """The sources with the same value as the first."""
        return tuple(other.source for other in self.sources[1:] if other.behind < ALIKE)

    @property
    def rivals(self) -> tuple[str, ...]:
        """The sources that cannot be told apart from the best."""
        return tuple(other.source for other in self.sources[1:] if other.p > ALPHA)


def read(results: Results, options: Options, question: Question) -> tuple[Recommendation, ...]:
    """What the results say, for each model that has scores."""
    plan = read_plan(results)
    options = replace(options, values="relative")
    selected = select(plan, planned_scores(results, plan, options), options)
    asked = wanted(question.targets, question.weights, selected.facts.targets)
    notes = measure.notes(selected, measure.is_normalized(selected, options), options)
    answers = []
    for model in selected.models:
        if selected.of(model).empty:
            continue
        behind = outcomes.read(results, selected, model) if asked.measured else None
        resampled = significance.resample(behind) if behind else None
        answer = recommend(selected, model, asked.measured, options, question, resampled)
        answer = replace(answer, of_seeds=behind is not None and behind.of_seeds)
        more = behind.notes if behind else ()
        if asked.unmeasured:
            share = math.fsum(asked.unmeasured.values())
            answer = replace(answer, unmeasured=share, predicted=_predicted(plan, selected, model, asked.unmeasured, options, question))
            more = (*more, f"nobody measured {', '.join(asked.unmeasured)}: {100 * share:.0f} % of the weight")
        answers.append(replace(answer, notes=(*notes, *more, *answer.notes)))
    return tuple(answers)


def recommend(  # noqa: PLR0913 (one model, one question, and what there is to answer it)
    selected: Selected, model: str, shares: Mapping[str, float], options: Options, question: Question, resampled: Resampled | None
) -> Recommendation:
    """One model's sources, ranked on targets that were measured.

    Args:
        selected: the scores.
        model: whose.
        shares: target -> how much it counts, above 0.
        options: what is asked of the scores.
        question: what is asked of the ranking.
        resampled: the predictions behind the scores, where there are any.
    """
    found = measure.measured(selected, model, measure.is_normalized(selected, options), options)
    weights = {target: share / sum(shares.values()) for target, share in shares.items()}
    answer = Recommendation(
        task=selected.task,
        model=model,
        metric=selected.metrics[model],
        kind=found.kind,
        measure=question.measure,
        zero_shot=question.zero_shot,
        weights=weights,
    )
    if not weights:
        return answer
    matrix, runs = (table.loc[list(selected.planned[model]), list(weights)] for table in (found.values, found.runs))
    ranking = ranking_of(matrix, np.array(list(weights.values())), least=question.measure == "worst", zero_shot=question.zero_shot)
    if np.isnan(ranking.values).all():
        raise DataError(f"no source of {selected.task}.{model} can be ranked: {'; '.join(_reasons(matrix, ranking))}")
    own = measure.divided_by(selected, options.denominators) if found.kind == "relative" else None
    known = nothing_known(ranking) if resampled is None else known_of(ranking, matrix, resampled, own)
    asked = {target: source for target, source in (own or {}).items() if target in weights}
    values = dict(zip(map(str, matrix.index), map(float, ranking.values), strict=True))
    unranked = (f"{selected.task}.{model}: not ranked, for {reason}" for reason in _reasons(matrix, ranking))
    return replace(
        answer,
        like_for_like=_like_for_like(matrix, np.array(list(weights.values())), ranking),
        sources=_best_first(_ranked(i, matrix, runs, ranking, known) for i in range(len(matrix))),
        baseline=measure.best_baseline(str(matrix.index[ranking.best]), measure.baselines(selected, model, options), values),
        conditional=known.conditional,
        intervals=not np.isnan(known.low).all(),
        lacking=_lacking(resampled, (*values, *asked.values())),
        notes=(*unranked, *(unbounded(model, resampled, [asked]) if resampled else ())),
    )


def _lacking(resampled: Resampled | None, sources: Iterable[str]) -> tuple[str, ...]:
    """The sources that could not be drawn anew beside others; none where nothing could."""
    return tuple(source for source in dict.fromkeys(sources) if resampled and source not in resampled.sources)


def _like_for_like(matrix: pd.DataFrame, weights: np.ndarray, ranking: Ranking) -> tuple[str, ...]:
    """The best sources by zero-shot cells alone, where these compare all sources and none of them is first otherwise."""
    if ranking.factors is None or not ranking.counted.all():
        return ()
    try:
        zero_shot = ranking_of(matrix, weights, least=False, zero_shot=True)
    except DataError:
        return ()
    first, otherwise = (leaders(dict(zip(map(str, matrix.index), of.values, strict=True))) for of in (zero_shot, ranking))
    return first if set(first).isdisjoint(otherwise) else ()


def _best_first(sources: Iterable[Ranked]) -> tuple[Ranked, ...]:
    """By their values; what differs by rounding alone stays in its order."""
    return tuple(sorted(sources, key=lambda one: (np.isnan(one.value), one.behind if one.behind >= ALIKE else 0.0)))


def _reasons(matrix: pd.DataFrame, ranking: Ranking) -> list[str]:
    """Why sources are not ranked: which of their cells are missing."""
    found = []
    missing = ranking.counted & matrix.isna().to_numpy()
    for source, counted, holes in zip(matrix.index, ranking.counted, missing, strict=True):
        if holes.any():
            found.append(f"{source} has no value on {', '.join(matrix.columns[holes])}")
        elif not counted.any():
            found.append(f"no target is zero-shot for {source}")
    return found


def _ranked(i: int, matrix: pd.DataFrame, runs: pd.DataFrame, ranking: Ranking, known: Known) -> Ranked:
    counted = ranking.counted[i]
    row = np.where(counted, matrix.to_numpy(dtype=float)[i], np.inf)
    worst = int(row.argmin())
    return Ranked(
        source=str(matrix.index[i]),
        value=float(ranking.values[i]),
        low=float(known.low[i]),
        high=float(known.high[i]),
        p_best=float(known.p_best[i]),
        worst_target=str(matrix.columns[worst]) if ranking.complete[i] else "",
        worst=float(row[worst]) if ranking.complete[i] else np.nan,
        runs=int(min(runs.to_numpy()[i][counted], default=0)),
        behind=float(ranking.values[ranking.best] - ranking.values[i]),
        behind_low=float(known.behind_low[i]),
        behind_high=float(known.behind_high[i]),
        p=float(known.p[i]),
    )


def _predicted(plan: Plan, selected: Selected, model: str, asked: Mapping[str, float], options: Options, question: Question) -> Predicted:
    found = measure.measured(selected, model, measure.is_normalized(selected, options), options)
    facts = plan.models.get(model)
    corpus = typology.named(question.pretraining) or (typology.pretraining(facts.checkpoint) if facts else None)
    total = sum(asked.values())
    weights = {language: share / total for language, share in asked.items()}
    return unseen.predict(found.values.loc[list(selected.planned[model])], weights, corpus)
