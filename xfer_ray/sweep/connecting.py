"""Joining Ray: on this machine, or on a cluster; what its workers know of this process's environment."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import ray

from xfer_ray import access, redact
from xfer_ray.desk import Placement
from xfer_ray.errors import SetupError
from xfer_ray.sweep import aside

# Paths and switches, never a token or a key: what a runtime environment holds, everybody on the cluster can read.
FORWARDED: tuple[str, ...] = ("XFER_RAY_MIRROR", "XFER_RAY_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT")
FORWARDED += ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP")

GONE_SECONDS, LOOK_SECONDS = 40.0, 5.0  # how long the head may be gone, and how often that is looked at


def connect(placement: Placement, module: ModuleType | None = None) -> None:
    """Start Ray on this machine, or join the cluster at `--address` or RAY_ADDRESS; one that is open to others is refused."""
    if module is not None:
        ray.cloudpickle.register_pickle_by_value(module)  # what a sweep file declares of its own travels with its trials
    address = placement.address or os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            include_dashboard=None if address != "local" else False,  # of a Ray that ends with the sweep nobody knows the address
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": worker_environment(placement, module)},
        )
    except SystemExit:  # SIGTERM, while Ray's own handler was in force
        signal.signal(signal.SIGTERM, ours)
        signal.raise_signal(signal.SIGTERM)
        raise
    except Exception as error:
        hint = "" if address == "local" else f"; if it asks for a token, RAY_AUTH_MODE=token must be set and {access.token_file()} hold it"
        raise SetupError(f"Ray at {address} cannot be used: {str(error).strip().splitlines()[0]}{hint}") from error
    signal.signal(signal.SIGTERM, ours)  # Ray takes it for a crash
    if address != "local":
        _demand_protected(address)
        threading.Thread(target=_outlive, args=(address, ray.get_runtime_context().gcs_address), daemon=True).start()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say, Reporter says


def _knock(address: str) -> None:
    """Refuse a dead address within seconds: Ray itself would go on trying for minutes."""
    host, mark, port = address.rpartition("://")[2].rpartition(":")
    if not mark or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise SetupError(
            f"Ray at {address} does not answer: {error}; give the address that `ray start` printed, or none for this machine"
        ) from error


def _outlive(address: str, head: str) -> None:
    """End this process with a sentence when the head has been gone for long: Ray itself would end it without one after 60 s."""
    host, _, port = head.rpartition(":")
    seen = time.monotonic()
    while ray.is_initialized() and time.monotonic() - seen < GONE_SECONDS:
        time.sleep(LOOK_SECONDS)
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=LOOK_SECONDS):
            seen = time.monotonic()
    if ray.is_initialized():
        again = os.environ.get("XFER_RAY_AGAIN") or shlex.join(["xfer-ray", *sys.argv[1:]])
        print(f"\nxfer-ray: Ray at {address} is gone; what is committed stays; go on with: {again}", file=sys.stderr, flush=True)
        os._exit(SetupError.exit_code)


def _demand_protected(address: str) -> None:
    """Leave a cluster of several machines whose Ray answers without a token, whatever this process shows: others need none either."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    here = all(node["NodeManagerHostname"] == socket.gethostname() and access.is_ours(node["NodeManagerAddress"]) for node in nodes)
    if here:
        return
    heard = aside.ask(aside.knock, {"address": ray.get_runtime_context().gcs_address}, aside.START, "disabled")
    if heard.get("open") is False:
        return
    disconnect()
    if "error" in heard:
        raise SetupError(f"Ray at {address} does not say whether it asks for a token: {heard['error']}; look at it with `xfer-ray doctor`")
    raise SetupError(f"Ray at {address} asks for no token, so whoever reaches it can run programs on it: {access.SWITCH_ON}")


def worker_environment(placement: Placement, module: ModuleType | None) -> dict[str, str]:
    """What workers need to know of this process's environment: paths and switches, no secrets."""
    forwarded = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    for name, value in forwarded.items():
        if redact.redacted(value) != value:
            raise SetupError(
                f"{name} holds what looks like a secret, which every user of a cluster could read; set it on the nodes instead"
            )
    folder = "" if module is None else str(Path(module.__file__ or "").resolve().parent)
    path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", ""))))
    return {
        **forwarded,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(placement.cpus_per_trial),
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # read by CUDA before it starts; deterministic matrix products
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }


def disconnect() -> None:
    """Leave the cluster, or end the Ray that `connect` started and every worker with it."""
    ray.shutdown()
