"""On a spot machine: watch for the notice that it will be taken back, and have its trials leave in time.

    python -m xfer_ray.spot HEAD:PORT [SECONDS BETWEEN LOOKS]

Started beside Ray on every worker by the cluster files; it touches only what belongs to that cluster. AWS tells two
minutes ahead, Google half a minute. Ray then places nothing more here and counts the loss as a preemption, not as a
failure, and the trials save a checkpoint at their next step. Needs the standard library alone; Ray is asked through
its own command.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

METADATA = "http://169.254.169.254"  # where AWS and Google answer a machine about itself; XFER_RAY_METADATA names another
EVERY = 5.0  # seconds between looks, as AWS advises
AWS_WARNING, GOOGLE_WARNING = 120.0, 30.0  # seconds from the notice to the end, as both announce
# What a process in the midst of a trial is called: by Ray, and a moment later by the trial (sweep/gauges.py).
TRIAL = (b"ray::TrialRunner.train", b"ray::TrialRunner ")
DRAIN_SECONDS = 20.0  # how long Ray may take to hear of it


@dataclass(frozen=True)
class Notice:
    """That this machine will be taken back, and in how many seconds."""

    text: str
    seconds: float


@dataclass(frozen=True)
class Node:
    """A node of the cluster on this machine: its id, and the process that is it and parent of its workers."""

    id: str
    address: str
    process: int


# ------------------------------------------------------------------------------ hearing of it


def heard(base: str) -> Notice | None:
    """The notice, if the cloud has given one."""
    token = _get(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"}, "PUT")
    if token is not None:
        return aws_notice(_get(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}))
    if (_get(f"{base}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"}) or "").strip() == "TRUE":
        return Notice("Google takes this machine back", GOOGLE_WARNING)
    return None


def aws_notice(text: str | None) -> Notice | None:
    """What AWS says, read: {"action": "terminate", "time": "2026-11-25T01:02:03Z"}."""
    if text is None:
        return None
    try:
        said = json.loads(text)
        left = (datetime.fromisoformat(said["time"]) - datetime.now(UTC)).total_seconds()
        return Notice(f"AWS will {said['action']} this machine at {said['time']}", min(max(left, 0.0), AWS_WARNING))
    except (ValueError, KeyError, TypeError):
        return Notice("AWS takes this machine back", AWS_WARNING)


def _get(url: str, headers: dict[str, str], method: str = "GET") -> str | None:
    """The answer's text, or None where there is none: no such page, or nobody there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the address is this machine's own, never a proxy's
    try:
        with opener.open(urllib.request.Request(url, headers=headers, method=method), timeout=2) as answer:
            text: str = answer.read(10_000).decode("utf-8", "replace")
            return text
    except (OSError, ValueError):
        return None


# ------------------------------------------------------------------------------ heeding it


def heed(notice: Notice, here: list[Node]) -> None:
    """Have Ray place nothing more here, then ask every trial to leave, until the time is over."""
    end = time.monotonic() + notice.seconds
    _say(notice.text)
    for node in here:
        drain(node, notice)
    asked: set[int] = set()
    while True:
        for process in trials(here) - asked:
            _say(f"trial in process {process}: asked to save a checkpoint and leave")
            _tell(process)
            asked.add(process)
        if time.monotonic() >= end:
            return
        time.sleep(0.5)


def drain(node: Node, notice: Notice) -> None:
    """Tell Ray that a node is being preempted."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", node.address, "--node-id", node.id]
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", notice.text]
    command += ["--deadline-remaining-seconds", str(int(notice.seconds))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=min(DRAIN_SECONDS, max(notice.seconds / 2, 5)))
    except subprocess.TimeoutExpired:
        _say(f"node {node.id}: Ray did not answer")
        return
    said = (done.stderr or done.stdout).strip().splitlines() or [""]
    _say(f"node {node.id}: " + ("Ray places nothing more here" if done.returncode == 0 else f"Ray refused: {said[-1]}"))


def nodes(address: str) -> list[Node]:
    """The nodes of a cluster that this user runs on this machine; on a machine of the cloud it is one."""
    found = []
    for process, words in _processes():
        if words[0].endswith(b"/raylet"):
            given = dict(word.lstrip(b"-").split(b"=", 1) for word in words if b"=" in word)
            if given.get(b"gcs-address", b"").decode() == address:
                found.append(Node(given.get(b"node_id", b"").decode(), address, process))
    return found


def trials(here: list[Node]) -> set[int]:
    """The workers of these nodes that are in the midst of a trial."""
    parents = {node.process for node in here}
    return {process for process, words in _processes() if words[0].startswith(TRIAL) and _parent(process) in parents}


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    """Each process of this user and the words of its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.getuid():
                yield int(folder.name), (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _tell(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------ the watch


def watch(look: Callable[[], Notice | None], every: float) -> Notice:
    """Look again and again, until there is a notice."""
    while (notice := look()) is None:
        time.sleep(every)
    return notice


def main(arguments: list[str]) -> None:
    """One watcher for each user and machine; a second one leaves it to the first."""
    address, every = arguments[0], float(arguments[1]) if len(arguments) > 1 else EVERY
    lock = Path.home() / ".ray" / "spot.lock"
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another watcher is here already")
            return
        base = os.environ.get("XFER_RAY_METADATA", METADATA).rstrip("/")
        _say(f"watching {base} for a notice")
        notice = watch(lambda: heard(base), every)
        heed(notice, nodes(address))


if __name__ == "__main__":
    main(sys.argv[1:])
