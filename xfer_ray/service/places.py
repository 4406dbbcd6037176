"""Checks of what a sweep reads and writes: the storage, and the hub or a mirror of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from xfer_ray.errors import XferRayError
from xfer_ray.service import probe
from xfer_ray.service.finding import Finding, failed, not_made, note, ok
from xfer_ray.service.machine import GB, LEAST_DISK
from xfer_ray.storage import Storage, open_storage

NEARLY = (
    "mend the network or the proxy, name another hub (HF_ENDPOINT) or a mirror (--mirror DIR), or set HF_HUB_OFFLINE=1 to use the cache"
)


def of_error(check: str, error: XferRayError) -> Finding:
    """An error of ours as a finding: what comes after its last semicolon would mend it."""
    found, _, remedy = str(error).rpartition("; ")
    return failed(check, found or remedy, remedy if found else "")


def storage(url: str) -> Iterator[Finding]:
    """Whether a storage creates files once, reads and deletes them, and has room."""
    try:
        place = open_storage(url)
    except XferRayError as error:
        yield of_error("storage", error)
        return
    caught: list[XferRayError] = []

    def prove() -> str:
        try:
            place.preflight()
        except XferRayError as error:
            caught.append(error)
        return ""

    late = probe.in_time(probe.PATIENCE, prove)
    if late:
        yield failed("storage", f"{place.url} gives {late}", "look at the disk or the network behind it")
    elif caught:
        yield of_error("storage", caught[0])
    else:
        kind = f" ({file_system(Path(place.url))})" if place.is_local else ""
        yield ok("storage", f"{place.url}{kind} creates a file once, reads and deletes it")
    if place.is_local:
        yield not_made("storage disk", "the storage failed") if late or caught else _room(place)


def _room(place: Storage) -> Finding:
    found = probe.disk(Path(place.url))
    free = f"{found['free'] / GB:.1f} of {found['total'] / GB:.1f} GB free"
    if found["free"] < LEAST_DISK:
        return failed("storage disk", f"{free}, too little for the predictions of a sweep", "free some, or choose another --storage")
    return ok("storage disk", free)


def file_system(folder: Path) -> str:
    """What kind of disk holds a folder, such as ext4 or nfs4."""
    kinds: dict[Path, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, place, kind, *_ = line.split(" ")
            kinds[Path(place.replace("\\040", " "))] = kind
    return next((kinds[place] for place in [folder, *folder.parents] if place in kinds), "unknown file system")


def sources(mirror: str | None, *, hub: bool) -> Iterator[Finding]:
    """Whether data sets and checkpoints can be had: from the mirror, else from the hub or its cache; `hub`: sweeps will read there."""
    if mirror is not None:
        yield _mirror(Path(mirror))
        return
    if offline():
        home = _home()
        yield note("hub", f"HF_HUB_OFFLINE is set, so only what {home} holds can be used: {_bytes(home) / GB:.1f} GB")
    else:
        why = probe.in_time(2 * probe.SECONDS, probe.hub)
        where = os.environ.get("HF_ENDPOINT") or probe.HUB
        yield out_of_reach(f"{where} cannot be reached: {why}", asked=hub) if why else ok("hub", f"{where} answers")
    yield _token()


def out_of_reach(found: str, *, asked: bool) -> Finding:
    """A hub that does not answer: a failure where sweeps will read there, else a note."""
    if asked:
        return failed("hub", found, NEARLY)
    return note("hub", f"{found}; that matters only to sweeps that read data or checkpoints there, and --hub makes it a failure", NEARLY)


def _mirror(folder: Path) -> Finding:
    held = probe.repositories(folder)
    if not held:
        return failed("mirror", f"{folder} holds no folder OWNER/NAME with files", "lay it out like the hub, DIR/<owner>/<name>")
    shown = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
    return ok("mirror", f"{folder} holds {len(held)} repositories ({shown}), and nothing is fetched")


def offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps everything from asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _home() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{caches}/huggingface").expanduser().absolute()


def _token() -> Finding:
    file = Path(os.environ.get("HF_TOKEN_PATH") or _home() / "token").expanduser()
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return ok("hub token", "in HF_TOKEN")
    if file.is_file():
        return ok("hub token", f"in {file}")
    return note("hub token", "none; only repositories with restricted access need one (HF_TOKEN)")


def _bytes(folder: Path) -> int:
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)
