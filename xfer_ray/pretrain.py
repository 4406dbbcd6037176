"""The command `pretrain`: make the checkpoints that a file declares, and show how each language learns."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from xfer_ray import making, notice, pretrained, run, sweepfile
from xfer_ray.desk import Desk, Placement
from xfer_ray.errors import DeclarationError, unknown
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results
from xfer_ray.storage import Storage, open_storage

if TYPE_CHECKING:
    from xfer_ray.models.pretraining import Point

SECONDS_BETWEEN_LINES = 10.0
SHOWN = 8  # languages in a line


@dataclass(frozen=True)
class Options:
    """Where checkpoints go, and how they are made: by how many workers, kept every so many seconds."""

    storage: str = "results"
    output: Path | None = None
    only: str | None = None
    workers: int = 1
    address: str | None = None
    seconds: float = 600.0


def pretrain(file: Path, options: Options) -> list[str]:
    """Make what the file declares and is missing; returns a line for each, saying where it lies."""
    declared, module = sweepfile.pretrainings(file)
    chosen = _chosen(declared, options)
    if options.output is not None:
        _demand_free(options.output)
    storage = open_storage(options.storage)
    storage.preflight()
    lines = []
    for name, pretraining in chosen.items():
        if pretrained.exists(storage, pretraining):
            print(f"{name}: made before", file=sys.stderr)
        else:
            _make(name, pretraining, storage, options, module)
        place = f"{storage.url}/pretrained/{pretraining.digest}"
        if options.output is not None:
            shutil.copytree(pretrained.fetch(storage, pretraining, run.scratch()), options.output, dirs_exist_ok=True)
            place = str(options.output)
        lines.append(f"{name}: {place}")
    return lines


def _demand_free(output: Path) -> None:
    """Refuse a folder for a checkpoint that would not hold it alone."""
    if output.is_symlink() and not output.exists():
        raise DeclarationError(f"--output {output} is a link that leads nowhere; give a folder that is empty or not there yet")
    if output.exists() and not output.is_dir():
        raise DeclarationError(f"--output {output} is a file; give a folder that is empty or not there yet")
    if output.is_dir() and any(output.iterdir()):
        raise DeclarationError(f"--output {output} is not empty; give a folder that is")


def _chosen(declared: dict[str, Pretraining], options: Options) -> dict[str, Pretraining]:
    if options.only is not None:
        if options.only not in declared:
            raise unknown("Pretraining", options.only, declared)
        return {options.only: declared[options.only]}
    if options.output is not None and len(declared) > 1:
        raise DeclarationError(f"--output is one folder, and the file declares {', '.join(declared)}; choose one with --only")
    return declared


def _make(name: str, pretraining: Pretraining, storage: Storage, options: Options, module: ModuleType) -> None:
    desk = Desk(Results(storage, "pretrained"), run.scratch(), checkpoint_seconds=options.seconds)
    if options.workers == 1:
        with notice.soft(_say):
            making.make(pretraining, desk, lambda step, steps: None, _Display(name, pretraining).points)
        return
    from xfer_ray.sweep import connecting  # imports Ray
    from xfer_ray.sweep import pretraining as training

    connecting.connect(Placement(options.address or os.environ.get("RAY_ADDRESS")), module)
    try:
        training.pretrain_together(pretraining, desk, options.workers, _say)
    finally:
        connecting.disconnect()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Display:
    """Lines on stderr: step, tokens a second, and the loss of each language."""

    def __init__(self, name: str, pretraining: Pretraining) -> None:
        self._name, self._steps = name, pretraining.total_steps
        self._row = pretraining.batch_size * pretraining.max_length
        self._last: tuple[int, float] | None = None

    def points(self, points: Sequence[Point]) -> None:
        """Show new points, not more often than a person reads."""
        step, now = points[0].step if points else 0, time.monotonic()
        if self._last is not None and now - self._last[1] < SECONDS_BETWEEN_LINES and step < self._steps:
            return
        before, since = self._last or (step, now)
        speed = f" {(step - before) * self._row / (now - since):,.0f} tokens/s" if step > before else ""
        self._last = step, now
        worst = sorted(points, key=lambda point: -point.loss)
        losses = " ".join(f"{point.language} {point.loss:.2f}" for point in worst[:SHOWN])
        more = f" and {len(worst) - SHOWN} below" if len(worst) > SHOWN else ""
        print(f"{self._name}: step {step}/{self._steps}{speed}; loss {losses}{more}", file=sys.stderr, flush=True)
