"""Checkpoints that a sweep makes for itself: once per storage, before the trials that need them.

`<storage>/pretrained/<digest>/` holds what `from_pretrained` loads, whole or not at all (folders.py). While it is made, its
`checkpoints/pretraining/step-N/` hold where a run that was killed goes on. making.py makes them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from xfer_ray import folders
from xfer_ray.models import checkpoints
from xfer_ray.recipe import Pretraining
from xfer_ray.storage import Storage


def exists(storage: Storage, pretraining: Pretraining) -> bool:
    """Whether this checkpoint has been made in this storage."""
    return folders.exists(storage, folder(pretraining))


def fetch(storage: Storage, pretraining: Pretraining, scratch: Path) -> Path:
    """A local folder with this checkpoint, copied once per node and verified against the marker."""
    path = folder(pretraining)
    copy = scratch / "pretrained" / f"{pretraining.digest}-{revision(storage, pretraining)[:12]}"
    return checkpoints.made(copy, lambda fresh: folders.copy(storage, path, fresh))


def revision(storage: Storage, pretraining: Pretraining) -> str:
    """The first 40 hex digits of a sha256 over the marker: it names the very weights."""
    return hashlib.sha256(storage.read(f"{folder(pretraining)}/{folders.MARKER}")).hexdigest()[:40]


def folder(pretraining: Pretraining) -> str:
    """Where it lies in a storage."""
    return f"pretrained/{pretraining.digest}"
