"""Checkpoints that a sweep makes for itself: once per storage, before the trials that need them.

`<storage>/pretrained/<digest>/` holds what `from_pretrained` loads, whole or not at all (folders.py). While it is made, its
`checkpoints/pretraining/step-N/` hold where a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray import folders
from xfer_ray.keeping import Checkpoints
from xfer_ray.models import checkpoints
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results
from xfer_ray.storage import Storage

if TYPE_CHECKING:
    from xfer_ray.models.pretraining import Point


def exists(storage: Storage, pretraining: Pretraining) -> bool:
    """Whether this checkpoint has been made in this storage."""
    return folders.exists(storage, _folder(pretraining))


def make(
    storage: Storage,
    pretraining: Pretraining,
    scratch: Path,
    report: Callable[[int, int], None],
    *,
    watch: Callable[[Sequence[Point]], None] = lambda points: None,
    seconds: float = 600.0,
) -> None:
    """Pre-train, from the newest checkpoint on, put the files, then the marker. Of two makers the first one to finish is kept.

    `report` hears of every step, `watch` of the losses; a checkpoint is put every so many `seconds`. Several workers of one
    process group call this together: they need a storage that all of them see, and the first of them writes.
    """
    from xfer_ray.models import pretraining as maker

    own = scratch / f"pretraining-{maker.rank()}"
    own.mkdir(parents=True, exist_ok=True)
    keeper = Checkpoints(Results(storage, _folder(pretraining)), "pretraining", own, seconds=seconds)
    with tempfile.TemporaryDirectory(dir=own) as folder:
        maker.make(pretraining, Path(folder), maker.Hooks(report, watch, keeper))
        if maker.rank() or exists(storage, pretraining):
            return
        folders.put(storage, _folder(pretraining), Path(folder))
    keeper.clear()


def fetch(storage: Storage, pretraining: Pretraining, scratch: Path) -> Path:
    """A local folder with this checkpoint, copied once per node and verified against the marker."""
    path = _folder(pretraining)
    copy = scratch / "pretrained" / f"{pretraining.digest}-{revision(storage, pretraining)[:12]}"
    return checkpoints.made(copy, lambda fresh: folders.copy(storage, path, fresh))


def revision(storage: Storage, pretraining: Pretraining) -> str:
    """The first 40 hex digits of a sha256 over the marker: it names the very weights."""
    return hashlib.sha256(storage.read(f"{_folder(pretraining)}/{folders.MARKER}")).hexdigest()[:40]


def _folder(pretraining: Pretraining) -> str:
    return f"pretrained/{pretraining.digest}"
