"""Tokenized corpora that nodes hand on to each other: `<storage>/tokens/<key>/`, where the storage is a bucket and no local disk.

A copy that is absent, damaged or out of reach costs the time to make it again, and nothing else.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray import folders
from xfer_ray.errors import DataError, StorageError
from xfer_ray.storage import Storage

if TYPE_CHECKING:
    from xfer_ray.models.tokens import Made, Write

log = logging.getLogger(__name__)


def made(storage: Storage) -> Made:
    """How a trial gets a tokenized corpus that this node does not have: from the storage, else it is made and put there."""
    from xfer_ray.models.tokens import once

    return once if storage.is_local else functools.partial(_handed_on, storage)


def _handed_on(storage: Storage, folder: Path, write: Write) -> Path:
    from xfer_ray.models.tokens import once

    path, here = f"tokens/{folder.name}", []

    def fill(fresh: Path) -> None:
        if not _fetched(storage, path, fresh):
            write(fresh)
            here.append(path)

    once(folder, fill)
    if here:
        try:
            folders.put(storage, path, folder)
        except StorageError as error:
            log.warning("other nodes will have to tokenize this corpus: %s", error)
    return folder


def _fetched(storage: Storage, path: str, fresh: Path) -> bool:
    """Whether a whole copy was there; what came of one that is not whole is written over."""
    try:
        if not folders.exists(storage, path):
            return False
        folders.copy(storage, path, fresh)
        return True
    except (DataError, FileNotFoundError, StorageError) as error:
        log.warning("this corpus is tokenized again: %s", error)
        return False
