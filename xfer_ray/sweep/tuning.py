"""Trials on Ray Tune: it places them, keeps workers warm and retries."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from xfer_ray import notice
from xfer_ray.core import Trial
from xfer_ray.desk import Desk, Outcome, Placement
from xfer_ray.errors import StorageError
from xfer_ray.progress import Progress
from xfer_ray.sweep import bell, capacity, gauges, mended
from xfer_ray.sweep.reporter import Endings, Reporter
from xfer_ray.trial import attempt

TRIALS_PER_TUNER = 1000  # Tune rewrites its state at every snapshot; a thousand trials keep it small


class TrialRunner(tune.Trainable):  # type: ignore[misc]
    """A warm worker: one trial a step, then the next one, with everything it imported and loaded still there."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What a trial takes of its node."""
        return tune.PlacementGroupFactory([config["share"]])

    def setup(self, config: dict[str, Any], *, trials: Sequence[Trial], desk: Desk, stop: Any) -> None:
        """Receive the list of trials once; each configuration is an index into it. `stop` is a bell."""
        self._stopping = bell.Listener(stop)
        self._trials, self._desk = trials, dataclasses.replace(desk, leave=lambda: notice.given() or self._stopping())
        self._index: int = config["index"]

    def step(self) -> dict[str, Any]:
        """Run the whole trial; it ends early when the sweep stops, or with SIGTERM, and then this process ends too."""
        trial = self._trials[self._index]
        outcome = Outcome(trial.id, "interrupted")
        with notice.heeded(), gauges.watched(trial, self._desk.results.sweep) as observe:
            try:
                if not self._stopping():
                    outcome = attempt(trial, dataclasses.replace(self._desk, observe=observe))
            except notice.Interrupted as told:
                if not self._stopping():  # Tune starts it again elsewhere, and counts no failure, as for a machine that was taken back
                    raise ray.exceptions.RayActorError(error_msg=str(told), preempted=True) from told
        return {**asdict(outcome), "done": True}

    def __repr__(self) -> str:
        """What Ray's dashboard calls this worker: it asks once, so the trial is the first of those that it runs."""
        return f"{self._desk.results.sweep}: {self._trials[self._index].id} and on"

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial without a new process."""
        self._index = new_config["index"]
        return True


class TrialList(Searcher):  # type: ignore[misc]
    """Hands out the indices of a list in order, with the share of a node; `grid_search` over a long list is quadratic."""

    def __init__(self, shares: Sequence[dict[str, float]]) -> None:
        super().__init__()
        self._shares, self._next = shares, 0

    def __len__(self) -> int:
        """How many trials there are."""
        return len(self._shares)

    def suggest(self, trial_id: str) -> Any:
        """The next index, or that the list has ended, as it does where the sweep stops."""
        if self._next == len(self._shares) or notice.given():
            return Searcher.FINISHED
        self._next += 1
        return {"index": self._next - 1, "share": self._shares[self._next - 1]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: the list is fixed."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: a new run starts from the files of the sweep."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Stop(tune.Stopper):  # type: ignore[misc]
    """Ends the sweep early: when the storage fails, at the first failed trial if `fail_fast`."""

    def __init__(self, endings: Endings, fail_fast: bool) -> None:
        self._endings, self._fail_fast = endings, fail_fast

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its stopper with its state, which nobody reads."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A trial ends by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether to go no further."""
        return bool(self._endings.storage or (self._fail_fast and self._endings.failed))


# ------------------------------------------------------------------------------ running


def fit(trials: Sequence[Trial], desk: Desk, placement: Placement, progress: Progress) -> dict[str, str]:
    """Run the trials; returns those that failed, with the reason. A first signal stops softly, a second one at once."""
    mended.mend()
    endings, stop = Endings(), bell.hang()
    held = capacity.capacity()
    _say_where(trials, placement, held, progress)
    shares = {trial.model.name: capacity.share(trial, placement, held) for trial in trials}
    most = placement.max_concurrent or capacity.slots(shares.values(), held)
    stopper = Stop(endings, placement.fail_fast)
    progress.listen(gauges.Board(desk.results.sweep, trials, done=progress.done))
    with notice.soft(progress.say, stop.ring.remote), contextlib.redirect_stdout(sys.stderr):  # where Ray prints that a worker died
        for first in range(0, len(trials), TRIALS_PER_TUNER):
            some = trials[first : first + TRIALS_PER_TUNER]
            runner = tune.with_parameters(TrialRunner, trials=tuple(some), desk=desk, stop=stop)
            runner.__name__ = runner.__qualname__ = TrialRunner.__name__  # what `ps` and the dashboard show
            reporter = Reporter(some, desk, progress, endings, min(shares.values(), key=lambda share: sorted(share.items())))
            _fit(runner, TrialList([shares[t.model.name] for t in some]), placement, most, (reporter, stopper))
            gc.collect()  # a thousand trials of Tune hold each other; otherwise the next thousand comes on top of them
            if stopper.stop_all() or notice.given():
                break
    if endings.storage:
        raise StorageError(endings.storage)
    return endings.failed


def _say_where(trials: Sequence[Trial], placement: Placement, held: capacity.Capacity, progress: Progress) -> None:
    """Say what a user may not expect of where the trials will run."""
    if placement.gpus_per_trial is not None or not any(t.model.gpus for t in trials):
        return
    if not held.largest["GPU"]:
        progress.say("no GPU here: trials run on CPUs")
    elif held.startable and not ray.cluster_resources().get("GPU"):
        progress.say("no GPU yet: the first trials wait for the autoscaler to start a node, which takes minutes")


def _fit(runner: Any, order: TrialList, placement: Placement, most: int, watching: tuple[Reporter, Stop]) -> None:
    reporter, stopper = watching
    with tempfile.TemporaryDirectory(prefix="xfer-ray-tune-") as scratch:
        tune.Tuner(
            runner,
            tune_config=tune.TuneConfig(
                search_alg=order,
                num_samples=len(order),
                max_concurrent_trials=most,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                callbacks=[reporter],
                stop=stopper,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=placement.max_failures),
                verbose=0,
            ),
        ).fit()
