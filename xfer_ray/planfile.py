"""What a sweep plans, as it stands in sweep.json: its trials by name, and what analysis must know of its tasks and models."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass

from xfer_ray.core import Model, Sweep, Task
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results, put_json, read_json
from xfer_ray.sources import parse_source

PLAN_VERSION = 1


@dataclass(frozen=True)
class PlannedTrial:
    """A trial as sweep.json names it: by spelling, not by value."""

    trial: str
    task: str
    model: str
    source: str
    seed: int
    digest: str


@dataclass(frozen=True)
class TaskFacts:
    """What analysis must know of a task. `groups` holds target spellings, "All" last.

    `normalized` is None for an imported task that nobody declared: it is normalized if every denominator is there.
    """

    targets: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    eval_split: str
    normalized: bool | None
    baseline: str | None
    denominators: tuple[str, ...]
    parallel: bool
    licence: str
    citation: str
    revisions: Mapping[str, str | None]


@dataclass(frozen=True)
class ModelFacts:
    """What the plan says of a model: its family, its checkpoint, and the revision that is declared or was resolved."""

    family: str
    checkpoint: str
    revision: str | None


@dataclass(frozen=True)
class Plan:
    """What a sweep plans: sweep.json."""

    sweep: str
    trials: tuple[PlannedTrial, ...]
    tasks: Mapping[str, TaskFacts]
    models: Mapping[str, ModelFacts]


def plan_of(sweep: Sweep, revisions: Mapping[str, str]) -> Plan:
    """The plan of a declared sweep; `revisions` are those resolved so far, by repository or checkpoint."""
    trials = tuple(PlannedTrial(t.id, t.task.name, t.model.name, str(t.source), t.seed, t.digest) for t in sweep.trials)
    tasks = {t.task.name: facts_of(t.task, revisions) for t in sweep.trials}
    return Plan(sweep.name, trials, tasks, {t.model.name: _model_facts(t.model, revisions) for t in sweep.trials})


def facts_of(task: Task, revisions: Mapping[str, str]) -> TaskFacts:
    """What the plan says of a task."""
    groups = {name: tuple(str(t) for t in task.targets if t.language in members) for name, members in task.groups.items()}
    return TaskFacts(
        targets=tuple(map(str, task.targets)),
        groups={**groups, "All": tuple(map(str, task.targets))},
        metrics=task.metrics,
        eval_split=task.eval_split,
        normalized=task.normalized,
        baseline=None if task.baseline is None else str(task.baseline),
        denominators=tuple(map(str, task.denominators)),
        parallel=task.parallel,
        licence=task.licence,
        citation=task.citation,
        revisions={name: revisions.get(name) or declared for name, declared in task.revisions.items()},
    )


def _model_facts(model: Model, revisions: Mapping[str, str]) -> ModelFacts:
    if isinstance(model.checkpoint, Pretraining):
        return ModelFacts(str(model.family), f"pretrained/{model.checkpoint.digest}", None)
    family = model.family if isinstance(model.family, str) else model.family.__qualname__
    return ModelFacts(family, model.checkpoint, revisions.get(model.checkpoint) or model.revision)


def write_plan(results: Results, plan: Plan) -> None:
    """Put sweep.json."""
    put_json(results, results.plan, {"version": PLAN_VERSION, **dataclasses.asdict(plan)})


def has_plan(results: Results) -> bool:
    """Whether there is a sweep here."""
    return results.storage.exists(results.plan)


def read_plan(results: Results) -> Plan:
    """What sweep.json says; DataError if it says something else."""
    found = read_json(results, results.plan)
    if found is None:
        raise DataError(f"{results.url} holds no sweep.json, so nothing is planned there; `xfer-ray run` writes it")
    if found.get("version") != PLAN_VERSION:
        raise DataError(f"{results.url}/sweep.json has version {found.get('version')}; this program reads version {PLAN_VERSION}")
    try:
        trials = tuple(PlannedTrial(**trial) for trial in found["trials"])
        tasks = {name: _task_facts(**facts) for name, facts in found["tasks"].items()}
        if strange := {trial.task for trial in trials} - set(tasks):
            raise ValueError(f"its tasks lack {', '.join(map(str, strange))}")
        return Plan(found["sweep"], trials, tasks, {name: ModelFacts(**facts) for name, facts in found["models"].items()})
    except (KeyError, TypeError, AttributeError, ValueError, DeclarationError) as error:
        raise DataError(
            f"{results.url}/sweep.json is not a plan of a sweep: {error}; delete it, and the next `xfer-ray run` writes it again"
        ) from error


def _task_facts(**found: typing.Any) -> TaskFacts:  # noqa: ANN401
    lists = {name: tuple(found[name]) for name in ("targets", "metrics", "denominators")}
    facts = TaskFacts(**{**found, **lists, "groups": {name: tuple(targets) for name, targets in found["groups"].items()}})
    for corpus in (*facts.targets, *facts.denominators, *filter(None, [facts.baseline])):
        if str(parse_source(corpus)) != corpus:
            raise ValueError(f"{corpus} is not spelled {parse_source(corpus)}")
    odd = {target for targets in facts.groups.values() for target in targets} - set(facts.targets)
    if odd or "All" not in facts.groups:
        raise ValueError(f"its groups {', '.join(facts.groups)} lack All, or hold other targets: {', '.join(map(str, odd)) or 'none'}")
    return facts


def recorded_revisions(results: Results) -> dict[str, str]:
    """The revisions that earlier runs resolved, by repository or checkpoint."""
    if not has_plan(results):
        return {}
    plan = read_plan(results)
    data = {name: revision for facts in plan.tasks.values() for name, revision in facts.revisions.items()}
    data |= {facts.checkpoint: facts.revision for facts in plan.models.values()}
    return {name: revision for name, revision in data.items() if revision}
