"""Taking over trials that another sweep of the same storage has committed: equal digests predict the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence

from xfer_ray.commit import commit
from xfer_ray.core import Score
from xfer_ray.errors import DataError
from xfer_ray.planfile import PlannedTrial
from xfer_ray.results import Prediction, Results, done, from_bytes, summed_up

ORACLE = ("last", "oracle")  # what `run --oracle` scores beside the source's own choice
_FIXED = [f.name for f in dataclasses.fields(Prediction) if f.name != "scores"]


def adopt(
    results: Results, planned: Sequence[PlannedTrial], metrics: Mapping[str, Collection[str]], *, oracle: bool = False
) -> list[PlannedTrial]:
    """Take over what another sweep of this storage committed under the same digest; returns the trials taken.

    `metrics` names, by task, what a trial must have been scored by, and `oracle` says whether the oracle's choices must be among
    the scores too. A damaged or partial result is left where it is.
    """
    selections = ORACLE if oracle else ()
    wanted = {trial.digest: trial for trial in planned}
    adopted = []
    for other in results.storage.folders():
        theirs = Results(results.storage, other)
        for name in sorted(done(theirs)) if other != results.sweep and wanted else ():
            trial = wanted.get(name.rpartition("-")[2])
            if trial is not None and _take_over(results, theirs, name, trial, {"metric": metrics[trial.task], "selection": selections}):
                adopted.append(wanted.pop(trial.digest))
    return adopted


def _take_over(results: Results, theirs: Results, name: str, trial: PlannedTrial, asked: Mapping[str, Collection[str]]) -> bool:
    paths = theirs.table("scores", name), theirs.table("predictions", name)
    try:
        files = [theirs.storage.read(path) for path in paths]
        summary, answered = (from_bytes(file, path) for file, path in zip(files, paths, strict=True))
    except (DataError, FileNotFoundError):
        return False
    if summed_up(summary) not in ("", hashlib.sha256(files[1]).hexdigest()):
        return False
    scores = summary.to_pylist()
    if not all(set(values) <= {row[column] for row in scores} for column, values in asked.items()):
        return False
    ours = {"sweep": results.sweep, "task": trial.task, "model": trial.model, "trial": trial.trial}
    answers = [
        Prediction(**{**{k: row[k] for k in _FIXED}, "trial": trial.trial}, scores={k: v for k, v in row.items() if k not in _FIXED})
        for row in answered.to_pylist()
    ]
    for target in {row["target"] for row in scores}:
        _copy_examples(theirs, scores[0]["task"], results, trial.task, target)
    commit(results, [Score(**{**row, **ours}) for row in scores], answers)
    return True


def _copy_examples(theirs: Results, their_task: str, results: Results, task: str, target: str) -> None:
    path, copy = theirs.table("examples", f"{their_task}.{target}"), results.table("examples", f"{task}.{target}")
    if theirs.storage.exists(path) and not results.storage.exists(copy):
        results.storage.create(copy, theirs.storage.read(path))
