"""What a running sweep tells Prometheus, through Ray's metrics: they arrive there as `ray_xfer_ray_<name>`.

The driver counts trials (`Board`), each worker what its trial does (`watched`). A metric that fails harms no trial. What is known by
trial is gone once the trial ends: a gauge that is not a number is not passed on. docs/monitoring.md lists them all.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.util import metrics

from xfer_ray.contract import Kind, Observe
from xfer_ray.core import Trial

SECONDS = 1.0  # how often a worker passes on what it has counted
BUCKETS = [1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0]  # of a trial's duration, in seconds
STATES = ("done", "failed", "running", "waiting")
_BY_MODEL = ("sweep", "task", "model")
_BY_TRIAL = (*_BY_MODEL, "trial", "actor")
_COUNTED: dict[Kind, tuple[str, str]] = {
    "training_examples": ("xfer_ray_examples", "training"),
    "training_tokens": ("xfer_ray_tokens", "training"),
    "evaluation_examples": ("xfer_ray_examples", "evaluation"),
    "evaluation_tokens": ("xfer_ray_tokens", "evaluation"),
}
_SHOWN: dict[Kind, str] = {
    "progress": "xfer_ray_trial_progress",
    "source_dev_score": "xfer_ray_trial_source_dev_score",
    "gpu_memory": "xfer_ray_trial_gpu_memory_bytes",
    "gpu_memory_peak": "xfer_ray_trial_gpu_memory_peak_bytes",
}
log = logging.getLogger(__name__)


@functools.cache
def _gauge(name: str, says: str, labels: tuple[str, ...]) -> Any:
    return metrics.Gauge(name, says, tag_keys=labels)


@functools.cache
def _counter(name: str, says: str, labels: tuple[str, ...]) -> Any:
    return metrics.Counter(name, says, tag_keys=labels)


@functools.cache
def _seconds() -> Any:
    return metrics.Histogram("xfer_ray_trial_seconds", "how long a committed trial took", boundaries=BUCKETS, tag_keys=_BY_MODEL)


def _harmless(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:
        log.debug("a metric could not be told", exc_info=True)


# ------------------------------------------------------------------------------ the driver


class Board:
    """How many trials of a sweep are in each state, and what happened to them: a listener of `Progress`."""

    def __init__(self, sweep: str, trials: Sequence[Trial], *, done: int) -> None:
        """`trials` are those to run; `done` counts those that were committed before."""
        self._labels = {t.id: {"sweep": sweep, "task": t.task.name, "model": t.model.name} for t in trials}
        self._sweep, self._done, self._failed = sweep, done, 0
        self._waiting, self._since = set(self._labels), dict[str, float]()
        _harmless(self._show)

    def __call__(self, trial: str, state: str) -> None:
        """A trial was `started`, `retried` or `interrupted`, or ended as its outcome says."""
        _harmless(lambda: self._hear(trial, state))

    def _hear(self, trial: str, state: str) -> None:
        seconds = time.monotonic() - self._since.pop(trial, math.inf)
        self._waiting.discard(trial)
        if state == "started":
            self._since[trial] = time.monotonic()
        elif state in ("retried", "interrupted"):
            self._waiting.add(trial)
            name = "xfer_ray_retries" if state == "retried" else "xfer_ray_interruptions"
            _counter(name, "attempts that did not end", _BY_MODEL).inc(tags=self._labels[trial])
        else:
            self._ended(trial, state, seconds)
        self._show()

    def _ended(self, trial: str, state: str, seconds: float) -> None:
        self._failed += state in ("failed", "storage")
        self._done += state not in ("failed", "storage")
        ended = _counter("xfer_ray_trials_ended", "trials that ended, by outcome", (*_BY_MODEL, "state"))
        ended.inc(tags=self._labels[trial] | {"state": state})
        if state in ("committed", "same", "conflict") and seconds >= 0:
            _seconds().observe(seconds, tags=self._labels[trial])

    def _show(self) -> None:
        gauge = _gauge("xfer_ray_trials", "trials of the sweep by state", ("sweep", "state"))
        for state, count in zip(STATES, (self._done, self._failed, len(self._since), len(self._waiting)), strict=True):
            gauge.set(count, tags={"sweep": self._sweep, "state": state})


# ------------------------------------------------------------------------------ a worker


@contextlib.contextmanager
def watched(trial: Trial, sweep: str) -> Iterator[Observe]:
    """Gives what a trial calls with what it observes. Within the block `ps` and the dashboard call the process by the trial."""
    if _actor():
        _harmless(lambda: ray._raylet.setproctitle(f"ray::TrialRunner {trial.id}"))
    meter = _Meter({"sweep": sweep, "task": trial.task.name, "model": trial.model.name}, trial.id)
    try:
        yield lambda kind, value: _harmless(lambda: meter.observe(kind, value))
    finally:
        _harmless(meter.close)


def _actor() -> str:
    """This worker as Ray's dashboard knows it; empty where there is none."""
    return str(ray.get_runtime_context().get_actor_id() or "") if ray.is_initialized() else ""


class _Meter:
    """Adds up what one trial counts and passes it on about once a second; shows what it measures until it ends."""

    def __init__(self, by_model: dict[str, str], trial: str) -> None:
        self._by_model = by_model
        self._by_trial = by_model | {"trial": trial, "actor": _actor()}
        self._counted: dict[Kind, float] = {}
        self._measured: dict[Kind, float] = {}
        self._shown: set[Kind] = set()  # a trial of less than a second shows nothing, so that many of them leave nothing behind
        self._last = time.monotonic()

    def observe(self, kind: Kind, value: float) -> None:
        """Count, or measure anew."""
        if kind in _COUNTED:
            self._counted[kind] = self._counted.get(kind, 0.0) + value
        else:
            self._measured[kind] = value
        if time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            self._count()
            for each, measured in self._measured.items():
                self._show(each, measured)

    def close(self) -> None:
        """Pass on the rest of what was counted, and show nothing any longer."""
        self._count()
        for kind in self._shown:
            self._show(kind, math.nan)

    def _count(self) -> None:
        for kind, value in self._counted.items():
            name, phase = _COUNTED[kind]
            if value > 0:
                _counter(name, "what models have read", (*_BY_MODEL, "phase")).inc(value, tags=self._by_model | {"phase": phase})
        self._counted.clear()

    def _show(self, kind: Kind, value: float) -> None:
        _gauge(_SHOWN[kind], "of a running trial", _BY_TRIAL).set(value, tags=self._by_trial)
        if not math.isnan(value):
            self._shown.add(kind)
