"""A folder on a file system.

A file is written under `.staging`, flushed to the disk, and then linked (`create`, which fails where the name is taken) or
renamed (`replace`). A process that is killed leaves at most a file in `.staging`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from xfer_ray.errors import DataError, StorageError

_STAGING = ".staging"


@dataclass(frozen=True)
class Folder:
    """A place for files on a disk; a `Place`."""

    url: str
    needs: str = "give a folder on a file system that has hard links"

    def create(self, path: str, data: bytes) -> bool:
        """By a hard link."""
        with self._staged(path, f"{len(data)} bytes", lambda file: file.write_bytes(data), durable=True) as staged:
            try:
                obstore.copy(_store(self.url), staged, path, overwrite=False)
            except AlreadyExistsError:
                return self.read(path) == data
            _flush(Path(self.url, path).parent)
            return True

    def replace(self, path: str, data: bytes, *, durable: bool) -> None:
        """By a rename."""
        self._replace(path, f"{len(data)} bytes", lambda file: file.write_bytes(data), durable=durable)

    def put_file(self, path: str, file: Path) -> None:
        """By a copy and a rename."""
        self._replace(path, f"{file.stat().st_size} bytes", lambda staged: shutil.copyfile(file, staged), durable=True)

    def get_file(self, path: str, file: Path) -> None:
        """By a copy."""
        with self._explained("copy", path):
            shutil.copyfile(Path(self.url, path), file)

    def read(self, path: str) -> bytes:
        """All at once."""
        with self._explained("read", path):
            if not self._is_there():
                raise FileNotFoundError(f"{self.url}/{path}")
            return obstore.get(_store(self.url), path).bytes().to_bytes()

    def exists(self, path: str) -> bool:
        """False also where the folder itself is not there, which looking must not make; DataError where no file can be."""
        file = Path(self.url, path)
        with self._explained("look for", path):
            if os.path.lexists(file) and not file.is_file():
                what = "a folder" if file.is_dir() else "a link that leads nowhere"
                raise DataError(f"{file} is {what} where a file should be; `xfer-ray check --repair` moves it away")
            try:
                return self._is_there() and bool(obstore.head(_store(self.url), path))
            except FileNotFoundError:
                return False

    def sizes(self, folder: str) -> dict[str, int]:
        """By a walk."""
        with self._explained("list", folder):
            if not self._is_there():
                return {}
            files = [file for chunk in obstore.list(_store(self.url), folder, chunk_size=1000) for file in chunk]
            return {file["path"].removeprefix(f"{folder}/"): file["size"] for file in files}

    def folders(self) -> list[str]:
        """By one look."""
        with self._explained("list", ""):
            return list(obstore.list_with_delimiter(_store(self.url))["common_prefixes"]) if self._is_there() else []

    def delete(self, path: str) -> None:
        """Nothing where the folder itself is not there."""
        with self._explained("delete", path), contextlib.suppress(FileNotFoundError):
            if self._is_there():
                obstore.delete(_store(self.url), path)

    def move(self, path: str, to: str) -> None:
        """By a rename, also of what is no file; beside a folder, or beside what a folder would replace."""
        source, target = Path(self.url, path), Path(self.url, to)
        with self._explained("move", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            while os.path.lexists(target) and (source.is_dir() or target.is_dir()):
                target = target.with_name(f"{target.name}~")
            source.rename(target)

    def _is_there(self) -> bool:
        return Path(self.url).is_dir()

    def _replace(self, path: str, what: str, write: Callable[[Path], object], *, durable: bool) -> None:
        with self._staged(path, what, write, durable=durable) as staged:
            obstore.rename(_store(self.url), staged, path)
            if durable:
                _flush(Path(self.url, path).parent)

    @contextlib.contextmanager
    def _staged(self, path: str, what: str, write: Callable[[Path], object], *, durable: bool) -> Iterator[str]:
        """Write a file under a name of its own; what is left of it afterwards is removed."""
        staged = f"{_STAGING}/{uuid.uuid4().hex}"
        with self._explained(f"write {what} to", path):
            Path(self.url, _STAGING).mkdir(parents=True, exist_ok=True)
            try:
                write(Path(self.url, staged))
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
