"""Questions to Ray that are asked in processes of their own: Ray reads RAY_AUTH_MODE once, and one that does not answer can be ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

START = 60.0  # seconds that Ray may take to join or to refuse us
Program = Callable[[Mapping[str, Any]], dict[str, Any]]


def ask(program: Program, order: Mapping[str, Any], seconds: float, mode: str | None = None) -> dict[str, Any]:
    """What a function of a module answers, or {"error": …}; one that takes too long is ended. `mode` is its RAY_AUTH_MODE."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | ({"RAY_AUTH_MODE": mode} if mode else {})
    names = f"from xfer_ray.sweep.aside import answer; from {program.__module__} import {program.__name__}"
    command = [sys.executable, "-c", f"{names}; answer({program.__name__})"]
    try:
        done = subprocess.run(
            command, input=json.dumps(order), capture_output=True, text=True, timeout=seconds, env=environment, cwd="/", errors="replace"
        )
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds:.0f} s"}
    except (ValueError, IndexError):
        last = (done.stderr.strip() or "it ended without a word").splitlines()[-1]
        return {"error": last[:300]}


def answer(program: Program) -> None:
    """The other side of `ask`: run the function on what stdin holds, print its answer, and leave without waiting for Ray's threads."""
    found: dict[str, Any]
    try:
        found = program(json.load(sys.stdin))
    except Exception as error:  # Ray raises what it likes; the reader of this line makes a sentence of it
        found = {"error": " ".join(str(error).split())[:600], "kind": type(error).__name__}
    print(f"\n{json.dumps(found)}", flush=True)
    os._exit(0)


def knock(order: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a cluster answers this process, and its address where `auto` was given."""
    from ray._private import services
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    address = services.canonicalize_bootstrap_address_or_die(order["address"])  # `auto` is the newest on this machine
    try:
        GcsClient(address=address).internal_kv_get(b"dashboard", namespace=b"dashboard", timeout=10)
    except AuthenticationError:
        return {"address": address, "open": False}
    return {"address": address, "open": True}
