"""Scores of somebody else's program: a CSV or Parquet table in, the files of a sweep out, so that `tables` shows them.

Everything is validated before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from xfer_ray.commit import put_scores
from xfer_ray.compact import read_scores
from xfer_ray.core import LONGEST_NAME, Score, Task, demand_sweep_name
from xfer_ray.errors import DataError
from xfer_ray.identity import Json, digest
from xfer_ray.importing.table import Row, rows_of
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial, TaskFacts, facts_of, has_plan, read_plan, write_plan
from xfer_ray.results import Results, done
from xfer_ray.storage import Storage

IMPORTED = "imported"  # the family of a model that did not run here
Trials = dict[PlannedTrial, tuple[Row, ...]]


def import_scores(
    file: Path, storage: Storage, *, name: str, percent: bool, known: Callable[[str], Task | None], note: Callable[[str], None] = print
) -> Results:
    """Take the scores of a table into the sweep `name`; `known` gives the task of a name, if this package has it.

    The same rows again change nothing; other rows for a trial that is there are a DataError. `note` hears what looks like a mistake.
    """
    trials = dict(map(_trial, _runs(rows_of(file, percent, note)).values()))
    demand_sweep_name(name)
    results = Results(storage, name)
    _unplanned(file, results, _plan_so_far(results), trials)  # refuses before anything is written
    now = datetime.now(UTC)
    for planned, mine in trials.items():
        put_scores(results, [_score(name, planned, row, now) for row in mine])
    _plan_all(file, results, trials, known)
    return results


def _plan_all(file: Path, results: Results, mine: Trials, known: Callable[[str], Task | None]) -> None:
    """Plan every trial that has scores.

    Another import at the same time may replace the plan by one without these. As each puts its scores first, and looks for what is
    not planned after it has written, the last one to write has seen the scores of all.
    """
    before = _plan_so_far(results)
    while new := _unplanned(file, results, before, mine):
        write_plan(results, _merged(before, new, known))
        before = _plan_so_far(results)


def _plan_so_far(results: Results) -> Plan:
    return read_plan(results) if has_plan(results) else Plan(results.sweep, (), {}, {})


def _runs(rows: Sequence[Row]) -> dict[tuple[str, str, str, int], list[Row]]:
    runs: dict[tuple[str, str, str, int], list[Row]] = {}
    for row in rows:
        runs.setdefault(row.run, []).append(row)
    return runs


def _trial(rows: Sequence[Row]) -> tuple[PlannedTrial, tuple[Row, ...]]:
    """A run as a trial whose digest is a sha256 of its rows, in whatever order they stand."""
    task, model, source, seed = rows[0].run
    spelled = sorted([*map(str, (*row.run, row.target, row.split, row.metric, row.n)), repr(row.score)] for row in rows)
    identity = digest([list[Json](row) for row in spelled])
    trial = f"{quote(task, safe='')}.{quote(model, safe='')}.{source}.s{seed}-{identity}"
    if len(trial) > LONGEST_NAME:
        raise DataError(f"task {task!r}, model {model!r} and source {source} make a file name of {len(trial)} characters; shorten them")
    return PlannedTrial(trial, task, model, source, seed, identity), tuple(rows)


def _unplanned(file: Path, results: Results, before: Plan, mine: Trials) -> Trials:
    """What a plan lacks: trials of this import, and of others whose scores are there; refused where another one gives other scores."""
    native = [name for name, facts in before.models.items() if facts.family != IMPORTED]
    if native:
        raise DataError(f"sweep {before.sweep} was run here, with model {native[0]}, and not imported; give another name with --name")
    others = _stored(results, done(results) - {trial.trial for trial in (*before.trials, *mine)})
    there = {_run_of(trial): trial for trial in (*others, *before.trials)}
    for new in mine:
        if there.get(_run_of(new), new).digest != new.digest:
            raise DataError(
                f"{file} gives other scores for task {new.task}, model {new.model}, source {new.source}, seed {new.seed} than sweep "
                f"{before.sweep} has from another import; give another name with --name, or delete the sweep to import it again"
            )
    adopted = {trial: rows for trial, rows in others.items() if there[_run_of(trial)] == trial}
    return {trial: rows for trial, rows in {**mine, **adopted}.items() if trial not in before.trials}


def _run_of(trial: PlannedTrial) -> tuple[str, str, str, int]:
    return trial.task, trial.model, trial.source, trial.seed


def _stored(results: Results, trials: Collection[str]) -> Trials:
    """The trials of imports among some that have scores, with their rows: those whose name is the digest of these rows."""
    found: Trials = {}
    for name, scores in read_scores(results, sorted(trials)).groupby("trial", sort=False) if trials else ():
        rows = [Row(*row) for row in scores[[field.name for field in fields(Row)]].itertuples(index=False, name=None)]
        planned, mine = _trial(rows)
        found |= {planned: mine} if planned.trial == name else {}
    return found


def _score(sweep: str, planned: PlannedTrial, row: Row, now: datetime) -> Score:
    return Score(
        sweep=sweep,
        task=row.task,
        model=row.model,
        source=row.source,
        target=row.target,
        split=row.split,
        metric=row.metric,
        seed=row.seed,
        score=row.score,
        n=row.n,
        trial=planned.trial,
        digest=planned.digest,
        started=now,
        finished=now,
    )


def _merged(before: Plan, trials: Trials, known: Callable[[str], Task | None]) -> Plan:
    """A plan with more trials."""
    rows = [row for mine in trials.values() for row in mine]
    tasks = {name: _facts(before.tasks.get(name), [row for row in rows if row.task == name], known(name)) for name in _unique(rows, "task")}
    models = {name: ModelFacts(IMPORTED, "", None) for name in _unique(rows, "model")}
    return Plan(
        before.sweep,
        (*before.trials, *trials),
        {**before.tasks, **tasks},
        {**before.models, **models},
    )


def _facts(before: TaskFacts | None, rows: Sequence[Row], known: Task | None) -> TaskFacts:
    """What the tables must know of a task.

    A task of the package gives order, groups and normalization if it has every target of the file; otherwise the file is
    of other data under that name, and its own order and all targets serve.
    """
    targets = tuple(dict.fromkeys((*(before.targets if before else ()), *_unique(rows, "target"))))
    metrics = tuple(dict.fromkeys((*(before.metrics if before else ()), *_unique(rows, "metric"))))
    splits = _unique(rows, "split")
    split = before.eval_split if before else known.eval_split if known and known.eval_split in splits else splits[0]
    if known and set(targets) <= set(map(str, known.targets)):
        first = tuple(metric for metric in known.metrics if metric in metrics)
        ordered = tuple(dict.fromkeys((*first, *metrics)))
        return replace(facts_of(known, {}), metrics=ordered, eval_split=split)
    return TaskFacts(
        targets=targets,
        groups={"All": targets},
        metrics=metrics,
        eval_split=split,
        normalized=None,
        baseline=None,
        denominators=(),
        parallel=False,
        licence="",
        citation="",
        revisions={},
    )


def _unique(rows: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(row, column)) for row in rows))
