"""Bytes in and out: a folder today, with the calls that an object store has too.

A file appears whole or not at all: it is written under `.staging`, flushed to the disk, and then linked (`create`, which
fails where the name is taken) or renamed (`replace`). A process that is killed leaves at most a file in `.staging`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from xfer_ray.errors import SetupError, StorageError, demand

_STAGING = ".staging"


@dataclass(frozen=True)
class Storage:
    """A place for files, named by paths with forward slashes relative to `url`."""

    url: str

    def create(self, path: str, data: bytes) -> bool:
        """Put a file where none is; False, and nothing changed, where one is already."""
        with self._staged(path, data, durable=True) as staged:
            try:
                obstore.copy(_store(self.url), staged, path, overwrite=False)
            except AlreadyExistsError:
                return False
            _flush(Path(self.url, path).parent)
            return True

    def replace(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Put a file whether or not one is there; `durable=False` does not wait for the disk."""
        with self._staged(path, data, durable=durable) as staged:
            obstore.rename(_store(self.url), staged, path)
            if durable:
                _flush(Path(self.url, path).parent)

    def read(self, path: str) -> bytes:
        """The whole content of a file; FileNotFoundError where there is none."""
        with self._explained("read", path):
            if not self._is_there():
                raise FileNotFoundError(f"{self.url}/{path}")
            return obstore.get(_store(self.url), path).bytes().to_bytes()

    def exists(self, path: str) -> bool:
        """Whether a file of this name is there."""
        with self._explained("look for", path):
            try:
                return self._is_there() and bool(obstore.head(_store(self.url), path))
            except FileNotFoundError:
                return False

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of all files under a folder, by their names relative to it."""
        with self._explained("list", folder):
            if not self._is_there():
                return {}
            files = [file for chunk in obstore.list(_store(self.url), folder, chunk_size=1000) for file in chunk]
            return {file["path"].removeprefix(f"{folder}/"): file["size"] for file in files}

    def folders(self) -> list[str]:
        """The folders at the top of the storage, sorted, hidden ones left out."""
        with self._explained("list", ""):
            found = obstore.list_with_delimiter(_store(self.url))["common_prefixes"] if self._is_there() else []
            return sorted(name for name in found if not name.startswith("."))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        with self._explained("delete", path), contextlib.suppress(FileNotFoundError):
            obstore.delete(_store(self.url), path)

    def move(self, path: str, to: str) -> None:
        """Give a file another path."""
        with self._explained("move", path):
            obstore.rename(_store(self.url), path, to)

    def preflight(self) -> None:
        """Prove, before anything expensive starts, that files can be created once, read and removed here."""
        probe = f"{_STAGING}/probe-{uuid.uuid4().hex}"
        try:
            sound = self.create(probe, b"probe") and not self.create(probe, b"again") and self.read(probe) == b"probe"
        finally:
            if self._is_there():
                self.delete(probe)
        if not sound:
            raise StorageError(f"storage {self.url} let a file be created twice; give a folder on a file system that has hard links")

    def _is_there(self) -> bool:
        return Path(self.url).is_dir()

    @contextlib.contextmanager
    def _staged(self, path: str, data: bytes, *, durable: bool) -> Iterator[str]:
        """Write the bytes under a name of their own; what is left of it afterwards is removed."""
        staged = f"{_STAGING}/{uuid.uuid4().hex}"
        with self._explained(f"write {len(data)} bytes to", path):
            Path(self.url, _STAGING).mkdir(parents=True, exist_ok=True)
            try:
                obstore.put(_store(self.url), staged, data)
                if durable:
                    _flush(Path(self.url, staged))
                yield staged
            finally:
                Path(self.url, staged).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not verb.startswith("write"):
                raise  # the caller may expect it
            raise StorageError(f"cannot {verb} {self.url}/{path}: no such folder can be made; choose another one") from error
        except (BaseError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error).split("\n")[0].rpartition(": ")[2]
            raise StorageError(f"cannot {verb} {self.url}/{path}: {reason}; mend that, or choose another folder") from error


def open_storage(url: str) -> Storage:
    """The storage at a local folder, which need not exist yet."""
    demand(bool(url.strip()), "storage '' is not a folder; give one, such as 'results'")
    scheme, mark, _ = url.partition("://")
    if mark and scheme in ("s3", "gs", "az"):
        raise SetupError(f"storage {url!r}: object stores are not supported by this version; give a local folder")
    demand(not mark, f"storage {url!r} has the unknown scheme {scheme!r}; give a local folder")
    return Storage(str(Path(url).expanduser().absolute()))


@functools.cache
def _store(url: str) -> LocalStore:
    return LocalStore(url)


def _flush(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
