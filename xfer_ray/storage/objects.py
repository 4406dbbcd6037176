"""A bucket of an object store: objects are whole by nature, and `create` is a put with the condition that none is there.

The client tries again by itself where a store is busy or out of reach. So a `create` may meet an object that its own first
attempt has put, the answer to which was lost: the bytes decide whose it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from xfer_ray.errors import StorageError, XferRayError
from xfer_ray.storage import reasons
from xfer_ray.storage.clients import client, patience

if TYPE_CHECKING:
    from xfer_ray.storage.clients import Client

PIECE = 16 * 2**20  # bytes that a large file travels in; at most 10,000 of them on S3, so 156 GiB
AT_ONCE = 4  # pieces on their way, which bounds what is held in memory


def bucket(url: str, *, patient: bool) -> Bucket:
    """The bucket at a url that was checked; credentials or settings that cannot be used are refused."""
    try:
        return Bucket(url, client(url, patient=patient), patient)
    except (BaseError, ValueError) as error:
        if isinstance(error, XferRayError):
            raise
        reason = reasons.reason(error, url)
    raise StorageError(f"cannot open {url}: {reason}")


@dataclass(frozen=True)
class Bucket:
    """A place for files in a bucket; a `Place`."""

    url: str
    client: Client = field(repr=False)
    patient: bool = True
    needs: str = (
        "it ignores the condition If-None-Match of a put, so two writers could overwrite each other; give another store, or a folder"
    )

    def create(self, path: str, data: bytes) -> bool:
        """By a conditional put; what the store already holds is read back, since it may be what a lost answer was about."""
        end, pause = time.monotonic() + patience(patient=self.patient), 0.1
        with self._explained(f"write {len(data)} bytes to", path):
            while True:
                try:
                    obstore.put(self.client, path, data, mode="create", use_multipart=False)
                    return True
                except AlreadyExistsError:
                    found = self._content(path)
                    if found is not None:
                        return found == data
                    if time.monotonic() > end:  # others are writing it, or it was removed in between
                        raise
                except BaseError as error:  # the client does not put again by itself what took too long
                    if not reasons.is_lost(error) or time.monotonic() > end:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, 5.0)

    def replace(self, path: str, data: bytes, *, durable: bool) -> None:
        """By a put, which the store makes durable before it answers."""
        with self._explained(f"write {len(data)} bytes to", path):
            obstore.put(self.client, path, data, use_multipart=len(data) > PIECE, chunk_size=PIECE, max_concurrency=AT_ONCE)

    def put_file(self, path: str, file: Path) -> None:
        """By an upload in parts; one that fails is given up, and shows nothing."""
        with self._explained(f"write {file.stat().st_size} bytes to", path):
            obstore.put(self.client, path, file, chunk_size=PIECE, max_concurrency=AT_ONCE)

    def get_file(self, path: str, file: Path) -> None:
        """By requests for ranges of one version, each tried again by itself."""
        with self._explained("copy", path):
            found = obstore.head(self.client, path)
            with file.open("wb") as into:
                for start in range(0, found["size"], PIECE):
                    end = min(start + PIECE, found["size"])
                    part = obstore.get(self.client, path, options={"range": (start, end), "if_match": found["e_tag"]})
                    into.write(memoryview(part.bytes()))

    def read(self, path: str) -> bytes:
        """By one request."""
        with self._explained("read", path):
            return obstore.get(self.client, path).bytes().to_bytes()

    def exists(self, path: str) -> bool:
        """By one request for its head."""
        with self._explained("look for", path):
            try:
                return bool(obstore.head(self.client, path))
            except FileNotFoundError:
                return False

    def sizes(self, folder: str) -> dict[str, int]:
        """By a request for each thousand."""
        with self._explained("list", folder):
            files = [file for chunk in obstore.list(self.client, folder, chunk_size=1000) for file in chunk]
            return {file["path"].removeprefix(f"{folder}/"): file["size"] for file in files}

    def folders(self) -> list[str]:
        """By a request for each thousand."""
        with self._explained("list", ""):
            return list(obstore.list_with_delimiter(self.client)["common_prefixes"])

    def delete(self, path: str) -> None:
        """By one request, which does not mind that nothing is there."""
        with self._explained("delete", path), contextlib.suppress(FileNotFoundError):
            obstore.delete(self.client, path)

    def move(self, path: str, to: str) -> None:
        """By a copy inside the store, then a removal."""
        with self._explained("move", path):
            obstore.rename(self.client, path, to)

    def _content(self, path: str) -> bytes | None:
        try:
            return obstore.get(self.client, path).bytes().to_bytes()
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _explained(self, verb: str, path: str) -> Iterator[None]:
        """Say in a sentence what a store answered in XML; what it answered is not chained, since it may quote credentials."""
        reason = ""
        try:
            yield
        except FileNotFoundError as error:
            if not verb.startswith("write") and not reasons.is_missing_bucket(error):
                raise FileNotFoundError(f"{self.url}/{path}") from None  # the caller may expect it
            reason = reasons.reason(error, self.url)
        except (BaseError, ValueError) as error:
            reason = reasons.reason(error, self.url)
        except OSError as error:
            reason = f"{error.strerror or error}; mend that"
        if reason:
            raise StorageError(f"cannot {verb} {self.url}/{path}: {reason}")
