"""Folders of files in a storage that are there whole or not at all.

`complete.json` is put last, names each file with its sha256, and is what makes the folder exist: without it, it is half of one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from xfer_ray.errors import DataError
from xfer_ray.storage import Storage

MARKER = "complete.json"


def put(storage: Storage, path: str, folder: Path) -> None:
    """Put the files of a local folder, then the marker."""
    marker = {}
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        marker[file.name] = _sha256(file)
        storage.put_file(f"{path}/{file.name}", file)
    storage.replace(f"{path}/{MARKER}", json.dumps(marker, indent=1, sort_keys=True).encode())


def exists(storage: Storage, path: str) -> bool:
    """Whether a folder is complete."""
    return storage.exists(f"{path}/{MARKER}")


def copy(storage: Storage, path: str, into: Path) -> None:
    """Copy a complete folder to a local one, each file held against its sha256; DataError names one that is damaged."""
    for name, sha256 in _marked(storage, path).items():
        storage.get_file(f"{path}/{name}", into / name)
        if _sha256(into / name) != sha256:
            where = f"{storage.url}/{path}"
            raise DataError(f"{where}/{name} is damaged: its sha256 is not the one in {MARKER}; delete {where} to make it again")


def _marked(storage: Storage, path: str) -> dict[str, str]:
    try:
        found = json.loads(storage.read(f"{path}/{MARKER}"))
        if isinstance(found, dict) and all(isinstance(sha256, str) for sha256 in found.values()):
            return found
    except ValueError:
        pass
    where = f"{storage.url}/{path}"
    raise DataError(f"{where}/{MARKER} is damaged: it is no JSON object of names and sha256; delete {where} to make it again")


def delete(storage: Storage, path: str) -> None:
    """Remove a folder, the marker first, so that what is left of it counts for nothing."""
    storage.delete(f"{path}/{MARKER}")
    for name in storage.sizes(path):
        storage.delete(f"{path}/{name}")


def _sha256(file: Path) -> str:
    """Of a file that may be larger than memory."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
