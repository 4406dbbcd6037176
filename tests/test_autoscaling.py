"""A cluster that has no GPU yet: the first trial waits for the node that the autoscaler starts. Ray's own fake nodes play the cloud."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from toy import Toy

from xfer_ray.sweep import capacity

pytestmark = pytest.mark.slow


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _config(port: int) -> dict:
    """A head with one CPU, and at most two workers with a GPU each, all on this machine."""
    return {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": f"127.0.0.1:{port}",
        },
        "auth": {},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }


@pytest.fixture
def autoscaling(tmp_path):
    """The address of that head, started as `ray up` starts it; ended by a mark in the environment of all that it started."""
    file, mark, port = tmp_path / "autoscaling.json", uuid.uuid4().hex, _free_port()
    file.write_text(json.dumps(_config(port)))
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    environment |= {"XFER_RAY_TEST_MARK": mark, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_AUTH_MODE": "disabled"}
    environment |= {"RAY_enable_autoscaler_v2": "0"}  # as cluster.yaml has it; the fake nodes of the newer one need a file that wheels lack
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        f"--port={port}",
        "--node-ip-address=127.0.0.1",
        "--num-cpus=1",
        "--num-gpus=0",
    ]
    command += [
        "--object-store-memory=80000000",
        "--include-dashboard=false",
        f"--autoscaling-config={file}",
        f"--temp-dir=/tmp/{mark[:8]}",
    ]
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        yield f"127.0.0.1:{port}"
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in _marked(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            time.sleep(1)
        shutil.rmtree(f"/tmp/{mark[:8]}", ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="starting another user's process needs root")
def test_a_strangers_process_is_not_taken_for_the_autoscaler():
    folder = Path(tempfile.mkdtemp(prefix="xa", dir="/tmp"))
    folder.chmod(0o755)
    file = folder / "ray.yaml"
    file.write_text("{}")
    words = ["monitor.py", "--gcs-address=127.0.0.1:9", f"--autoscaling-config={file}"]
    command = ["sh", "-c", "while :; do sleep 1; done", str(folder / words[0]), *words[1:]]

    def found(user: str, owner: str) -> Path | None:
        shutil.chown(file, owner)
        process = subprocess.Popen(command, user=user, cwd="/", start_new_session=True)
        try:
            return capacity._autoscaling_config("127.0.0.1:9")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        assert found("root", "root") == file
        assert found("nobody", "root") is None, "anybody can name a file of ours"
        assert found("root", "nobody") is None, "a program of root may carry a stranger's words"
    finally:
        shutil.rmtree(folder)


def _marked(mark: str) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            pass
    return found


def test_the_first_trial_waits_for_a_gpu_node_and_does_not_fall_back_to_cpus(autoscaling, tmp_path):
    (tmp_path / "toy").mkdir()
    toy = Toy(tmp_path / "toy")
    toy.declare(languages=("en", "de"), seeds=(0,))
    sweep, note = toy.folder / "toy.py", "open(HERE / 'devices', 'a').write(os.environ.get('CUDA_VISIBLE_DEVICES', '-') + '\\n')"
    sweep.write_text(sweep.read_text().replace("gpus=0", "gpus=1").replace("    def predict(", f"    {note}\n    def predict("))
    done = toy.command("run", "toy.py", "--address", autoscaling, RAY_AUTH_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert "the first trials wait for the autoscaler to start a node" in done.stderr
    assert len(toy.committed()) == 2
    assert set((toy.folder / "devices").read_text().split()) == {"0"}  # each had a GPU of its own
