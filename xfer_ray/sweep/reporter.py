"""What became of each trial: Tune's events, told to the display and kept for the end of the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import ray
from ray import tune

from xfer_ray import records
from xfer_ray.core import Trial
from xfer_ray.desk import Desk
from xfer_ray.progress import Progress
from xfer_ray.results import Results

IDLE_SECONDS = 15.0  # how long nothing may run before that is said


@dataclass
class Endings:
    """What went wrong: failed trials with their reasons, and what the storage said if it failed."""

    failed: dict[str, str] = field(default_factory=dict)
    storage: str = ""


class Reporter(tune.Callback):  # type: ignore[misc]
    """Passes Tune's events on to the display. It must not raise: Tune would mark a good trial as failed."""

    def __init__(self, trials: Sequence[Trial], desk: Desk, progress: Progress, endings: Endings, share: dict[str, float]) -> None:
        """`share` is the smallest that a trial asks for."""
        self._trials, self._desk, self._progress, self._endings, self._share = trials, desk, progress, endings, share
        self._idle_since, self._patience = time.monotonic(), IDLE_SECONDS
        self._counted = _attempts(desk.results, [trial.id for trial in trials])  # failed ones that need no telling any more

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks with its state; the display has no place there."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune looks around: say so where nothing runs and nothing can, because the nodes are gone."""
        _guarded(lambda: self._look(any(trial.status == "RUNNING" for trial in trials)))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker took a trial."""
        _guarded(lambda: self._progress.started(self._id(trial)))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """A trial ended, or failed in a way that trying again cannot help."""
        _guarded(lambda: self._finished(result["trial"], result["state"], result["reason"]))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker died, raised or left, and Tune will try again."""
        _guarded(lambda: self._recover(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """All attempts failed."""
        _guarded(lambda: self._finished(self._id(trial), "failed", self._reason(trial)))

    def _id(self, trial: Any) -> str:
        index: int = trial.config["index"]
        return self._trials[index].id

    def _look(self, running: bool) -> None:
        now = time.monotonic()
        if running:
            self._idle_since, self._patience = now, IDLE_SECONDS
        elif now - self._idle_since > self._patience:
            self._progress.say(f"no trial has run for {now - self._idle_since:.0f} s: {_shortage(self._share)}")
            self._patience *= 2  # a new machine takes minutes

    def _recover(self, trial: Any) -> None:
        error = _error_of(trial)
        if isinstance(error, ray.exceptions.RayActorError) and error.preempted:
            self._progress.retried(self._id(trial), getattr(error, "cause", error).error_msg.splitlines()[0], interrupted=True)
        else:
            self._progress.retried(self._id(trial), self._reason(trial))

    def _finished(self, trial: str, state: str, reason: str) -> None:
        if state == "failed":
            self._endings.failed[trial] = reason
        if state == "storage":
            self._endings.storage = reason
        self._progress.finished(trial, state, reason)

    def _reason(self, trial: Any) -> str:
        """What the attempt itself recorded, else what Ray knows of a worker that died, which is recorded here."""
        error, name = _error_of(trial), self._id(trial)
        recorded, counted = records.read_failure(self._desk.results, name), self._counted.get(name, 0)
        if recorded and recorded.attempts > counted:
            self._counted[name] = recorded.attempts
            return recorded.error
        lines = str(error or "").strip().splitlines() or ["no reason known"]
        reason = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else f"the worker died: {lines[0]}"
        records.put_failure(self._desk.results, name, reason, str(error), "")
        self._counted[name] = (recorded.attempts if recorded else 0) + 1
        records.clear_running(self._desk.results, name)
        return reason


def _attempts(results: Results, trials: Sequence[str]) -> dict[str, int]:
    """How many attempts at each of some trials earlier runs have recorded as failed."""
    failed = sorted(records.failed(results).intersection(trials))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda trial: records.read_failure(results, trial), failed))
    return {trial: record.attempts for trial, record in zip(failed, found, strict=True) if record}


def _shortage(share: dict[str, float]) -> str:
    """Why no trial runs, as far as the cluster can tell."""
    there = ray.cluster_resources()
    if any(there.get(kind, 0.0) < part for kind, part in share.items()):
        needs = " and ".join(f"{part:g} {kind}" for kind, part in share.items())
        return f"no node is there with {needs}; waiting for one"
    return "workers are starting, or the nodes are busy with other work; waiting"


def _error_of(trial: Any) -> Exception | None:
    """The exception that ended the last attempt, which Tune leaves pickled in its scratch folder."""
    file = trial.pickled_error_file
    if not file or not Path(file).exists():
        return None
    return cast(Exception, ray.cloudpickle.loads(Path(file).read_bytes()))


def _guarded(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:
        logging.getLogger(__name__).exception("the display failed; the trial did not")
