"""Another metric from stored predictions: no model, no GPU.

    predictions/<trial>, examples/<task>.<target>, scores/<trial>  ->  rescored/<metric>/<trial>, in the columns of scores

A row says what the row of the trial's first metric says, but for metric, metric_version, score and n.
"""

from __future__ import annotations

import collections
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xfer_ray import metrics
from xfer_ray.core import Score
from xfer_ray.errors import DataError, unknown
from xfer_ray.results import Results, done, flat_table, from_bytes, schema_of, stems, to_bytes
from xfer_ray.sources import Corpus

Row = dict[str, typing.Any]
Answers = Mapping[str, tuple[str, ...]]  # by the id of the example
Cell = tuple[str, str]  # target, selection


@dataclass(frozen=True)
class Rescored:
    """How many trials were rescored, how many had been; a sentence for each target without a value, and for each trial that failed."""

    written: int
    current: int
    undefined: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass
class _Desk:
    """What one pass over the trials shares: texts are read once per task and target."""

    results: Results
    metric: str
    answers: dict[str, Answers]
    undefined: dict[str, None]


def rescore(results: Results, metric: str, *, task: str | None = None) -> Rescored:
    """Put the metric's rows of every committed trial, or of those of one task, where they are not up to date.

    A trial whose files are missing or damaged is named in `faults`, and the others go on.

    Raises:
        DeclarationError: no such metric or task.
        DataError: no trial is committed.
    """
    metrics.version(metric)
    trials = _of_task(results, task)
    desk = _Desk(results, metric, {}, {})
    there = stems(results, f"rescored/{metric}", ".parquet")
    counts, faults = {True: 0, False: 0}, []
    for trial in trials:
        try:
            counts[_rescore(desk, trial, is_there=trial in there)] += 1
        except DataError as error:
            faults.append(f"{trial} is not rescored: {error}")
    return Rescored(counts[True], counts[False], tuple(desk.undefined), tuple(faults))


def _of_task(results: Results, task: str | None) -> list[str]:
    """The committed trials of a task, or of all; the name of a trial begins with its task's."""
    committed = sorted(done(results))
    if not committed:
        raise DataError(f"no trial of {results.url} is committed, so there are no predictions to rescore; `xfer-ray run` makes them")
    tasks = list(dict.fromkeys(trial.partition(".")[0] for trial in committed))
    if task is not None and task not in tasks:
        raise unknown("task with committed trials", task, tasks)
    return [trial for trial in committed if task in (None, trial.partition(".")[0])]


def _rescore(desk: _Desk, trial: str, *, is_there: bool) -> bool:
    """Whether the rows of this trial had to be computed; they are then put."""
    rows = _of_first_metric(desk.results, trial)
    defined = [row for row in rows if metrics.is_defined(desk.metric, _language(row))]
    for row in rows:
        if row not in defined:
            note = f"{desk.metric} has no value for target {row['target']} of task {row['task']}: it is not defined for {_language(row)!r}"
            desk.undefined[note] = None
    if is_there and _is_current(desk, trial, defined):
        return False
    predictions = _predictions(desk.results, trial) if defined else {}
    scores = [_score(desk, row, predictions.get((row["target"], row["selection"]), [])) for row in defined]
    desk.results.storage.replace(desk.results.rescored(desk.metric, trial), to_bytes(flat_table(Score, scores)))
    return True


def _language(row: Row) -> str:
    return Corpus.parse(row["target"]).language


def _of_first_metric(results: Results, trial: str) -> list[Row]:
    """The rows of a trial's scores that its first metric has, one for each target and selection."""
    path = results.table("scores", trial)
    rows = _rows(results, path, schema_of(Score).names)
    if not rows:
        raise DataError(f"{path} holds no scores")
    return [row for row in rows if row["metric"] == rows[0]["metric"]]


def _is_current(desk: _Desk, trial: str, rows: Sequence[Row]) -> bool:
    """Whether the file that is there was made by this version of the metric from the scores that are there now."""
    try:
        found = _rows(desk.results, desk.results.rescored(desk.metric, trial), schema_of(Score).names)
    except DataError:  # damaged, so it is made again
        return False
    changed = {"metric": desk.metric, "metric_version": metrics.version(desk.metric), "score": 0.0}
    return [{**row, **changed} for row in rows] == [{**row, "score": 0.0} for row in found]


def _predictions(results: Results, trial: str) -> dict[Cell, list[Row]]:
    found: dict[Cell, list[Row]] = collections.defaultdict(list)
    for row in _rows(results, results.table("predictions", trial), ("target", "selection", "example", "prediction")):
        found[row["target"], row["selection"]].append(row)
    return found


def _score(desk: _Desk, row: Row, predictions: Sequence[Row]) -> Score:
    """The mean of the metric over one target's predictions by one selection."""
    if len(predictions) != row["n"]:
        raise DataError(
            f"its predictions hold {len(predictions)} answers on {row['target']} by selection {row['selection']}, and its scores sum up "
            f"{row['n']}; `xfer-ray check` says more"
        )
    path = desk.results.table("examples", f"{row['task']}.{row['target']}")
    if path not in desk.answers:
        desk.answers[path] = _answers(desk.results, path)
    answers, function, language = desk.answers[path], metrics.metric(desk.metric), _language(row)
    strangers = [p["example"] for p in predictions if p["example"] not in answers]
    if strangers:
        raise DataError(f"{path} lacks {len(strangers)} of the examples that it predicted, {strangers[0]} among them")
    values = [function(p["prediction"], answers[p["example"]], language) for p in predictions]
    changed = {"metric": desk.metric, "metric_version": metrics.version(desk.metric), "score": sum(values) / len(values), "n": len(values)}
    return Score(**{**row, **changed})


def _answers(results: Results, path: str) -> Answers:
    try:
        return {row["id"]: tuple(json.loads(row["answers"])) for row in _rows(results, path, ("id", "answers"))}
    except (ValueError, TypeError) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path} holds answers that are not lists of texts: {error}") from error


def _rows(results: Results, path: str, columns: Sequence[str]) -> list[Row]:
    """The rows of a file that has these columns, perhaps among others."""
    try:
        table = from_bytes(results.storage.read(path), path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing") from error
    missing = [name for name in columns if name not in table.schema.names]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}")
    rows: list[Row] = table.select(list(columns)).to_pylist()
    return rows
