"""One checkpoint from start to finish, as attempt.py has it for a trial: saved on the way, watched, and ended early when asked to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray import folders, notice, pretrained
from xfer_ray.attempt import attempted, heartbeat
from xfer_ray.desk import Desk, Outcome
from xfer_ray.keeping import Checkpoints
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results

if TYPE_CHECKING:
    from xfer_ray.models.pretraining import Point

Report = Callable[[int, int], None]
Watch = Callable[[Sequence["Point"]], None]


def name_of(pretraining: Pretraining) -> str:
    """What its log, its heartbeat and a record of its failure are called among those of the trials."""
    return f"pretraining-{pretraining.digest}"


def attempt(pretraining: Pretraining, desk: Desk, *, capture: bool = True) -> Outcome:
    """Make a checkpoint as attempt.py says."""
    name = name_of(pretraining)

    def work(desk: Desk) -> str:
        make(pretraining, desk, heartbeat(name, desk))
        return "done"

    return attempted(name, desk, work, capture=capture)


def make(pretraining: Pretraining, desk: Desk, report: Report, watch: Watch = lambda points: None) -> None:
    """Pre-train, from the newest checkpoint on, put the files, then the marker. Of two makers the first one to finish is kept.

    `report` hears of every step, `watch` of the losses. Raises notice.Interrupted after a checkpoint when `desk.leave` says so.
    Several workers of one process group call this together: they need a storage that all of them see, and the first of them
    writes and is asked whether to leave.
    """
    from xfer_ray.models import pretraining as maker

    storage, folder, leaving = desk.results.storage, pretrained.folder(pretraining), notice.Leaving(lambda: maker.shared(desk.leave))
    own = desk.scratch / f"pretraining-{maker.rank()}"
    own.mkdir(parents=True, exist_ok=True)
    keeper = Checkpoints(Results(storage, folder), "pretraining", own, seconds=desk.checkpoint_seconds, leaving=lambda: leaving.told)

    def step_taken(step: int, steps: int) -> None:
        report(step, steps)
        leaving.heed(step, steps)

    with tempfile.TemporaryDirectory(dir=own) as made:
        maker.make(pretraining, Path(made), maker.Hooks(step_taken, watch, keeper, desk.alive))
        if maker.rank() or pretrained.exists(storage, pretraining):
            return
        folders.put(storage, folder, Path(made))
    keeper.clear()
