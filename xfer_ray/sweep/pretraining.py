"""Checkpoints on Ray: as tasks beside each other, or one by several workers through Ray Train."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray

from xfer_ray import making, notice, records
from xfer_ray.desk import Desk, Outcome, Placement
from xfer_ray.errors import DeclarationError, SetupError, StorageError
from xfer_ray.progress import Progress
from xfer_ray.recipe import Pretraining
from xfer_ray.sweep import bell


def pretrain(made: Sequence[Pretraining], desk: Desk, placement: Placement, progress: Progress) -> dict[str, str]:
    """Make the checkpoints that the trials need, as many at once as there is room for, each with the CPUs of one trial.

    A worker that dies, raises or stalls is tried again as one of a trial is, and so is one that was told to leave, which is
    nobody's failure. Returns those that could not be made, by digest, with the reason. Signals act as they do on trials.
    """
    stop, started, broken = bell.hang(), time.monotonic(), dict[str, str]()
    task = ray.remote(num_cpus=placement.cpus_per_trial, max_retries=0, max_calls=1)(_pretrain)
    waiting = {task.remote(one, desk, stop): (one, _failures(one, desk), 0) for one in made}
    with notice.soft(progress.say, stop.ring.remote):
        while waiting:
            progress.note(_steps([one for one, *_ in waiting.values()], desk, time.monotonic() - started))
            for future in ray.wait(list(waiting), timeout=1.0)[0]:
                one, recorded, lost = waiting.pop(future)
                outcome = _outcome(future, one, desk, recorded)
                lost += outcome.state == "lost"
                if outcome.state == "storage":
                    raise StorageError(outcome.reason)
                if outcome.state == "failed" or lost > placement.max_failures:
                    broken[one.digest] = outcome.reason
                elif outcome.state != "done" and not notice.given():
                    progress.say(f"again    {outcome.trial}: {outcome.reason}")
                    waiting[task.remote(one, desk, stop)] = one, _failures(one, desk), lost
    progress.note("")
    return broken


def _steps(made: Sequence[Pretraining], desk: Desk, seconds: float) -> str:
    """Where the checkpoints in the making are, in one line."""
    beats = {one.digest: records.read_running(desk.results, making.name_of(one)) for one in made}
    steps = [f"{digest} step {beat.step}/{beat.steps}" for digest, beat in beats.items() if beat]
    return f"pre-training {', '.join(steps or beats)}: {seconds:.0f} s"


def _failures(pretraining: Pretraining, desk: Desk) -> int:
    """How many attempts are recorded as failed, those of earlier runs too."""
    record = records.read_failure(desk.results, making.name_of(pretraining))
    return record.attempts if record else 0


def _outcome(future: Any, pretraining: Pretraining, desk: Desk, recorded: int) -> Outcome:
    """How an attempt ended; `lost` where its worker raised, stalled or died: what it recorded itself, beyond so many, says why."""
    name = making.name_of(pretraining)
    try:
        ended: Outcome = ray.get(future)
        return ended
    except ray.exceptions.RayError as error:
        if _failures(pretraining, desk) <= recorded:
            lines = str(error).strip().splitlines()
            reason = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else f"the worker died: {lines[0]}"
            records.put_failure(desk.results, name, reason, str(error), "")
        records.clear_running(desk.results, name)
        record = records.read_failure(desk.results, name)
        return Outcome(name, "lost", record.error if record else str(error))


def _pretrain(pretraining: Pretraining, desk: Desk, stop: Any) -> Outcome:
    """What a worker does; after it, its process ends. `stop` is a bell."""
    stopping = bell.Listener(stop)
    with notice.heeded():
        try:
            if not stopping():
                return making.attempt(pretraining, dataclasses.replace(desk, leave=lambda: notice.given() or stopping()))
        except notice.Interrupted as told:
            return Outcome(making.name_of(pretraining), "interrupted", str(told))
    return Outcome(making.name_of(pretraining), "interrupted")


def pretrain_together(pretraining: Pretraining, desk: Desk, workers: int, say: Callable[[str], None]) -> None:
    """Pre-train with several workers through Ray Train, on GPUs where there are any; they need one storage that all see.

    Whatever their number, they learn from the same batches, each from its part of the rows. A worker that dies is tried again,
    from the newest checkpoint on. At a signal all of them leave at the same step.
    """
    from ray import train
    from ray.train.torch import TorchTrainer

    gpus = ray.cluster_resources().get("GPU", 0)
    has = ray.cluster_resources().get("GPU" if gpus else "CPU", 0)
    if workers > has:
        raise DeclarationError(
            f"--workers {workers} is more than the {has:g} {'GPU' if gpus else 'CPU'}s of this cluster; give at most that"
        )
    stop = bell.hang()
    with notice.soft(say, stop.ring.remote), tempfile.TemporaryDirectory(prefix="xfer-ray-train-") as own:
        trainer = TorchTrainer(
            _pretrain_together,
            train_loop_config={"pretraining": pretraining, "desk": desk, "stop": stop},
            scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=bool(gpus)),
            run_config=train.RunConfig(name="pretrain", storage_path=own, failure_config=train.FailureConfig(max_failures=2)),
        )
        try:
            ThreadPoolExecutor(1).submit(trainer.fit).result()  # in the main thread Ray Train takes signals for itself
        except Exception as error:
            raise SetupError(f"pre-training {pretraining.digest} failed on {workers} workers: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    """What the worker raised, without its traceback."""
    failures = getattr(error, "worker_failures", {})
    cause: object = next(iter(failures.values()), error)
    return str(cause).strip().splitlines()[-1] if str(cause).strip() else type(cause).__name__


def _pretrain_together(config: dict[str, Any]) -> None:
    """What each worker does."""
    desk = dataclasses.replace(config["desk"], leave=bell.Listener(config["stop"]))
    with contextlib.suppress(notice.Interrupted):
        making.make(config["pretraining"], desk, lambda step, steps: None, _say)


def _say(points: Sequence[Any]) -> None:
    logging.getLogger("xfer_ray").info("; ".join(f"step {point.step} {point.language} {point.loss:.3f}" for point in points))
