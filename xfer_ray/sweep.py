"""Trials on Ray: Tune places them, keeps workers warm and retries; what is done, our own files say.

Tune's folder is scratch. Nothing here reads it back, and nothing here decides what a score is.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # five files a trial that nobody reads
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: see run.py
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # its state is never read back
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths of a sweep file keep their meaning
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # we say it in one line
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.tune.search import Searcher

from xfer_ray import pretrained, records
from xfer_ray.core import Trial
from xfer_ray.errors import DeclarationError, SetupError, StorageError
from xfer_ray.progress import Progress
from xfer_ray.recipe import Pretraining
from xfer_ray.storage import Storage
from xfer_ray.trial import Desk, Placement, attempt

TRIALS_PER_TUNER = 1000  # Tune rewrites its state at every snapshot; a thousand trials keep it small
FORWARDED = ("XFER_RAY_MIRROR", "XFER_RAY_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT")  # paths and switches, never a token


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


# ------------------------------------------------------------------------------ connecting


def connect(placement: Placement, module: ModuleType) -> None:
    """Start Ray on this machine, or join the cluster at `--address` or RAY_ADDRESS."""
    ray.cloudpickle.register_pickle_by_value(module)  # what a sweep file declares of its own travels with its trials
    address = placement.address or os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": worker_environment(placement, module)},
        )
    except Exception as error:
        raise SetupError(f"Ray at {address} cannot be used: {str(error).strip().splitlines()[0]}") from error
    signal.signal(signal.SIGTERM, ours)  # Ray takes it for a crash
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say, Reporter says


def _knock(address: str) -> None:
    """Refuse a dead address within seconds: Ray itself would go on trying for minutes."""
    host, mark, port = address.rpartition("://")[2].rpartition(":")
    if not mark or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise SetupError(
            f"Ray at {address} does not answer: {error}; give the address that `ray start` printed, or none for this machine"
        ) from error


def worker_environment(placement: Placement, module: ModuleType) -> dict[str, str]:
    """What workers need to know of this process's environment: paths and switches, no secrets."""
    forwarded = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    folder = str(Path(module.__file__ or "").resolve().parent)
    path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", ""))))
    return {
        **forwarded,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(placement.cpus_per_trial),
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # read by CUDA before it starts; deterministic matrix products
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }


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


# ------------------------------------------------------------------------------ running


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


def disconnect() -> None:
    """Leave the cluster, or end the Ray that `connect` started and every worker with it."""
    ray.shutdown()
