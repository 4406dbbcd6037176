"""Checks of one machine, from the facts of probe.py: this one, or a node of a cluster."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from xfer_ray.service.finding import Finding, failed, note, ok
from xfer_ray.service.probe import PACKAGES, version

GB = 1e9
LEAST_DISK = 1 * GB  # below that, a first batch of tokenized data may not fit
GOOD_DISK = 20 * GB  # room for the tokenized data of XNLI and the checkpoints of some trials
GOOD_MEMORY = 4 * GB
GOOD_SHM = 2 * GB
LEAST_FILES, GOOD_FILES = 1024, 8192
SOCKET = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"  # under the temporary folder; 107 bytes are the limit


def python() -> Finding:
    """Whether this Python is one of those that the package is made for."""
    from packaging.specifiers import SpecifierSet

    wanted = importlib.metadata.metadata("xfer-ray")["Requires-Python"] or ""
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return ok("python", found)
    return failed("python", f"{found}, and xfer-ray needs {wanted}", f"make an environment with Python {wanted}")


def packages() -> Finding:
    """Whether what is installed is what the package asks for."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in importlib.metadata.requires("xfer-ray") or []]
    asked = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = [
        f"{each.name} {version(each.name) or 'is missing'} (needs {each.specifier})"
        for each in asked
        if (found := version(each.name)) is None or not each.specifier.contains(found, prereleases=True)
    ]
    if wrong:
        return failed("packages", ", ".join(wrong), "pip install --constraint constraints.txt --upgrade xfer-ray")
    shown = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return ok("packages", f"{shown}; all {len(asked)} that it needs fit")


def extras() -> Iterator[Finding]:
    """The optional parts, and how to get them."""
    for extra, package, use in (
        ("ctranslate2", "ctranslate2", "faster `translate`"),
        ("aws", "boto3", "`ray up` on AWS"),
        ("wandb", "wandb", "Weights & Biases"),
        ("search", "optuna", "`search` by Optuna"),
    ):
        found = version(package)
        yield ok(package, found) if found else note(package, f"not installed; for {use}: pip install 'xfer-ray[{extra}]'")


def size(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """CPUs, memory, shared memory, open files."""
    yield ok("cpus", str(facts["cpus"]))
    memory, shm, files = facts["memory"], facts["shm"], facts["files"]
    yield (
        ok("memory", f"{memory / GB:.1f} GB")
        if memory >= GOOD_MEMORY
        else note("memory", f"{memory / GB:.1f} GB is enough for small models only")
    )
    if shm["why"]:
        yield failed("/dev/shm", f"cannot be written to: {shm['why']}", "mount a tmpfs there that all users may write to")
    elif shm["total"] < GOOD_SHM:
        yield note("/dev/shm", f"{shm['total'] / GB:.1f} GB; Ray uses the slower disk instead; `docker run --shm-size=4g` gives more")
    else:
        yield ok("/dev/shm", f"{shm['total'] / GB:.1f} GB")
    if 0 <= files < LEAST_FILES:
        yield failed(
            "open files", f"at most {files}", f"raise the limit to {GOOD_FILES}: ulimit -Hn {GOOD_FILES}, as root or in limits.conf"
        )
    else:
        few = 0 <= files < GOOD_FILES
        yield (
            note("open files", f"at most {files}; the head of a large cluster needs more")
            if few
            else ok("open files", "no limit" if files < 0 else f"{files}")
        )


def disks(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Room for what is cached, and for Ray's own files."""
    cache, temp = facts["disks"]["cache"], facts["disks"]["temp"]
    yield _disk("cache disk", cache, "name a folder with room in XFER_RAY_CACHE, or free some")
    mend = "name a folder with room in RAY_TMPDIR (`ray start --temp-dir` on a cluster), or free some"
    found = _disk("temp disk", temp, mend)
    if found.state != "failed" and len(f"{temp['path']}{SOCKET}".encode()) > 107 and "/session_" not in temp["path"]:
        found = failed("temp disk", f"{temp['path']} is too long a name for Ray's sockets", "name a shorter folder in RAY_TMPDIR")
    yield found


def _disk(check: str, disk: Mapping[str, Any], mend: str) -> Finding:
    room = f"{disk['path']}: {disk['free'] / GB:.1f} of {disk['total'] / GB:.1f} GB free"
    if disk["why"]:
        return failed(check, f"{disk['path']} cannot be written to: {disk['why']}", mend)
    if disk["free"] < LEAST_DISK:
        return failed(check, f"{room}, too little for tokenized data and checkpoints", mend)
    if disk["free"] < GOOD_DISK:
        return note(check, f"{room}; large sweeps need {GOOD_DISK / GB:.0f} GB")
    return ok(check, room)


def gpus(facts: Mapping[str, Any]) -> Finding:
    """Whether PyTorch works, and can use the GPUs that are there."""
    torch, there = facts["torch"], facts["gpus"]
    if "error" in torch:
        return failed("gpus", f"PyTorch cannot be asked: {torch['error']}", "install torch as constraints.txt names it")
    usable = torch["gpus"]
    if not there and not usable:
        return note("gpus", "none: models are trained on CPUs")
    if len(usable) < len(there):
        built = f"is built for CUDA {torch['cuda']}" if torch["cuda"] else "is built for CPUs only"
        driver = there[0]["driver"]
        return failed(
            "gpus",
            f"{len(there)} {there[0]['name']} with driver {driver}, of which PyTorch {torch['torch']} ({built}) can use {len(usable)}",
            "install a torch for CUDA that this driver supports, or a newer driver",
        )
    names = ", ".join(sorted({f"{gpu['name']} {gpu['bytes'] / GB:.0f} GB" for gpu in usable}))
    driver = f", driver {there[0]['driver']}" if there else ""
    found = f"{len(usable)}: {names}{driver}, CUDA {torch['cuda']}"
    if all(gpu["bf16"] for gpu in usable):
        return ok("gpus", f"{found}, bf16")
    return note("gpus", f"{found}, no bf16 in hardware: half precision is slow or unsound there, mT5's above all")
