"""How a trial becomes done: predictions first, then scores, created only if absent and read back.

So a trial is executed at least once and visible exactly once. A process that dies in between leaves predictions that count
for nothing and that the next attempt replaces. Scores name the predictions that they sum up, so that of two executions at the
same time each puts back what belongs to the scores, if it knows it; else `check` says that they do not belong together.
"""

from __future__ import annotations

import hashlib
import logging
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from xfer_ray.core import Score
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
    scores_table,
    summed_up,
    to_bytes,
)
from xfer_ray.sources import Examples

log = logging.getLogger(__name__)

CPU_TOLERANCE, GPU_TOLERANCE = 1e-6, 0.005  # two executions of one trial agree within these
Commit = Literal["committed", "same", "conflict"]


def commit(results: Results, scores: Sequence[Score], predictions: Sequence[Prediction]) -> Commit:
    """Make a trial's results visible, once: `same` if an equal result was there first, `conflict` if another one was."""
    trial = scores[0].trial
    before = _predictions(results, trial)
    if is_done(results, trial):  # never touch the predictions that belong to committed scores
        return _compare(results, scores)
    mine = put_predictions(results, trial, predictions)
    ending = put_scores(results, scores, _sha256(mine))
    _settle(results, trial, (mine, before), _sha256(mine) if ending == "committed" else _named(results, trial))
    return ending


def put_predictions(results: Results, trial: str, predictions: Sequence[Prediction]) -> bytes:
    """The first half of a commit: nothing counts yet. Returns the bytes of the file."""
    data = to_bytes(predictions_table(predictions))
    results.storage.replace(results.table("predictions", trial), data)
    return data


def put_scores(results: Results, scores: Sequence[Score], predictions: str = "") -> Commit:
    """The second half: from now on the trial is done. `predictions` is the sha256 of the file that the scores sum up, if there is one."""
    data = to_bytes(scores_table(scores, predictions))
    path = results.table("scores", scores[0].trial)
    if not results.storage.create(path, data):
        return _compare(results, scores)
    if results.storage.read(path) != data:
        raise StorageError(f"{results.storage.url}/{path} does not read back as it was written; check the disk, or the bucket")
    return "committed"


def _settle(results: Results, trial: str, known: Sequence[bytes], named: str) -> None:
    """Put back the predictions `named` by the committed scores, if another execution has put its own since, and if they are `known`."""
    if _sha256(_predictions(results, trial)) == named:
        return
    for data in known:
        if _sha256(data) == named:
            results.storage.replace(results.table("predictions", trial), data)
            return
    log.warning("the predictions of %s are those of another execution than its scores; `xfer-ray check --repair` has it done again", trial)


def _named(results: Results, trial: str) -> str:
    """The sha256 of the predictions that the committed scores sum up."""
    path = results.table("scores", trial)
    return summed_up(from_bytes(results.storage.read(path), path))


def _predictions(results: Results, trial: str) -> bytes:
    """The predictions file of a trial as it stands, empty if there is none."""
    try:
        return results.storage.read(results.table("predictions", trial))
    except FileNotFoundError:
        return b""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
