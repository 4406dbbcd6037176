"""The checkpoints of a trial that is not done: where it goes on when it is run again, and among which it chooses."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

from xfer_ray import folders
from xfer_ray.errors import DataError
from xfer_ray.results import Results

log = logging.getLogger(__name__)


class Checkpoints:
    """`RESULTS/checkpoints/<trial>/step-N/`; a `Keeper`. With `keep_all` no step is given up before the trial is done."""

    def __init__(
        self,
        results: Results,
        trial: str,
        scratch: Path,
        *,
        seconds: float,
        keep_all: bool = False,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._storage, self._path = results.storage, results.checkpoints(trial)
        self._scratch, self._seconds, self._keep_all = scratch / "checkpoints" / trial, seconds, keep_all
        self._leaving, self._last = leaving, time.monotonic()

    def due(self) -> bool:
        """Whether so many seconds have passed since the last one, or the trial is about to leave."""
        return self._leaving() or time.monotonic() - self._last >= self._seconds

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Put what `write` leaves in a folder."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            write(Path(folder))
            folders.put(self._storage, self._at(step), Path(folder))
        self._last = time.monotonic()

    def latest(self) -> int | None:
        """The newest step whose checkpoint is complete and undamaged; a damaged one is removed and said so in the log."""
        for step in sorted(self._steps(), reverse=True):
            try:
                self.fetch(step)
            except (DataError, FileNotFoundError) as error:
                log.warning("%s; an earlier checkpoint, or none, is gone on from", error)
                folders.delete(self._storage, self._at(step))
            else:
                log.info("going on from step %d", step)
                return step
        return None

    def fetch(self, step: int) -> Path:
        """A copy of a checkpoint, the only one on this node at a time."""
        self._forget()
        folder = self._scratch / f"step-{step}"
        folder.mkdir(parents=True)
        folders.copy(self._storage, self._at(step), folder)
        return folder

    def prune(self, needed: Collection[int]) -> None:
        """Remove the checkpoints of other steps."""
        for step in [] if self._keep_all else self._steps() - set(needed):
            folders.delete(self._storage, self._at(step))

    def clear(self) -> None:
        """Remove them all: the trial is done."""
        for name in self._storage.sizes(self._path):
            self._storage.delete(f"{self._path}/{name}")
        self._forget()

    def _steps(self) -> set[int]:
        found = (re.fullmatch(rf"step-(\d+)/{folders.MARKER}", name) for name in self._storage.sizes(self._path))
        return {int(match[1]) for match in found if match}

    def _at(self, step: int) -> str:
        return f"{self._path}/step-{step}"

    def _forget(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
