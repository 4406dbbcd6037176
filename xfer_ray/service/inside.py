"""Programs that `doctor` starts as processes of their own, since a Ray that does not answer can then be ended.

`knock` asks a cluster without any token whether it would answer; `look` joins it and asks every node for the facts of probe.py.
Each reads a JSON document from stdin and ends its output with a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any


def knock(order: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a cluster answers a stranger, and its address where `auto` was given."""
    from ray._private import services
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    address = services.canonicalize_bootstrap_address_or_die(order["address"])  # `auto` is the newest on this machine
    try:
        GcsClient(address=address).internal_kv_get(b"dashboard", namespace=b"dashboard", timeout=10)
    except AuthenticationError:
        return {"address": address, "open": False}
    return {"address": address, "open": True}


def look(order: Mapping[str, Any]) -> dict[str, Any]:
    """Join a cluster and ask each live node for its facts; a node that is silent for `seconds` is left with an error."""
    import ray

    from xfer_ray.service import probe
    from xfer_ray.sweep.connecting import FORWARDED

    ray.init(address=order["address"], log_to_driver=False, logging_level=logging.CRITICAL)
    ray.cloudpickle.register_pickle_by_value(probe)
    ask = {**order["ask"], "environment": {name: os.environ[name] for name in FORWARDED if name in os.environ}}
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = _ask(nodes, ask, order["seconds"])
    dashboard = ray._private.worker.global_worker.node.address_info.get("webui_url")
    return {
        "dashboard": dashboard,
        "python": sys.version.split()[0],
        "versions": {name: probe.version(name) for name in probe.PACKAGES},
        "nodes": [
            {
                "id": node["NodeID"],
                "ip": node["NodeManagerAddress"],
                "host": node["NodeManagerHostname"],
                "resources": {kind: node["Resources"].get(kind, 0.0) for kind in ("CPU", "GPU")},
                **answer,
            }
            for node, answer in zip(nodes, answers, strict=True)
        ],
    }


def _ask(nodes: list[Any], ask: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
    """What each node answers: its facts and when they came, or an error."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from xfer_ray.service import probe

    task = ray.remote(num_cpus=0, max_retries=0)(probe.facts)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(ask): node["NodeID"]
        for node in nodes
    }
    answers: dict[str, dict[str, Any]] = {node["NodeID"]: {"error": f"it did not answer within {seconds:.0f} s"} for node in nodes}
    end, waiting = time.monotonic() + seconds, list(asked)
    while waiting and (left := end - time.monotonic()) > 0:
        came, waiting = ray.wait(waiting, timeout=left)
        for reference in came:
            try:
                answers[asked[reference]] = {"facts": ray.get(reference), "came": time.time()}
            except Exception as error:  # whatever a node's Python may raise
                answers[asked[reference]] = {"error": str(error).strip().splitlines()[-1][:300]}
    return [answers[node["NodeID"]] for node in nodes]


def main(program: str) -> None:
    """Run one of these programs, and leave without waiting for Ray's threads."""
    answer: dict[str, Any]
    try:
        answer = {"knock": knock, "look": look}[program](json.load(sys.stdin))
    except Exception as error:  # Ray raises what it likes; the reader of this line makes a sentence of it
        answer = {"error": " ".join(str(error).split())[:600], "kind": type(error).__name__}
    print(f"\n{json.dumps(answer)}", flush=True)
    os._exit(0)
