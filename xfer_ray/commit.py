"""How a trial becomes done: predictions first, then scores, created only if absent and read back.

So a trial is executed at least once and visible exactly once. A process that dies in between leaves predictions that count
for nothing and that the next attempt replaces.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from xfer_ray.core import Examples, Score
from xfer_ray.errors import StorageError
from xfer_ray.identity import Json
from xfer_ray.results import (
    Point,
    Prediction,
    Results,
    examples_table,
    flat_table,
    from_bytes,
    is_done,
    predictions_table,
    put_json,
    to_bytes,
)

CPU_TOLERANCE, GPU_TOLERANCE = 1e-6, 0.005  # two executions of one trial agree within these
Commit = Literal["committed", "same", "conflict"]


def commit(results: Results, scores: Sequence[Score], predictions: Sequence[Prediction]) -> Commit:
    """Make a trial's results visible, once: `same` if an equal result was there first, `conflict` if another one was."""
    trial = scores[0].trial
    if is_done(results, trial):  # never touch the predictions that belong to committed scores
        return _compare(results, scores)
    put_predictions(results, trial, predictions)
    return put_scores(results, scores)


def put_predictions(results: Results, trial: str, predictions: Sequence[Prediction]) -> None:
    """The first half of a commit: nothing counts yet."""
    results.storage.replace(results.table("predictions", trial), to_bytes(predictions_table(predictions)))


def put_scores(results: Results, scores: Sequence[Score]) -> Commit:
    """The second half: from now on the trial is done."""
    data = to_bytes(flat_table(Score, scores))
    path = results.table("scores", scores[0].trial)
    if not results.storage.create(path, data):
        return _compare(results, scores)
    if results.storage.read(path) != data:
        raise StorageError(f"{results.storage.url}/{path} does not read back as it was written; check the disk, or the bucket")
    return "committed"


def _compare(results: Results, scores: Sequence[Score]) -> Commit:
    """Hold a second result against the committed one; where they differ, leave a record and the first result."""
    trial = scores[0].trial
    path = results.table("scores", trial)
    first = {(r["target"], r["metric"], r["selection"]): r for r in from_bytes(results.storage.read(path), path).to_pylist()}
    second = {(s.target, s.metric, s.selection): s for s in scores}
    differing = [key for key in first.keys() | second.keys() if not _agree(first.get(key), second.get(key))]
    if not differing:
        return "same"
    shown: list[Json] = [
        {
            "target": key[0],
            "metric": key[1],
            "selection": key[2],
            "first": first[key]["score"] if key in first else None,
            "second": second[key].score if key in second else None,
        }
        for key in sorted(differing)
    ]
    put_json(results, results.record("conflicts", trial), {"trial": trial, "host": scores[0].host, "cells": shown})
    return "conflict"


def _agree(first: Mapping[str, typing.Any] | None, second: Score | None) -> bool:
    if first is None or second is None:
        return False
    tolerance = CPU_TOLERANCE if first["device"] == second.device == "cpu" else GPU_TOLERANCE
    return bool(abs(first["score"] - second.score) <= tolerance)


def put_curve(results: Results, trial: str, points: Sequence[Point]) -> None:
    """The learning curve of a trial, where it has one."""
    if points:
        results.storage.replace(results.table("curves", trial), to_bytes(flat_table(Point, points)))


def put_examples(results: Results, task: str, target: str, examples: Examples) -> None:
    """The texts and answers that were scored, once per task and target."""
    path = results.table("examples", f"{task}.{target}")
    if not results.storage.exists(path):
        results.storage.create(path, to_bytes(examples_table(examples)))


def put_model(results: Results, trial: str, folder: Path) -> None:
    """Keep a fine-tuned model: the files of a local folder."""
    for file in sorted(folder.iterdir()):
        results.storage.put_file(f"{results.model(trial)}/{file.name}", file)
