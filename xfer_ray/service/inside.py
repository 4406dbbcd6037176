"""What `doctor` asks of a cluster from inside, in a process of its own (sweep/aside.py): the facts of probe.py from every node."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any


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
