"""What a sweep did: coverage, learning curves, and what was run, from its files alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from analysis.report.facts import Coverage, Curve, Defect, Ran
from analysis.report.wording import count, duration
from xfer_ray.errors import DataError
from xfer_ray.planfile import Plan, PlannedTrial
from xfer_ray.results import Results, from_bytes, read_json, stems


def silent(plan: Plan, tasks: Sequence[str], heard: set[tuple[str, str]], model: str | None) -> tuple[str, ...]:
    """The models of each task that have no scores yet, one sentence each."""
    planned = dict.fromkeys((t.task, t.model) for t in plan.trials if t.task in tasks and model in (None, t.model))
    return tuple(f"{task}, {name}: no scores yet." for task, name in planned if (task, name) not in heard)


def conflicts(results: Results, plan: Plan) -> tuple[Defect, ...]:
    """Trials whose second execution scored otherwise than the first, which counts."""
    names = stems(results, "conflicts", ".json")
    return tuple(
        Defect(t.task, f"{t.model}, {t.source}, seed {t.seed}", "a second execution with other scores", 1, 1)
        for t in plan.trials
        if t.trial in names
    )


def curves(results: Results, plan: Plan, tasks: Sequence[str], done: set[str], model: str | None) -> tuple[Curve, ...]:
    """The learning curve of each source, averaged over the seeds that share its steps."""
    there = stems(results, "curves", ".parquet") & done
    by_source: dict[tuple[str, str, str], list[pd.DataFrame]] = defaultdict(list)
    for trial in plan.trials:
        if trial.trial in there and trial.task in tasks and model in (None, trial.model):
            path = results.table("curves", trial.trial)
            frame = from_bytes(results.storage.read(path), path).to_pandas()
            own = frame[frame["corpus"] == frame["corpus"].iloc[0]] if len(frame) else frame  # not the targets' that an oracle looked at
            by_source[trial.task, trial.model, trial.source].append(own)
    return tuple(_curve(*key, pd.concat(frames)) for key, frames in by_source.items() if any(len(frame) for frame in frames))


def _curve(task: str, model: str, source: str, points: pd.DataFrame) -> Curve:
    by_step = points.groupby("step")["score"]
    seeds = points["trial"].nunique()
    means = by_step.mean()[by_step.count() == seeds]  # a mean over other seeds at another step would bend the curve
    means = means if len(means) else by_step.mean()
    return Curve(task, model, source, str(points["metric"].iloc[0]), tuple(map(int, means.index)), tuple(map(float, means)))


# ------------------------------------------------------------------------------ coverage


def coverage(results: Results, plan: Plan, tasks: Sequence[str], done: set[str], model: str | None) -> tuple[Coverage, ...]:
    """What is planned, done, failed and missing, by task and model; a failure counts until the trial is done."""
    failed = stems(results, "failures", ".json") - done
    groups: dict[tuple[str, str], list[PlannedTrial]] = defaultdict(list)
    for trial in plan.trials:
        if trial.task in tasks and model in (None, trial.model):
            groups[trial.task, trial.model].append(trial)
    return tuple(
        Coverage(
            *key,
            len(trials),
            sum(t.trial in done for t in trials),
            {f"{t.source}, seed {t.seed}": _failure(results, t.trial) for t in trials if t.trial in failed},
            tuple(f"{t.source}, seed {t.seed}" for t in trials if t.trial not in done | failed),
        )
        for key, trials in groups.items()
    )


def _failure(results: Results, trial: str) -> str:
    """What the record of a failure says; nothing rests on it, so a damaged one is only called so."""
    try:
        found = read_json(results, results.record("failures", trial)) or {}
    except DataError:
        return "its record of the failure is damaged"
    return str(found.get("error", "")) or "no reason is recorded"


# ------------------------------------------------------------------------------ what was run


def ran(plan: Plan, scores: pd.DataFrame, tasks: Sequence[str], model: str | None) -> tuple[Ran, ...]:
    """Versions, revisions, fingerprints, time and machines, by task and model."""
    groups = [(str(task), str(name), rows) for (task, name), rows in scores.groupby(["task", "model"], sort=False)]
    return tuple(
        Ran(task, name, tuple((label, value) for label, value in _facts(plan, task, name, rows) if value))
        for task, name, rows in groups
        if task in tasks and model in (None, name)
    )


def _facts(plan: Plan, task: str, model: str, rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    facts, trials = plan.tasks[task], rows.drop_duplicates("trial")
    yield "trials", f"{len(trials)}, of {count(trials['source'].nunique(), 'source')} and {count(trials['seed'].nunique(), 'seed')}"
    if model in plan.models:
        yield "family", plan.models[model].family
    yield "checkpoint", _listed(trials["checkpoint"])
    yield "checkpoint revision", _listed(trials["checkpoint_revision"])
    yield "data", ", ".join(f"{name} at {revision or 'no recorded revision'}" for name, revision in facts.revisions.items())
    yield "data revision", _listed(set(trials["data_revision"]) - set(facts.revisions.values()))
    yield "evaluated on", f"split {_listed(rows['split'])}, {_sizes(rows)}"
    yield "fingerprints", _fingerprints(rows)
    yield "metric", ", ".join(f"{name} (version {_listed(of['metric_version']) or 'not recorded'})" for name, of in rows.groupby("metric"))
    yield "versions", "; ".join(map(_versions, dict.fromkeys(filter(None, trials["versions"]))))
    yield "devices", _listed(trials["device"])
    yield "hosts", _listed(trials["host"])
    yield "time", _time(trials)
    yield "from, to", _span(trials)
    yield "license of the data", facts.licence
    yield "citation", facts.citation


def _listed(values: Iterable[str]) -> str:
    found = sorted({str(value) for value in values if value})
    return ", ".join(found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else "")


def _sizes(rows: pd.DataFrame) -> str:
    sizes = sorted(rows.loc[rows["n"] > 0, "n"].unique())
    if not sizes:
        return "of a size that is not recorded"
    return f"{sizes[0]:,} examples of each target" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} examples of a target"


def _fingerprints(rows: pd.DataFrame) -> str:
    known = rows[rows["data_fingerprint"] != ""].drop_duplicates(["target", "data_fingerprint"])
    return ", ".join(f"{target} {value[:12]}" for target, value in zip(known["target"], known["data_fingerprint"], strict=True))


def _versions(text: str) -> str:
    """{"torch":"2.9"} -> torch 2.9; what is not such a record is shown as it stands."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return ", ".join(f"{name} {version}" for name, version in found.items()) if isinstance(found, dict) else text


def _time(trials: pd.DataFrame) -> str:
    seconds = trials["train_seconds"] + trials["eval_seconds"]
    if not seconds.sum():
        return ""
    accelerated = ~trials["device"].str.lower().str.startswith("cpu") & (trials["device"] != "")
    on_gpu = f"; {seconds[accelerated].sum() / 3600:,.2f} GPU hours of it" if accelerated.any() else "; none of it on a GPU"
    return f"{duration(trials['train_seconds'].sum())} of fine-tuning, {duration(trials['eval_seconds'].sum())} of evaluation{on_gpu}"


def _span(trials: pd.DataFrame) -> str:
    started, finished = trials["started"].min(), trials["finished"].max()
    return f"{started:%Y-%m-%d %H:%M} to {finished:%Y-%m-%d %H:%M} UTC" if started.year > 1970 else ""
