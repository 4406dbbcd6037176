"""Checkpoints on Ray: as tasks beside each other, or one by several workers through Ray Train."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from xfer_ray import pretrained, records
from xfer_ray.errors import DeclarationError, SetupError, StorageError
from xfer_ray.progress import Progress
from xfer_ray.recipe import Pretraining
from xfer_ray.storage import Storage
from xfer_ray.trial import Desk, Placement


def pretrain(made: Sequence[Pretraining], desk: Desk, placement: Placement, progress: Progress) -> dict[str, str]:
    """Make the checkpoints that the trials need, as many at once as there is room for, each with the CPUs of one trial.

    Returns those that could not be made, by digest, with the reason.
    """
    task = ray.remote(num_cpus=placement.cpus_per_trial, max_retries=placement.max_failures)(_pretrain)
    names = {one.digest: f"pretraining-{one.digest}" for one in made}
    waiting = {task.remote(one, desk, names[one.digest]): one.digest for one in made}
    started, broken = time.monotonic(), {}
    while waiting:
        ended, _ = ray.wait(list(waiting), timeout=1.0)
        for future in ended:
            digest = waiting.pop(future)
            reason = _outcome(future)
            if reason:
                broken[digest] = reason
            records.clear_running(desk.results, names[digest])
        beats = {digest: records.read_running(desk.results, names[digest]) for digest in waiting.values()}
        steps = [f"{digest} step {beat.step}/{beat.steps}" for digest, beat in beats.items() if beat]
        progress.note(f"pre-training {', '.join(steps or waiting.values())}: {time.monotonic() - started:.0f} s")
    progress.note("")
    return broken


def _outcome(future: Any) -> str:
    """Why a checkpoint could not be made, or ""; a failing storage is raised."""
    try:
        ray.get(future)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StorageError):
            raise error.cause from error
        return f"{type(error.cause).__name__}: {error.cause}"
    except ray.exceptions.RayError as error:
        return f"the worker died: {str(error).strip().splitlines()[0]}"
    return ""


def _pretrain(pretraining: Pretraining, desk: Desk, name: str) -> None:
    last = 0.0

    def report(step: int, steps: int) -> None:
        nonlocal last
        if time.monotonic() - last > 1:
            last = time.monotonic()
            records.put_running(desk.results, name, os.uname().nodename, step, steps)

    pretrained.make(desk.results.storage, pretraining, desk.scratch, report)


def pretrain_together(pretraining: Pretraining, storage: Storage, scratch: Path, workers: int, *, seconds: float) -> None:
    """Pre-train with several workers through Ray Train, on GPUs where there are any; they need one storage that all see.

    Whatever their number, they learn from the same batches, each from its part of the rows. A worker that dies is tried again,
    from the newest checkpoint on.
    """
    from ray import train
    from ray.train.torch import TorchTrainer

    gpus = ray.cluster_resources().get("GPU", 0)
    has = ray.cluster_resources().get("GPU" if gpus else "CPU", 0)
    if workers > has:
        raise DeclarationError(
            f"--workers {workers} is more than the {has:g} {'GPU' if gpus else 'CPU'}s of this cluster; give at most that"
        )
    with tempfile.TemporaryDirectory(prefix="xfer-ray-train-") as own:
        trainer = TorchTrainer(
            _pretrain_together,
            train_loop_config={"pretraining": pretraining, "storage": storage, "scratch": scratch, "seconds": seconds},
            scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=bool(gpus)),
            run_config=train.RunConfig(name="pretrain", storage_path=own, failure_config=train.FailureConfig(max_failures=2)),
        )
        try:
            trainer.fit()
        except Exception as error:
            raise SetupError(f"pre-training {pretraining.digest} failed on {workers} workers: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    """What the worker raised, without its traceback."""
    failures = getattr(error, "worker_failures", {})
    cause: object = next(iter(failures.values()), error)
    return str(cause).strip().splitlines()[-1] if str(cause).strip() else type(cause).__name__


def _pretrain_together(config: dict[str, Any]) -> None:
    """What each worker does."""
    pretrained.make(
        config["storage"], config["pretraining"], config["scratch"], lambda step, steps: None, watch=_say, seconds=config["seconds"]
    )


def _say(points: Sequence[Any]) -> None:
    logging.getLogger("xfer_ray").info("; ".join(f"step {point.step} {point.language} {point.loss:.3f}" for point in points))
