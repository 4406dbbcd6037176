"""Checkpoints that a sweep makes for itself: once per storage, before the trials that need them.

`<storage>/pretrained/<digest>/` holds what `from_pretrained` loads. `complete.json` is put last, names each file with
its sha256, and is what makes the checkpoint exist: a folder without it is half of one. While it is made, its
`checkpoints/pretraining/step-N/` hold where a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray.errors import DataError
from xfer_ray.keeping import Checkpoints
from xfer_ray.models import checkpoints
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results
from xfer_ray.storage import Storage

if TYPE_CHECKING:
    from xfer_ray.models.pretraining import Point

_MARKER = "complete.json"


def exists(storage: Storage, pretraining: Pretraining) -> bool:
    """Whether this checkpoint has been made in this storage."""
    return storage.exists(f"{_folder(pretraining)}/{_MARKER}")


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
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
    if maker.rank() or exists(storage, pretraining):
        return
    for name, data in files.items():
        storage.replace(f"{_folder(pretraining)}/{name}", data)
    marker = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    storage.create(f"{_folder(pretraining)}/{_MARKER}", json.dumps(marker, indent=1, sort_keys=True).encode())
    keeper.clear()


def fetch(storage: Storage, pretraining: Pretraining, scratch: Path) -> Path:
    """A local folder with this checkpoint, copied once per node and verified against the marker."""
    marker = storage.read(f"{_folder(pretraining)}/{_MARKER}")

    def write(copy: Path) -> None:
        for name, sha256 in json.loads(marker).items():
            data = storage.read(f"{_folder(pretraining)}/{name}")
            if hashlib.sha256(data).hexdigest() != sha256:
                where = f"{storage.url}/{_folder(pretraining)}"
                raise DataError(f"{where}/{name} is damaged: its sha256 is not the one in {_MARKER}; delete {where} to make it again")
            (copy / name).write_bytes(data)

    return checkpoints.made(scratch / "pretrained" / f"{pretraining.digest}-{_revision(marker)[:12]}", write)


def revision(storage: Storage, pretraining: Pretraining) -> str:
    """The first 40 hex digits of a sha256 over the marker: it names the very weights."""
    return _revision(storage.read(f"{_folder(pretraining)}/{_MARKER}"))


def _revision(marker: bytes) -> str:
    return hashlib.sha256(marker).hexdigest()[:40]


def _folder(pretraining: Pretraining) -> str:
    return f"pretrained/{pretraining.digest}"
