"""Where a trial works, how trials meet the machines, and how an attempt at one ends: what run.py hands down to trial.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xfer_ray import notice
from xfer_ray.contract import Observe
from xfer_ray.results import Results


def _ignore(*told: object) -> None:
    """Nobody listens; a function with a name, since a Desk travels."""


@dataclass(frozen=True)
class Desk:
    """Where a trial works: its results, this node's scratch folder, and the revisions that `run` resolved.

    `oracle` also scores the last step and, for each target, the one that the target's own dev set would choose. `versions` are
    those of the packages that plan the sweep; a worker with others refuses. `leave` is asked whether the trial is to end early.
    """

    results: Results
    scratch: Path
    revisions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    keep_models: bool = False
    oracle: bool = False
    checkpoint_seconds: float = 600.0
    stall_seconds: float = 3600.0
    versions: str = ""
    leave: Callable[[], bool] = notice.given
    alive: Callable[[], None] = _ignore
    observe: Observe = _ignore


@dataclass(frozen=True)
class Placement:
    """How trials meet the machines; None means: decide from what is there. `in_process` does without Ray."""

    address: str | None = None
    gpus_per_trial: float | None = None
    cpus_per_trial: int = 1
    max_concurrent: int | None = None
    max_failures: int = 2
    fail_fast: bool = False
    in_process: bool = False
    wandb: str | None = None  # a project of Weights & Biases that hears of each trial that ends


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, and why: `committed`, `same`, `conflict`, `done` (somebody was first), `failed`, `storage`, `interrupted`."""

    trial: str
    state: str
    reason: str = ""
