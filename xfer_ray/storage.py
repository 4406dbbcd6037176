"""Bytes in and out of the storage: whole, and created only if absent. The one place that knows what a storage is.

Paths are relative, with forward slashes. A write is seen whole or not at all: the store stages it and publishes it in
one step, so that a process that dies, or a disk that fills, leaves nothing that looks complete.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from xfer_ray.core import SetupError, StorageError

T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """A local folder that holds the results of all sweeps."""

    url: str

    @functools.cached_property
    def _store(self) -> LocalStore:
        return self._told("", lambda: LocalStore(self.url, mkdir=True))

    @property
    def is_there(self) -> bool:
        """Whether anything was ever written; looking into a storage does not make it."""
        return Path(self.url).is_dir()

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        """Travels to workers as its address; each opens it for itself."""
        return Storage, (self.url,)

    def create(self, path: str, data: bytes) -> bool:
        """Put a new file; False, and nothing changed, if there is one already."""

        def put() -> bool:
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

        return self._told(path, put)

    def replace(self, path: str, data: bytes) -> None:
        """Put a file in place of what may be there."""
        self._told(path, lambda: obstore.put(self._store, path, data))

    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError if there is none."""
        return self._told(path, lambda: obstore.get(self._store, path).bytes().to_bytes())

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

        def head() -> bool:
            if not self.is_there:
                return False
            try:
                obstore.head(self._store, path)
            except FileNotFoundError:
                return False
            return True

        return self._told(path, head)

    def sizes(self, folder: str) -> dict[str, int]:
        """The files directly in a folder, by name, with their size in bytes; empty if there is no such folder."""
        if not self.is_there:
            return {}
        listed = self._told(folder, lambda: obstore.list_with_delimiter(self._store, folder)["objects"])
        return dict(sorted((entry["path"].rpartition("/")[2], entry["size"]) for entry in listed))

    def folders(self, folder: str = "") -> list[str]:
        """The folders directly in a folder, by name."""
        if not self.is_there:
            return []
        found = self._told(folder, lambda: obstore.list_with_delimiter(self._store, folder or None)["common_prefixes"])
        return sorted(prefix.rpartition("/")[2] for prefix in found)

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""

        def remove() -> None:
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError:
                return

        self._told(path, remove)

    def move(self, path: str, to: str) -> None:
        """Rename a file, over what may be there."""
        self._told(path, lambda: obstore.rename(self._store, path, to))

    def preflight(self) -> None:
        """Write, create-if-absent and delete a probe, so that an unfit storage is refused before any GPU work."""
        probe = f".probe-{uuid.uuid4().hex}"
        fit = self.create(probe, b"probe") and not self.create(probe, b"other") and self.read(probe) == b"probe"
        self.delete(probe)
        if not fit:
            raise StorageError(f"{self.url} does not create files only if absent, which the commit of results needs; use another storage")

    def _told(self, path: str, action: Callable[[], T]) -> T:
        """Do it; what the system refuses becomes one sentence with the path."""
        try:
            return action()
        except FileNotFoundError:
            if path:
                raise
            raise StorageError(f"storage {self.url} cannot be made: no such folder") from None
        except (BaseError, OSError) as error:
            where = f"{self.url}/{path}".rstrip("/")
            said = str(error).strip().splitlines()[0].rpartition(": ")[2]
            raise StorageError(f"storage cannot be used at {where}: {said}; free space or choose another folder with --storage") from error


def open_storage(url: str) -> Storage:
    """The storage at a local folder, which is made when it is first written."""
    scheme, mark, _ = url.partition("://")
    if mark:
        raise SetupError(f"storage {url!r} is at {scheme}://, which this version does not support; give a local folder")
    return Storage(str(Path(url).expanduser().absolute()))
