"""Trials on Ray Tune: it places them, keeps workers warm and retries."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import ray
from ray import tune
from ray.tune.search import Searcher

from xfer_ray import records
from xfer_ray.core import Trial
from xfer_ray.errors import DeclarationError, StorageError
from xfer_ray.progress import Progress
from xfer_ray.trial import Desk, Placement, attempt

TRIALS_PER_TUNER = 1000  # Tune rewrites its state at every snapshot; a thousand trials keep it small


@dataclass
class Endings:
    """What went wrong: failed trials with their reasons, and what the storage said if it failed."""

    failed: dict[str, str] = field(default_factory=dict)
    storage: str = ""


class TrialRunner(tune.Trainable):  # type: ignore[misc]
    """A warm worker: one trial a step, then the next one, with everything it imported and loaded still there."""

    def setup(self, config: dict[str, Any], *, trials: Sequence[Trial], desk: Desk) -> None:
        """Receive the list of trials once; each configuration is an index into it."""
        self._trials, self._desk = trials, desk
        self._index: int = config["index"]

    def step(self) -> dict[str, Any]:
        """Run the whole trial."""
        return {**asdict(attempt(self._trials[self._index], self._desk)), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial without a new process."""
        self._index = new_config["index"]
        return True


class TrialList(Searcher):  # type: ignore[misc]
    """Hands out the indices of a list in order; `grid_search` over a long list is quadratic."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count, self._next = count, 0

    def suggest(self, trial_id: str) -> Any:
        """The next index, or that the list has ended."""
        if self._next == self._count:
            return Searcher.FINISHED
        self._next += 1
        return {"index": self._next - 1}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: the list is fixed."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: a new run starts from the files of the sweep."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Stop(tune.Stopper):  # type: ignore[misc]
    """Ends the sweep early: at once when the storage fails, at the first failed trial if `fail_fast`."""

    def __init__(self, endings: Endings, fail_fast: bool) -> None:
        self._endings, self._fail_fast = endings, fail_fast

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A trial ends by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether to go no further."""
        return bool(self._endings.storage or (self._fail_fast and self._endings.failed))


class Reporter(tune.Callback):  # type: ignore[misc]
    """Passes Tune's events on to the display. It must not raise: Tune would mark a good trial as failed."""

    def __init__(self, trials: Sequence[Trial], desk: Desk, progress: Progress, endings: Endings) -> None:
        self._trials, self._desk, self._progress, self._endings = trials, desk, progress, endings

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks with its state; the display has no place there."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker took a trial."""
        _guarded(lambda: self._progress.started(self._id(trial)))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """A trial ended, or failed in a way that trying again cannot help."""
        _guarded(lambda: self._finished(result["trial"], result["state"], result["reason"]))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker died or raised, and Tune will try again."""
        _guarded(lambda: self._progress.retried(self._id(trial), self._reason(trial)))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """All attempts failed."""
        _guarded(lambda: self._finished(self._id(trial), "failed", self._reason(trial)))

    def _id(self, trial: Any) -> str:
        index: int = trial.config["index"]
        return self._trials[index].id

    def _finished(self, trial: str, state: str, reason: str) -> None:
        if state == "failed":
            self._endings.failed[trial] = reason
        if state == "storage":
            self._endings.storage = reason
        self._progress.finished(trial, state, reason)

    def _reason(self, trial: Any) -> str:
        """What the attempt itself recorded, else what Ray knows of a worker that died, which is recorded here."""
        error = _error_of(trial)
        if isinstance(error, ray.exceptions.RayTaskError):
            recorded = records.read_failure(self._desk.results, self._id(trial))
            return recorded.error if recorded else str(error)
        reason = "the worker died: " + (str(error) if error else "no reason known").strip().splitlines()[0]
        records.put_failure(self._desk.results, self._id(trial), reason, str(error), "")
        records.clear_running(self._desk.results, self._id(trial))
        return reason


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


# ------------------------------------------------------------------------------ running


def fit(trials: Sequence[Trial], desk: Desk, placement: Placement, progress: Progress) -> dict[str, str]:
    """Run the trials; returns those that failed, with the reason."""
    endings = Endings()
    if placement.gpus_per_trial is None and any(t.model.gpus for t in trials) and not ray.cluster_resources().get("GPU"):
        progress.say("no GPU here: trials run on CPUs")
    shares = {trial.model.name: resources(trial, placement) for trial in trials}
    stop = Stop(endings, placement.fail_fast)
    for first in range(0, len(trials), TRIALS_PER_TUNER):
        some = trials[first : first + TRIALS_PER_TUNER]
        _fit(some, [shares[t.model.name] for t in some], desk, placement, (Reporter(some, desk, progress, endings), stop))
        if stop.stop_all():
            break
    if endings.storage:
        raise StorageError(endings.storage)
    return endings.failed


def _fit(
    trials: Sequence[Trial], shares: Sequence[dict[str, float]], desk: Desk, placement: Placement, watching: tuple[Reporter, Stop]
) -> None:
    bundles = [tune.PlacementGroupFactory([share]) for share in shares]
    runner = tune.with_resources(
        tune.with_parameters(TrialRunner, trials=tuple(trials), desk=desk), lambda config: bundles[config["index"]]
    )
    reporter, stop = watching
    with tempfile.TemporaryDirectory(prefix="xfer-ray-tune-") as scratch:
        tune.Tuner(
            runner,
            tune_config=tune.TuneConfig(
                search_alg=TrialList(len(trials)),
                num_samples=len(trials),
                max_concurrent_trials=placement.max_concurrent or _slots(shares),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                callbacks=[reporter],
                stop=stop,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=placement.max_failures),
                verbose=0,
            ),
        ).fit()


def _slots(shares: Sequence[dict[str, float]]) -> int:
    """How many trials the live cluster can hold at once."""
    total = ray.cluster_resources()
    return max(1, int(max(min(total.get(kind, 0.0) / share for kind, share in each.items()) for each in shares)))


def resources(trial: Trial, placement: Placement) -> dict[str, float]:
    """CPUs and the fraction of a GPU for one trial; a trial that no live node can hold is refused here, not left waiting."""
    most = {kind: max((node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0) for kind in ("CPU", "GPU")}
    asked = placement.gpus_per_trial
    gpus = asked if asked is not None else (trial.model.gpus if most["GPU"] else 0.0)
    for kind, wanted, option in (("CPU", placement.cpus_per_trial, "--cpus-per-trial"), ("GPU", gpus, "--gpus-per-trial")):
        if wanted > most[kind]:
            raise DeclarationError(
                f"{option} {wanted:g} is more than any node has: the largest has {most[kind]:g} {kind}s; give at most that"
            )
    return {"CPU": placement.cpus_per_trial} | ({"GPU": gpus} if gpus else {})
