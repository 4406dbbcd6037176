"""Bytes in and out: a folder, or a bucket of an object store, with the same promises.

A file appears whole or not at all, is read by everybody as soon as it is there, and is created once: of many writers that
`create` one path, one wins. local.py keeps these promises on a disk, objects.py on S3, Google Cloud Storage and Azure.
"""

from __future__ import annotations

import functools
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xfer_ray import redact
from xfer_ray.errors import StorageError, demand

SCHEMES = ("s3", "gs", "az")
_STAGING = ".staging"


@dataclass(frozen=True)
class Storage:
    """A place for files, named by paths with forward slashes relative to `url`; workers reopen it from its url alone."""

    url: str

    @property
    def is_local(self) -> bool:
        """Whether this is a folder, where a file costs nothing."""
        return "://" not in self.url

    def create(self, path: str, data: bytes) -> bool:
        """Put a file where none is; True if the file now holds these bytes, False, and nothing changed, where it holds others.

        A writer whose bytes are there already hears True: it cannot be told from one whose first answer was lost on the way.
        Scores name their host and time to the microsecond, so equal bytes are one writer's.
        """
        return _place(self.url).create(path, data)

    def replace(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Put a file whether or not one is there; `durable=False` does not wait for the disk."""
        _place(self.url).replace(path, data, durable=durable)

    def put_file(self, path: str, file: Path) -> None:
        """Put a local file of any size, in pieces, whether or not one is there; it appears when the last piece has come."""
        _place(self.url).put_file(path, file)

    def get_file(self, path: str, file: Path) -> None:
        """Copy a file of any size to a local one, in pieces; FileNotFoundError where there is none."""
        _place(self.url).get_file(path, file)

    def read(self, path: str) -> bytes:
        """The whole content of a file; FileNotFoundError where there is none."""
        return _place(self.url).read(path)

    def exists(self, path: str) -> bool:
        """Whether a file of this name is there."""
        return _place(self.url).exists(path)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of all files under a folder, by their names relative to it."""
        return _place(self.url).sizes(folder)

    def folders(self) -> list[str]:
        """The folders at the top of the storage, sorted, hidden ones left out."""
        return sorted(name for name in _place(self.url).folders() if not name.startswith("."))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        _place(self.url).delete(path)

    def move(self, path: str, to: str) -> None:
        """Give a file another path; on an object store a copy and a removal, so that an interrupted one leaves both."""
        _place(self.url).move(path, to)

    def preflight(self) -> None:
        """Prove, before anything expensive starts, that files can be created once, read, listed and removed here."""
        place = _place(self.url, patient=False)
        probe = f"{_STAGING}/probe-{uuid.uuid4().hex}"
        made = place.create(probe, b"probe")
        try:
            again = place.create(probe, b"again")
            sound = made and not again and place.read(probe) == b"probe" and probe.rpartition("/")[2] in place.sizes(_STAGING)
        finally:
            place.delete(probe)
        if not sound:
            raise StorageError(f"storage {self.url} let a file be created twice; {place.needs}")


class Place(Protocol):
    """What local.py and objects.py each know how to do; the words are those of Storage."""

    @property
    def needs(self) -> str:
        """What to give instead where a file can be created twice."""

    def create(self, path: str, data: bytes) -> bool: ...  # noqa: D102
    def replace(self, path: str, data: bytes, *, durable: bool) -> None: ...  # noqa: D102
    def put_file(self, path: str, file: Path) -> None: ...  # noqa: D102
    def get_file(self, path: str, file: Path) -> None: ...  # noqa: D102
    def read(self, path: str) -> bytes: ...  # noqa: D102
    def exists(self, path: str) -> bool: ...  # noqa: D102
    def sizes(self, folder: str) -> dict[str, int]: ...  # noqa: D102
    def folders(self) -> list[str]: ...  # noqa: D102
    def delete(self, path: str) -> None: ...  # noqa: D102
    def move(self, path: str, to: str) -> None: ...  # noqa: D102


def open_storage(url: str) -> Storage:
    """The storage at a local folder, which need not exist yet, or in a bucket, which must answer within seconds."""
    storage = Storage(checked(url))
    if storage.is_local:
        _refuse_dangling(Path(storage.url))
    else:
        _place(storage.url, patient=False).folders()
    return storage


def _refuse_dangling(folder: Path) -> None:
    """Refuse a folder that can be neither found nor made, for a link on the way to it leads nowhere."""
    for link in (folder, *folder.parents):
        if link.is_symlink() and not link.exists():
            raise StorageError(
                f"{link} is a link that leads to {link.readlink()}, which does not exist; make that, or choose another folder"
            )


def checked(url: str) -> str:
    """A storage's url as it is written everywhere, nobody asked; one that carries a secret is refused and not shown.

    "results" -> "/home/me/results"        "s3://bucket/sweeps/" -> "s3://bucket/sweeps"
    """
    demand(bool(url.strip()), "storage '' is neither a folder nor a bucket; give one, such as 'results' or 's3://bucket/prefix'")
    scheme, mark, rest = url.partition("://")
    secret = "@" in rest or "?" in rest or "#" in rest or redact.redacted(url) != url
    demand(
        not secret,
        "the storage's URL (not shown here) carries credentials or a query; give SCHEME://BUCKET/PREFIX alone, "
        "and credentials in the environment, a profile or a role",
    )
    if not mark:
        typo = re.match(rf"({'|'.join(SCHEMES)}):", url)
        demand(typo is None, f"storage {url!r} is not a folder; for a bucket give {typo and typo[1]}://BUCKET/PREFIX")
        return str(Path(url).expanduser().absolute())
    demand(scheme in SCHEMES, f"storage {url!r} has the unknown scheme {scheme!r}; give a local folder, s3://, gs:// or az://")
    bucket, *prefix = rest.rstrip("/").split("/")
    demand(
        bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", bucket)), f"storage {url!r} names no bucket; give {scheme}://BUCKET/PREFIX"
    )
    odd = [part for part in prefix if part in ("", ".", "..") or not part.isprintable()]
    demand(not odd, f"storage {url!r} has the part {odd[:1]} in its prefix; give {scheme}://BUCKET/PREFIX with plain names")
    return f"{scheme}://{'/'.join([bucket, *prefix])}"


@functools.cache
def _place(url: str, *, patient: bool = True) -> Place:
    """A folder or a bucket, ready to be used from several threads; an impatient one gives up within seconds."""
    if "://" not in url:
        from xfer_ray.storage.local import Folder

        return Folder(url)
    from xfer_ray.storage.objects import bucket

    return bucket(url, patient=patient)
