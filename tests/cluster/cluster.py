"""The cluster on the hosts: `ray up` with the on-premises file, its dashboard through ssh, and what that says of nodes and jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hosts import BASE, CHECKOUT, PATIENCE, Host, wait_for

CLUSTER_FILE = Path("/root/onprem.yaml")  # the laptop's
ONPREM = CHECKOUT / "deploy" / "onprem.yaml"
SIZE = "--num-cpus=2 --object-store-memory=100000000"  # three hosts share one machine
DASHBOARD = "http://127.0.0.1:8265"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class Command:
    """A command that the laptop has started, and the file that keeps what it says."""

    process: subprocess.Popen[bytes]
    output: Path

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def text(self) -> str:
        """What it has said so far, on both streams."""
        return self.output.read_text(errors="replace")


def start(name: str, arguments: Sequence[str], **environment: str) -> Command:
    """Start a program of the virtual environment on the laptop."""
    output = BASE / "said" / f"{name}.txt"
    output.parent.mkdir(exist_ok=True)
    said = {**os.environ, "HOME": "/root", "RAY_AUTH_MODE": "token", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **environment}
    said["PATH"] = f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with output.open("wb") as file:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=said, cwd=CHECKOUT)
    return Command(process, output)


def write_cluster_file(head: Host, workers: Sequence[Host]) -> None:
    """The project's own file for machines that one has, with these addresses, this user and key; nothing is installed."""
    file = yaml.safe_load(ONPREM.read_text())
    file["provider"] |= {"head_ip": head.address, "worker_ips": [worker.address for worker in workers]}
    file["auth"] = {"ssh_user": "root", "ssh_private_key": str(BASE / "client_key")}
    file |= {"min_workers": len(workers), "max_workers": len(workers)}
    for key in ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"):
        file[key] = []
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        file[key] = [command.replace("ray start ", f"ray start {SIZE} ") for command in file[key]]
    CLUSTER_FILE.write_text(yaml.safe_dump(file, sort_keys=False))


def ray_up() -> Command:
    """Bring the cluster up, as a user does."""
    return start("ray-up", ["ray", "up", "-y", "--no-config-cache", str(CLUSTER_FILE)])


def tunnel() -> Command:
    """Open the dashboard through ssh, as a user does."""
    return start("ray-dashboard", ["ray", "dashboard", str(CLUSTER_FILE)])


def make_token() -> str:
    """A token for the cluster, where Ray looks for it."""
    made = start("token", ["ray", "get-auth-token", "--generate"])
    if made.wait():
        raise RuntimeError("`ray get-auth-token --generate` failed")
    made.output.unlink()  # it tells the token
    file = Path("/root/.ray/auth_token")
    file.chmod(0o600)  # Ray leaves it for all to read
    return file.read_text().strip()


def ask(path: str, token: str = "") -> tuple[int, Any]:
    """The status and the answer of the dashboard; 0 where nothing answers."""
    asked = urllib.request.Request(f"{DASHBOARD}{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError):
        return 0, None


def nodes(token: str) -> dict[str, str]:
    """The state of each node by address, as Ray sees it; of an address that came again, the newest."""
    status, answer = ask("/api/v0/nodes?limit=100&detail=1", token)
    if status != 200:
        return {}
    found = sorted(answer["data"]["result"]["result"], key=lambda node: node.get("start_time_ms") or 0)
    return {node["node_ip"]: node["state"] for node in found}


def alive(token: str) -> set[str]:
    """The addresses of the nodes that Ray takes for alive."""
    return {address for address, state in nodes(token).items() if state == "ALIVE"}


def wait_for_nodes(token: str, count: int) -> None:
    """Wait until so many nodes have joined."""
    wait_for(f"{count} nodes", lambda: len(alive(token)) == count, PATIENCE, every=1)


def busy(token: str) -> dict[str, dict[str, float]]:
    """What living nodes still hold, by address; the autoscaler goes on telling what a dead one held when it died."""
    living = alive(token)
    _, answer = ask("/api/cluster_status", token)
    usage = answer["data"]["clusterStatus"]["loadMetricsReport"]["usageByNode"]
    held = {address: {name: used for name, (used, _) in usage.get(address, {}).items() if used} for address in living}
    return {address: used for address, used in held.items() if used}


def jobs(token: str) -> list[dict[str, Any]]:
    """What Ray tells of every job to whoever asks."""
    found = ask("/api/jobs/", token)[1]
    return [job for job in found if job.get("submission_id")]


def program(name: str) -> str:
    """Where a program of the virtual environment lies."""
    return shutil.which(name, path=f"{sys.prefix}/bin") or name
