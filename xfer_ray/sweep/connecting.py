"""Joining Ray: on this machine, or on a cluster; what its workers know of this process's environment."""

from __future__ import annotations

import logging
import os
import signal
import socket
from pathlib import Path
from types import ModuleType

import ray

from xfer_ray.errors import SetupError
from xfer_ray.trial import Placement

FORWARDED = ("XFER_RAY_MIRROR", "XFER_RAY_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT")  # paths and switches, never a token


def connect(placement: Placement, module: ModuleType | None = None) -> None:
    """Start Ray on this machine, or join the cluster at `--address` or RAY_ADDRESS."""
    if module is not None:
        ray.cloudpickle.register_pickle_by_value(module)  # what a sweep file declares of its own travels with its trials
    address = placement.address or os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": worker_environment(placement, module)},
        )
    except Exception as error:
        raise SetupError(f"Ray at {address} cannot be used: {str(error).strip().splitlines()[0]}") from error
    signal.signal(signal.SIGTERM, ours)  # Ray takes it for a crash
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


def worker_environment(placement: Placement, module: ModuleType | None) -> dict[str, str]:
    """What workers need to know of this process's environment: paths and switches, no secrets."""
    forwarded = {name: os.environ[name] for name in FORWARDED if name in os.environ}
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
