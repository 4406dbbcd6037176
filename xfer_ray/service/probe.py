"""Facts about the machine that this runs on. Needs the standard library alone.

`doctor` sends this file's functions to every node as they are, so that they work where xfer_ray is absent or of another version.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("xfer-ray", "ray", "torch", "transformers", "datasets", "pyarrow", "obstore")  # what a trial's result can depend on
HUB = "https://huggingface.co"
SECONDS = 10.0  # what the hub may take to answer
PATIENCE = 30.0  # what a disk or an object store may take


def facts(ask: Mapping[str, Any]) -> dict[str, Any]:
    """All there is to know. `ask` may hold: environment, storage and probe (a file there), mirror, hub (whether to knock there)."""
    os.environ.update(ask.get("environment", {}))
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": memory(),
        "disks": {"cache": disk(cache()), "temp": disk(temp())},
        "shm": disk(Path("/dev/shm")),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "gpus": gpus(),
        "torch": torch(),
        "storage": in_time(PATIENCE, lambda: storage(ask["storage"], ask["probe"])) if ask.get("storage") else None,
        "mirror": len(repositories(Path(ask["mirror"]))) if ask.get("mirror") else None,
        "hub": in_time(2 * SECONDS, hub) if ask.get("hub") else None,
        "now": time.time(),
    }


def version(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory() -> int:
    """Bytes of memory that may be used: the machine's, or those of the container that this is in."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
            there = min(there, int(Path(file).read_text()))
    return there


def cache() -> Path:
    """Where tokenized data and checkpoints of running trials are kept."""
    return Path(os.environ.get("XFER_RAY_CACHE") or "~/.cache/xfer-ray").expanduser().absolute()


def temp() -> Path:
    """Where Ray keeps its sockets and logs."""
    given = [word.partition("=")[2] for word in sys.argv if word.startswith("--temp-dir=")]  # Ray tells its workers
    return Path((given and given[0]) or os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp").absolute()


def disk(folder: Path) -> dict[str, Any]:
    """Free and all bytes of the disk that holds a folder or would hold it, and why nothing can be written there."""
    near = folder
    while not near.exists() and near != near.parent:
        near = near.parent
    why = ""
    try:
        with tempfile.TemporaryFile(dir=near) as file:
            file.write(b"probe" * 1000)
            file.flush()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    usage = shutil.disk_usage(near)
    return {"path": str(folder), "free": usage.free, "total": usage.total, "why": why}


def gpus() -> list[dict[str, Any]]:
    """NVIDIA's GPUs as the driver sees them."""
    try:
        command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.count(",") == 2]
    return [{"name": name, "bytes": int(size) * 2**20 if size.isdigit() else 0, "driver": driver} for name, size, driver in rows]


def torch() -> dict[str, Any]:
    """What PyTorch says of itself and of the GPUs, asked in a process of its own; `error` where it cannot be imported."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}  # Ray hides GPUs from a task that asked for none
    command = [sys.executable, "-W", "ignore", "-m", "xfer_ray.models.devices"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd="/")
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
        return {"error": (done.stderr.strip() or "it ended without a word").splitlines()[-1][:200]}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"error": str(error)[:200]}


def repositories(mirror: Path) -> list[str]:
    """What a mirror holds, as OWNER/NAME."""
    return sorted("/".join(path.parts[-2:]) for path in mirror.glob("*/*") if path.is_dir() and any(path.iterdir()))


def hub() -> str:
    """Why the hub cannot be reached; "" where it answers, whatever it says."""
    try:
        request = urllib.request.Request(os.environ.get("HF_ENDPOINT") or HUB, method="HEAD")
        urllib.request.urlopen(request, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        return f"it answers with error {error.code}" if error.code >= 500 or error.code == 407 else ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason).lower()
    return ""


def storage(url: str, probe: str) -> str:
    """Why this machine cannot work with a storage in which another one has created the file `probe`; "" where it can."""
    try:
        from xfer_ray.storage import open_storage
    except ImportError as error:
        return f"xfer_ray cannot be imported: {error}"
    try:
        place = open_storage(url)
        try:
            place.read(probe)
        except FileNotFoundError:
            return "it does not see the file that was created from another machine, so this is another folder"
        if place.create(probe, b"again"):
            return "it created a file that was there already"
        own = f"{probe}-{os.getpid()}-{time.time_ns()}"
        try:
            sound = place.create(own, b"own") and place.read(own) == b"own"
        finally:
            place.delete(own)
        return "" if sound else "it cannot read what it has created"
    except Exception as error:  # whatever a node's own version of the package may raise
        return str(error).split("\n")[0]


def in_time(seconds: float, ask: Callable[[], str]) -> str:
    """The answer, or that none came: a name server or a network disk may never answer."""
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:.0f} s"
