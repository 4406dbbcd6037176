"""What a cluster can hold: its live nodes, and those that its autoscaler may start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ray

from xfer_ray import access
from xfer_ray.core import Trial
from xfer_ray.desk import Placement
from xfer_ray.errors import DeclarationError, SetupError

Share = Mapping[str, float]


@dataclass(frozen=True)
class Capacity:
    """The largest node of each resource, and all nodes together, alive or startable; `startable` are the GPUs not yet there."""

    largest: Share
    total: Share
    startable: float


def capacity() -> Capacity:
    """Of the cluster that this process has joined."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    types = _node_types(ray.get_runtime_context().gcs_address)
    kinds = ("CPU", "GPU")
    largest = {kind: max((node.get(kind, 0.0) for node in [*alive, *(each for each, _ in types)]), default=0.0) for kind in kinds}
    live = {kind: sum(node.get(kind, 0.0) for node in alive) for kind in kinds}
    could = {kind: sum(each.get(kind, 0.0) * most for each, most in types) for kind in kinds}
    return Capacity(largest, {kind: max(live[kind], could[kind]) for kind in kinds}, max(0.0, could["GPU"] - live["GPU"]))


def _node_types(gcs_address: str) -> list[tuple[Share, int]]:
    """The node types that the autoscaler may start, with how many of each; none where no autoscaler runs beside this process.

    Ray keeps them in a file of the head alone, whose name is an argument of its monitor; a job that was submitted runs there.
    Others may use that machine too, so only what root or this user started and wrote is believed.
    """
    import yaml

    file = _autoscaling_config(gcs_address)
    if file is None:
        return []
    try:
        found = yaml.safe_load(file.read_text())
        bound, head = found["max_workers"], found["head_node_type"]
        types = [each for name, each in found["available_node_types"].items() if name != head]
        return [(each.get("resources") or {}, most) for each in types if (most := min(bound, each.get("max_workers", bound))) > 0]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"the autoscaler's configuration {file} cannot be read: {type(error).__name__}; start the cluster again"
        ) from error


def _autoscaling_config(gcs_address: str) -> Path | None:
    port = gcs_address.rpartition(":")[2]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = process.read_bytes().decode(errors="replace").split("\0")
            given = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
            host, _, its_port = given.get("gcs-address", "").rpartition(":")
            if any(word.endswith("/monitor.py") for word in words) and its_port == port and access.is_ours(host):
                file = Path(given.get("autoscaling-config", "")).expanduser()
                if _is_trusted(process.parent) and file.is_file() and _is_trusted(file):
                    return file
    return None


def _is_trusted(path: Path) -> bool:
    """Whether a file, or a process by its folder in /proc, belongs to root or to this user."""
    return path.stat().st_uid in (0, os.geteuid())


def share(trial: Trial, placement: Placement, held: Capacity) -> dict[str, float]:
    """CPUs and the fraction of a GPU for one trial; one that no node can ever hold is refused here, not left waiting."""
    asked = placement.gpus_per_trial
    gpus = asked if asked is not None else (trial.model.gpus if held.largest["GPU"] else 0.0)
    for kind, wanted, option in (("CPU", placement.cpus_per_trial, "--cpus-per-trial"), ("GPU", gpus, "--gpus-per-trial")):
        if wanted > held.largest[kind]:
            raise DeclarationError(
                f"{option} {wanted:g} is more than any node has: the largest has {held.largest[kind]:g} {kind}s; give at most that"
            )
    return {"CPU": placement.cpus_per_trial} | ({"GPU": gpus} if gpus else {})


def slots(shares: Iterable[Share], held: Capacity) -> int:
    """How many trials fit at once, once the autoscaler has started what it may."""
    return max(1, int(max(min(held.total.get(kind, 0.0) / part for kind, part in each.items()) for each in shares)))
