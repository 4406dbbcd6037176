"""The checkpoints of a trial that is not done: where it goes on when it is run again, and among which it chooses."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import socket
import tempfile
import time
import weakref
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
        self._seconds, self._keep_all = seconds, keep_all
        self._parent = scratch / "checkpoints" / socket.gethostname()  # in a shared cache locks may not reach other nodes
        self._scratch: _Scratch | None = None
        self._leaving, self._last = leaving, time.monotonic()

    def due(self) -> bool:
        """Whether so many seconds have passed since the last one, or the trial is about to leave."""
        return self._leaving() or time.monotonic() - self._last >= self._seconds

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Put what `write` leaves in a folder."""
        with tempfile.TemporaryDirectory(dir=self._here()) as folder:
            write(Path(folder))
            folders.put(self._storage, self._at(step), Path(folder))
        self._last = time.monotonic()

    def latest(self) -> int | None:
        """The newest step up to which every checkpoint is complete and undamaged: the choice may fall on any of them."""
        newest = None
        for step in sorted(self._steps()):
            try:
                self.fetch(step)
            except LookupError:
                break
            newest = step
        if newest is not None:
            log.info("going on from step %d", newest)
        return newest

    def fetch(self, step: int) -> Path:
        """A copy of a checkpoint, the only one that this attempt has at a time.

        LookupError where it is damaged or gone: then it and those after it are given up, so that an attempt makes them again.
        """
        for copy in self._here().glob("step-*"):
            shutil.rmtree(copy)
        folder = self._here() / f"step-{step}"
        folder.mkdir()
        try:
            folders.copy(self._storage, self._at(step), folder)
        except (DataError, FileNotFoundError) as error:
            log.warning("%s; an earlier checkpoint, or none, is gone on from", error)
            self._give_up(step)
            raise LookupError(f"the checkpoint of step {step} was damaged or gone; the next attempt makes it again") from error
        return folder

    def prune(self, needed: Collection[int]) -> None:
        """Remove the checkpoints of other steps."""
        for step in [] if self._keep_all else self._steps() - set(needed):
            folders.delete(self._storage, self._at(step))

    def clear(self) -> None:
        """Remove them all: the trial is done."""
        for name in self._storage.sizes(self._path):
            self._storage.delete(f"{self._path}/{name}")
        if self._scratch:
            self._scratch.remove()
            self._scratch = None

    def _here(self) -> Path:
        if self._scratch is None or not self._scratch.path.is_dir():  # whoever empties a cache does no harm
            self._scratch = _Scratch(self._parent)
        return self._scratch.path

    def _give_up(self, step: int) -> None:
        """Remove this checkpoint and those that a run made after it; the newest first, so that half of this leaves a shorter run."""
        for later in sorted(self._steps() | {step}, reverse=True):
            if later >= step:
                folders.delete(self._storage, self._at(later))

    def _steps(self) -> set[int]:
        found = (re.fullmatch(rf"step-(\d+)/{folders.MARKER}", name) for name in self._storage.sizes(self._path))
        return {int(match[1]) for match in found if match}

    def _at(self, step: int) -> str:
        return f"{self._path}/step-{step}"


def clear_done(results: Results, done: Collection[str]) -> None:
    """Remove the checkpoints of trials that are done, which one leaves that is killed between its commit and its end."""
    folder = results.folder("checkpoints")
    for name in results.storage.sizes(folder):
        if name.split("/")[0] in done:
            results.storage.delete(f"{folder}/{name}")


class _Scratch:
    """A folder that one attempt alone uses, gone when it ends; those of killed processes are removed when the next one is made."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        with (parent / "lock").open("w") as turn:  # nobody sees a new folder before its own lock is held
            with contextlib.suppress(OSError):  # a file system without locks, where nothing is taken for left either
                fcntl.flock(turn, fcntl.LOCK_EX)
            for folder in parent.glob("*/"):
                left = _lock(folder / "lock")
                if left is not None:
                    _remove(folder, left)
            self.path = Path(tempfile.mkdtemp(dir=parent))
            self.remove = weakref.finalize(self, _remove, self.path, _lock(self.path / "lock"))


def _lock(file: Path) -> int | None:
    """Hold a file until its handle is closed or this process ends; None where another process holds it."""
    handle = None
    try:
        handle = os.open(file, os.O_CREAT | os.O_WRONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle


def _remove(folder: Path, lock: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)
