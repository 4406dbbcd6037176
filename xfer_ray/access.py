"""Who may use a cluster: whether it asks for a token, and where this user's token lies.

Ray runs whatever it is sent, for anyone who reaches it, unless it asks for a token (CVE-2023-48022). So clusters of other
machines are used only when they do. Needs no Ray, and never prints a token.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import stat
import time
import urllib.error
import urllib.request
import urllib.response
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from xfer_ray.errors import DeclarationError, SetupError

SECONDS = 10.0  # how long a cluster may take to answer
SWITCH_ON = (
    "set RAY_AUTH_MODE=token in every `ray start` and in every client, with one token in ~/.ray/auth_token (mode 0600) on each machine; "
    "`ray get-auth-token --generate` makes one, and cluster.yaml does all this"
)


def token_file() -> Path:
    """Where Ray looks for the token when RAY_AUTH_TOKEN does not hold it."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def token() -> str | None:
    """The token as Ray finds it: RAY_AUTH_TOKEN, else RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token; None where there is none."""
    given = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if given:
        return given
    try:
        found = token_file().read_text().strip()
    except FileNotFoundError:
        found = ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SetupError(f"the token file {token_file()} cannot be read: {reason}; give one of your own by RAY_AUTH_TOKEN_PATH") from error
    if not found and os.environ.get("RAY_AUTH_TOKEN_PATH"):
        raise SetupError(f"RAY_AUTH_TOKEN_PATH names {token_file()}, which is absent or empty; give a file that holds the cluster's token")
    return found or None


def exposed_token() -> str:
    """A sentence about a token file that other users of this machine may read; empty where all is well."""
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return ""
    try:
        mode = stat.S_IMODE(token_file().stat().st_mode)
    except OSError:
        return ""
    if not mode & 0o077:
        return ""
    return f"the token file {token_file()} has mode {mode:04o}, so others may read it; run: chmod 600 {token_file()}"


def authorization() -> dict[str, str]:
    """The header that shows the token, empty without one."""
    found = token()
    return {} if found is None else {"Authorization": f"Bearer {found}"}


def is_local(address: str) -> bool:
    """Whether an address (http://host:port, ray://host:port, host:port, or `local`) leads to this machine's loopback."""
    if address == "local":
        return True
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_open(url: str) -> bool:
    """Whether the dashboard (or a node's agent) at an http address answers without a token; SetupError where nothing answers."""
    status, kind = _ask(f"{_base(url)}/api/version")
    if status in (401, 403):
        return False
    if status == 200 or (status == 404 and "aiohttp" in kind):  # an agent has no such page, but would ask for the token first
        return True
    raise SetupError(
        f"what answers at {url} is no Ray dashboard (HTTP {status}); give the address that `ray dashboard` or `ray start` printed"
    )


def demand_protected(url: str) -> str:
    """Refuse a cluster of other machines that asks for no token.

    One that consists of this machine alone, at a loopback address, may be open: then a line of warning comes back, else "".
    A tunnel to an open cluster is refused too, since its own network can still use it.
    """
    if not is_open(url):
        return ""
    if is_local(url) and _is_this_machine(url):
        return f"the Ray at {url} asks for no token, so whoever reaches this machine can run programs on it: {SWITCH_ON}"
    raise SetupError(f"the cluster at {url} asks for no token, so whoever reaches it can run programs on it: {SWITCH_ON}")


def in_clear(url: str) -> str:
    """A sentence about a token that would cross a network unencrypted; empty where it does not."""
    if is_local(url) or urlsplit(url).scheme == "https" or token() is None:
        return ""
    return f"the token goes to {url} unencrypted; let `ray dashboard cluster.yaml`, or ssh -L, bring the dashboard to 127.0.0.1"


def bypass_proxy(url: str) -> None:
    """Let nothing that is meant for this machine, a token above all, go through a proxy."""
    host = urlsplit(url).hostname
    if host is None or not is_local(url):
        return
    for name in ("no_proxy", "NO_PROXY"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        if host not in known:
            os.environ[name] = ",".join([*known, host])


def _is_this_machine(url: str) -> bool:
    """Whether every node of an open cluster is this machine, as its host name and an address that we can bind show."""
    until = time.monotonic() + SECONDS  # a head that has just started does not know its nodes yet
    while True:
        found = nodes(url, {})
        if found:
            return all(hostname == socket.gethostname() and is_ours(ip) for hostname, ip in found)
        if time.monotonic() > until:
            return False
        time.sleep(0.5)


def nodes(url: str, authorization: Mapping[str, str]) -> list[tuple[str, str]]:
    """Host name and address of each living node, as a dashboard tells them to who shows that; none where it does not."""
    try:
        with _open(urllib.request.Request(f"{_base(url)}/nodes?view=summary", headers=dict(authorization))) as answer:
            return [(node["hostname"], node["ip"]) for node in json.load(answer)["data"]["summary"] if _alive(node)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _alive(node: Mapping[str, Mapping[str, str]]) -> bool:
    return node.get("raylet", {}).get("state") != "DEAD"


def is_ours(ip: str) -> bool:
    """Whether an IP address is one of this machine."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
        probe.bind((ip, 0))
        return True
    return False


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise DeclarationError(f"{url!r} is not the address of a dashboard; give one like http://127.0.0.1:8265")
    if parts.username or parts.password:
        raise DeclarationError("a dashboard's address must hold no user or password; the token is read from a file")
    return url.rstrip("/")


def _ask(url: str) -> tuple[int, str]:
    """The status that a GET without a token brings, and what the server calls itself."""
    try:
        with _open(urllib.request.Request(url)) as answer:
            return int(answer.status or 0), answer.headers.get("Server", "")
    except urllib.error.HTTPError as error:
        return int(error.code or 0), error.headers.get("Server", "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason
        raise SetupError(
            f"no Ray dashboard answers at {url.removesuffix('/api/version')}: {str(reason).lower()}; start the cluster, or let "
            "`ray dashboard cluster.yaml` run beside this"
        ) from error


def _open(asked: urllib.request.Request) -> urllib.response.addinfourl:
    handlers = [urllib.request.ProxyHandler({})] if is_local(asked.full_url) else []
    answer: urllib.response.addinfourl = urllib.request.build_opener(*handlers).open(asked, timeout=SECONDS)
    return answer
