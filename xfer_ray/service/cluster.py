"""Checks of a cluster that this machine is part of: is it there, is it protected, and what does each node say."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xfer_ray import access
from xfer_ray.errors import SetupError, XferRayError
from xfer_ray.service import inside, machine, places
from xfer_ray.service.finding import FAILED, Finding, failed, not_made, note, ok
from xfer_ray.storage import open_storage
from xfer_ray.sweep import aside
from xfer_ray.sweep.aside import START

SKEW = 60.0
SAME = "install the same on all nodes, as constraints.txt names it, and restart Ray there"
OPEN = "asks for no token, so whoever reaches it can run programs on it"
ADDRESS = "give the address that `ray start` printed (HOST:PORT), or the dashboard's (http://127.0.0.1:8265 beside `ray dashboard`)"
CHECKS = ("protected", "token", "dashboard", "nodes")


@dataclass(frozen=True)
class Ask:
    """What `doctor` is asked to look at; `seconds` is what a node may take, `environment` is for a job on the cluster.

    `hub`: sweeps will read from the hub, so that a hub out of reach is a failure and not a note.
    """

    address: str | None = None
    storage: str | None = None
    mirror: str | None = None
    hub: bool = False
    seconds: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict)


def findings(ask: Ask) -> Iterator[Finding]:
    """All about the cluster; what another failure stands in the way of is named."""
    found, address, is_open = reach(ask.address or "auto")
    yield found
    if found.state == FAILED:
        yield from (not_made(check, "the cluster cannot be reached") for check in CHECKS)
        return
    guarded = protected(address, is_open)
    yield guarded
    if guarded.state == FAILED:
        yield from (not_made(check, "an open cluster is not used") for check in CHECKS[1:])
        return
    held = token(is_open, address)
    yield held
    if held.state == FAILED:
        yield from (not_made(check, "there is no sound token") for check in CHECKS[2:])
        return
    yield from joined(ask, address, is_open)


def reach(address: str) -> tuple[Finding, str, bool]:
    """Whether Ray answers there, at which address, and whether it answers without a token."""
    host, mark, port = address.rpartition(":")
    if address.startswith("ray://") or (address != "auto" and not (mark and port.isdigit())):
        return failed("cluster", f"{address!r} is no address of a cluster that sweeps can use", ADDRESS), address, False
    try:
        if address != "auto":
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return failed("cluster", f"nothing answers at {address}: {reason.lower()}", f"start the cluster, or {ADDRESS}"), address, False
    answer = aside.ask(aside.knock, {"address": address}, START, "disabled")
    if "error" in answer:
        return failed("cluster", f"what answers at {address} is no Ray: {answer['error'][:120]}", ADDRESS), address, False
    return ok("cluster", f"Ray answers at {answer['address']}"), answer["address"], answer["open"]


def protected(address: str, is_open: bool) -> Finding:
    """Whether the cluster asks for a token; one that others can reach must."""
    if not is_open:
        return ok("protected", "the cluster asks for a token")
    if not access.is_local(address):
        return failed("protected", f"the cluster at {address} {OPEN}", access.SWITCH_ON)
    if listens_widely(int(address.rpartition(":")[2])):
        return failed("protected", f"Ray at {address} listens on all addresses of this machine and asks for no token", access.SWITCH_ON)
    return note("protected", f"Ray at {address} asks for no token; that is sound only while nobody else uses this machine")


def listens_widely(port: int) -> bool:
    """Whether somebody on this machine listens on this port at 0.0.0.0 or ::, so that the network reaches it."""
    for file, width in (("/proc/net/tcp", 8), ("/proc/net/tcp6", 32)):
        with contextlib.suppress(OSError):
            rows = [line.split() for line in Path(file).read_text().splitlines()[1:]]
            if any(row[1] == f"{'0' * width}:{port:04X}" and row[3] == "0A" for row in rows):  # 0A: listening
                return True
    return False


def token(is_open: bool, address: str = "") -> Finding:
    """Whether this user has a token for a cluster that asks for one, which nobody else can read, and which Ray at `address` accepts."""
    try:
        found = access.token()
    except SetupError as error:
        return places.of_error("token", error)
    where = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN", "").strip() else str(access.token_file())
    if found is None and not is_open:
        mend = f"copy the cluster's token into {access.token_file()} (mode 0600), or name its file in RAY_AUTH_TOKEN_PATH"
        return failed("token", f"the cluster asks for a token, and {where} holds none", mend)
    exposed = access.exposed_token()
    if exposed and not is_open:
        fact, _, mend = exposed.rpartition("; ")
        return failed("token", fact, mend)
    if is_open:
        return note("token", "none is asked for")
    if address and aside.ask(aside.knock, {"address": address}, START, "token").get("open") is False:
        return failed("token", f"the cluster does not accept the token in {where}", "copy the token that lies on the cluster's head")
    return ok("token", f"in {where}")


def joined(ask: Ask, address: str, is_open: bool) -> Iterator[Finding]:
    """What the nodes of the cluster say."""
    order: dict[str, Any] = {
        "address": address,
        "seconds": ask.seconds,
        "ask": {"mirror": ask.mirror, "hub": not (ask.mirror or places.offline())},
    }
    with shared_file(ask.storage) as file:
        if file:
            order["ask"] |= {"storage": open_storage(ask.storage or "").url, "probe": file}
        found = aside.ask(inside.look, order, START + ask.seconds, None if is_open else "token")
    if "error" in found:
        yield refused(found["error"], address)
        yield not_made("nodes", "Ray could not be joined")
        return
    yield dashboard(found["dashboard"])
    nodes = found["nodes"]
    names = named(nodes)
    total = {kind: sum(node["resources"][kind] for node in nodes) for kind in ("CPU", "GPU")}
    yield ok("nodes", f"{len(nodes)}, with {total['CPU']:g} CPUs and {total['GPU']:g} GPUs")
    far = [name for node, name in zip(nodes, names, strict=True) if not access.is_local(node["ip"])]
    if is_open and far:
        yield failed("protected", f"the cluster asks for no token, and has nodes that others can reach: {', '.join(far)}", access.SWITCH_ON)
    for node, name in zip(nodes, names, strict=True):
        yield from (replace(one, node=name) for one in of_node(node, found, ask, file))


@contextlib.contextmanager
def shared_file(url: str | None) -> Iterator[str]:
    """A file in the storage, which every node must see; "" where there is no storage, or it cannot be used from here."""
    name = f".staging/doctor-{uuid.uuid4().hex}"
    try:
        place = open_storage(url) if url else None
        if place is None or not place.create(name, b"doctor"):
            name = ""
    except XferRayError:
        name = ""
    try:
        yield name
    finally:
        if name and place:
            with contextlib.suppress(XferRayError):
                place.delete(name)


def refused(error: str, address: str) -> Finding:
    """Why Ray did not let us join, in our words where we know them."""
    if "ersion mismatch" in error:
        return failed("join", f"this machine's Ray or Python differs from the cluster's: {error.partition('ersion mismatch: ')[2]}", SAME)
    if "Failed to connect" in error or "IP address" in error:  # it did answer, so what lacks is a raylet beside us
        found = f"this machine runs no node of the cluster at {address}, so it cannot look at the others"
        return failed("join", found, f"run doctor on a node, or {ADDRESS}")
    return failed(
        "join", f"Ray at {address} could not be joined: {error[:200]}", "look at the logs of Ray, /tmp/ray/session_latest/logs on its head"
    )


def dashboard(where: str | None) -> Finding:
    """Whether the dashboard, which takes jobs, is there and asks for a token too."""
    if not where:
        return note("dashboard", "none, so submit, logs and stop do not work; install ray[default] on the head")
    try:
        if not access.is_open(f"http://{where}"):
            seen = "" if access.is_local(where) else "; others reach it too, and its token travels in clear (--dashboard-host=127.0.0.1)"
            return (note if seen else ok)("dashboard", f"http://{where} asks for a token{seen}")
        warning = access.demand_protected(f"http://{where}")
    except SetupError as error:
        if "asks for no token" in str(error):
            return failed("dashboard", f"http://{where} {OPEN}", access.SWITCH_ON)
        return note("dashboard", f"http://{where} is not reached from here; it may be on the head's loopback alone")
    if listens_widely(int(where.rpartition(":")[2])):
        return failed("dashboard", f"http://{where} asks for no token and listens on all addresses of this machine", access.SWITCH_ON)
    return note("dashboard", warning.partition(": set RAY_AUTH_MODE")[0])


def named(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each node: its address, and where several share one, the beginning of its id too."""
    ips = [node["ip"] for node in nodes]
    return [node["ip"] if ips.count(node["ip"]) == 1 else f"{node['ip']}/{node['id'][:6]}" for node in nodes]


def of_node(node: Mapping[str, Any], here: Mapping[str, Any], ask: Ask, file: str) -> Iterator[Finding]:
    """All about one node, beside the driver `here`."""
    if "error" in node:
        yield failed("answer", f"{node['host']}: {node['error']}", "look at the logs of Ray there; restart its Ray, or end the machine")
        yield from (not_made(check, "the node does not answer") for check in ("versions", "gpus", "disks", "storage", "hub"))
        return
    facts = node["facts"]
    yield versions(facts, here)
    yield machine.gpus(facts)
    if len(facts["gpus"]) > node["resources"]["GPU"]:
        yield note("ray's gpus", f"Ray offers {node['resources']['GPU']:g} of {len(facts['gpus'])} GPUs")
    yield from machine.disks(facts)
    skew = facts["now"] - node["came"]
    if abs(skew) > SKEW:
        yield note("clock", f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}; nothing depends on it but the times in logs")
    if ask.storage:
        yield stored(facts["storage"], ask.storage) if file else not_made("storage", "it failed on this machine")
    if ask.mirror:
        mend = "put the mirror at the same path on every node"
        yield (
            ok("mirror", f"{facts['mirror']} repositories")
            if facts["mirror"]
            else failed("mirror", f"{ask.mirror} is absent or empty", mend)
        )
    elif facts["hub"] is not None:
        yield places.out_of_reach(f"cannot be reached: {facts['hub']}", asked=ask.hub) if facts["hub"] else ok("hub", "answers")


def versions(facts: Mapping[str, Any], here: Mapping[str, Any]) -> Finding:
    """Whether a node would compute with the same packages as this process."""
    theirs, ours = {"python": facts["python"], **facts["versions"]}, {"python": here["python"], **here["versions"]}
    differing = [f"{name} {theirs[name] or 'is missing'} there and {ours[name]} here" for name in ours if theirs[name] != ours[name]]
    if differing:
        return failed("versions", ", ".join(differing), SAME)
    return ok("versions", f"python and {len(ours) - 1} packages as here")


def stored(why: str, url: str) -> Finding:
    """What a node says of the storage."""
    if not why:
        return ok("storage", "the same as here; it creates a file once, reads and deletes it")
    local = "://" not in url
    mend = "give a folder that all nodes share, or an object store" if local else "give the node access to it"
    return failed("storage", why, mend)
