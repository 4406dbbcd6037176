"""The scores that answer one question: one task, metric and split; which of them are planned, there, and comparable."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from xfer_ray.compact import read_rescored, read_scores
from xfer_ray.errors import DataError, DeclarationError, demand, unknown
from xfer_ray.planfile import Plan, TaskFacts
from xfer_ray.results import Results, done, stems

CHOICES = {
    "values": ("paper", "ability", "relative", "advantage", "common", "gap"),
    "layout": ("matrix", "provenance", "summary"),
    "seed-mean": ("scores", "ratios"),
}


# A text-to-text model reads and answers padded text, and its authors score it so (mT5's protocol).
PADDED = {"f1": "f1_padded", "exact_match": "exact_match_padded"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of the tables; None leaves a choice to the task, or to what there is."""

    task: str | None = None
    model: str | None = None
    metric: str | None = None
    split: str | None = None
    selection: str | None = None
    baseline: str | None = None
    denominators: str | None = None
    values: str = "paper"
    layout: str = "matrix"
    seed_mean: str = "scores"
    marks: bool = True  # of what is significant, where there are predictions
    intervals: bool = False

    def __post_init__(self) -> None:
        for name in ("task", "model", "metric", "split", "selection", "baseline", "denominators"):
            found = getattr(self, name)
            demand(found is None or bool(found.strip()), f"--{name} {found!r} names nothing; name one, or leave the option out")
        for kind, possible in CHOICES.items():
            found = getattr(self, kind.replace("-", "_"))
            if found not in possible:
                raise unknown(kind, found, possible)
        if self.layout != "matrix" and self.values != "paper":
            raise DeclarationError(f"layout {self.layout} shows average advantages; values {self.values!r} needs the layout matrix")
        if self.layout == "provenance" and self.denominators:
            raise DeclarationError("layout provenance has denominators of its own: HT for the column HT, MT for the column MT")


Seeds = Mapping[str, frozenset[int]]  # source -> seeds


@dataclass(frozen=True)
class Selected:
    """One task's scores, of each model by one metric, on one split, with what was planned; `models` are those to show."""

    task: str
    facts: TaskFacts
    metrics: Mapping[str, str]  # by model
    split: str
    models: tuple[str, ...]
    planned: Mapping[str, Seeds]  # model -> source -> seeds, of all models
    scores: pd.DataFrame  # of all models: a task's normalization does not depend on which are shown

    @property
    def sources(self) -> tuple[str, ...]:
        """Every planned source of the task, in the plan's order."""
        return tuple(dict.fromkeys(source for seeds in self.planned.values() for source in seeds))

    @property
    def metric(self) -> str:
        """The metrics of the models to show, as a reader names them."""
        return " or ".join(dict.fromkeys(self.metrics[model] for model in self.models))

    def of(self, model: str) -> pd.DataFrame:
        """The scores of one model."""
        return self.scores[self.scores["model"] == model]


def planned_scores(results: Results, plan: Plan, options: Options) -> pd.DataFrame:
    """The committed scores of planned trials; with those of `rescore` if a metric is asked for that no trial was scored by."""
    trials = done(results) & {trial.trial for trial in plan.trials}
    scores = read_scores(results, trials)
    if options.metric is None or options.metric in {*scores["metric"], *(name for facts in plan.tasks.values() for name in facts.metrics)}:
        return scores
    if not stems(results, f"rescored/{options.metric}", ".parquet"):
        asked = unknown("metric", options.metric, dict.fromkeys(scores["metric"]))
        raise DeclarationError(f"{asked}; `xfer-ray rescore {results.url} --metric NAME` computes others from the predictions")
    of_task = {trial.trial for trial in plan.trials if options.task in (None, trial.task)}
    return pd.concat([scores, read_rescored(results, options.metric, of_task & trials)])


def ignored(others: Collection[str]) -> tuple[str, ...]:
    """A note on scores of trials that are not planned, if there are any."""
    files = "file" if len(others) == 1 else "files"
    return (f"ignored {len(others):,} scores {files} of trials that sweep.json does not plan",) if others else ()


def select(plan: Plan, scores: pd.DataFrame, options: Options) -> Selected:
    """The scores that the options name, with every choice that they leave made or refused."""
    task = _one("task", options.task, (), list(plan.tasks))
    facts = plan.tasks[task]
    planned = _planned(plan, task)
    if options.model and options.model not in planned:
        raise unknown("model", options.model, planned)
    models = (options.model,) if options.model else tuple(planned)
    found = scores[scores["trial"].isin([t.trial for t in plan.trials]) & (scores["task"] == task)]
    metrics = _metrics(plan, found, options.metric, facts, planned)
    found = found[found["metric"] == found["model"].map(metrics)]
    split = _one("split", options.split, (facts.eval_split,), _values(found, "split"))
    found = _one_selection(found[found["split"] == split], options.selection)
    if not found["model"].isin(models).any():
        count = sum(len(seeds) for model in models for seeds in planned[model].values())
        raise DataError(
            f"no scores yet of task {task} by {' or '.join(dict.fromkeys(metrics.values()))} on split {split} in sweep {plan.sweep}: "
            f"`xfer-ray run` with its sweep file runs what is missing of {count} trials"
        )
    _refuse_incomparable(found, task)
    return Selected(task, facts, metrics, split, models, planned, found)


def _metrics(plan: Plan, scores: pd.DataFrame, asked: str | None, facts: TaskFacts, models: Iterable[str]) -> dict[str, str]:
    """The metric of each model: the one asked for; else the task's first, which for a text-to-text model is the padded one."""
    metric = _one("metric", asked, facts.metrics, _values(scores, "metric"))
    padded = PADDED.get(metric, metric)
    padded = padded if padded in (*facts.metrics, *_values(scores, "metric")) else metric
    text = {name for name, found in plan.models.items() if found.family == "text_to_text"}
    return {model: padded if asked is None and model in text else metric for model in models}


def _one(kind: str, asked: str | None, declared: Sequence[str], present: Sequence[str]) -> str:
    """What was asked for; else the first that is declared, if the results hold it or nothing; else the only one they hold."""
    if asked:
        if asked not in present and asked not in declared:
            raise unknown(kind, asked, dict.fromkeys((*declared, *present)))
        return asked
    if declared and (declared[0] in present or not present):
        return declared[0]
    if len(present) > 1:
        raise DeclarationError(f"the results hold several {kind}s: {', '.join(present)}; name one with --{kind}")
    return present[0]


def _values(scores: pd.DataFrame, column: str) -> list[str]:
    return list(scores[column].unique())


def _planned(plan: Plan, task: str) -> dict[str, dict[str, frozenset[int]]]:
    planned: dict[str, dict[str, frozenset[int]]] = {}
    for trial in plan.trials:
        if trial.task == task:
            seeds = planned.setdefault(trial.model, {})
            seeds[trial.source] = seeds.get(trial.source, frozenset()) | {trial.seed}
    return planned


def _one_selection(scores: pd.DataFrame, asked: str | None) -> pd.DataFrame:
    """One way per model of choosing the step that was scored; `oracle` looked at the target and is never the default."""
    if asked:
        chosen = _one("selection", asked, (), _values(scores, "selection"))
        return scores[scores["selection"] == chosen]
    fair = scores[scores["selection"] != "oracle"]
    if fair.empty and not scores.empty:
        raise DataError("the only scores are of the selection oracle, which looked at the targets; --selection oracle shows them")
    chose = set(_trials(fair[fair["selection"] == "source-dev"]))
    beside = [name == "last" and trial in chose for name, trial in zip(fair["selection"], _trials(fair), strict=True)]
    fair = fair[~np.array(beside, dtype=bool)]  # the last step of a trial that chose another one is shown only when it is asked for
    for model, found in fair.groupby("model", sort=False):
        if found["selection"].nunique() > 1:
            raise DeclarationError(
                f"model {model} was scored at several selections: {', '.join(_values(found, 'selection'))}; name one with --selection"
            )
    return fair


def _trials(scores: pd.DataFrame) -> list[tuple[str, str, int]]:
    return list(zip(scores["model"], scores["source"], scores["seed"], strict=True))


def _refuse_incomparable(scores: pd.DataFrame, task: str) -> None:
    """Scores of one target stand side by side only if they are of the same examples by the same metric, one per seed."""
    for column, unrecorded in (("n", 0), ("data_fingerprint", ""), ("metric_version", "")):
        recorded = scores.loc[scores[column] != unrecorded, ["target", "metric", "source", column]]
        for (target, _), found in recorded.groupby(["target", "metric"], sort=False):
            if found[column].nunique() > 1:
                sources = found.groupby(column, sort=False)["source"].unique()
                versions = "; ".join(f"{str(value)[:12]} of {', '.join(names)}" for value, names in sources.items())
                raise DataError(f"target {target} of task {task} has two values of {column}, so its scores do not compare: {versions}")
    twice = scores[scores.duplicated(["model", "source", "seed", "target"])]
    for row in twice.head(1).itertuples():
        raise DataError(f"two scores for one cell: {row.trial} on target {row.target}")
