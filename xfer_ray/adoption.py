"""Taking over trials that another sweep of the same storage has committed: equal digests predict the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from xfer_ray.core import Score
from xfer_ray.results import PlannedTrial, Prediction, Results, commit, done, from_bytes


def adopt(results: Results, planned: Sequence[PlannedTrial], metrics: Mapping[str, Collection[str]]) -> list[PlannedTrial]:
    """Take over what another sweep of this storage committed under the same digest; returns the trials taken.

    `metrics` names, by task, what a trial must have been scored by.
    """
    wanted = {trial.digest: trial for trial in planned}
    adopted = []
    for other in results.storage.folders():
        theirs = Results(results.storage, other)
        for name in sorted(done(theirs)) if other != results.sweep and wanted else ():
            trial = wanted.get(name.rpartition("-")[2])
            if trial is not None and _take_over(results, theirs, name, trial, metrics[trial.task]):
                adopted.append(wanted.pop(trial.digest))
    return adopted


def _take_over(results: Results, theirs: Results, name: str, trial: PlannedTrial, metrics: Collection[str]) -> bool:
    scores = from_bytes(theirs.storage.read(theirs.table("scores", name)), theirs.table("scores", name)).to_pylist()
    if {row["metric"] for row in scores} < set(metrics):
        return False
    ours = {"sweep": results.sweep, "task": trial.task, "model": trial.model, "trial": trial.trial}
    renamed = [Score(**{**row, **ours}) for row in scores]
    path = theirs.table("predictions", name)
    predictions = from_bytes(theirs.storage.read(path), path).to_pylist()
    fixed = [f.name for f in dataclasses.fields(Prediction) if f.name != "scores"]
    commit(
        results,
        renamed,
        [
            Prediction(**{k: p[k] for k in fixed} | {"trial": trial.trial}, scores={k: v for k, v in p.items() if k not in fixed})
            for p in predictions
        ],
    )
    return True
