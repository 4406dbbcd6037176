"""The notice of a spot machine: it is heard from either cloud, Ray hears of it, and the trials here are asked to leave."""

import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xfer_ray import spot

pytestmark = pytest.mark.slow


class Metadata:
    """A cloud's metadata service on this machine: says what `answer` returns for a path; AWS wants its token."""

    def __init__(self, cloud: str) -> None:
        self.cloud, self.notice, self.asked = cloud, "", 0
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                right = service.cloud == "aws" and self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                self.reply(200 if right else 404, "a-token" if right else "")

            def do_GET(self):
                service.asked += 1
                if self.path == "/latest/meta-data/spot/instance-action" and service.cloud == "aws":
                    if self.headers["X-aws-ec2-metadata-token"] != "a-token":
                        return self.reply(401, "")
                    return self.reply(200 if service.notice else 404, service.notice)
                if self.path == "/computeMetadata/v1/instance/preempted" and service.cloud == "google":
                    return (
                        self.reply(200, service.notice or "FALSE") if self.headers["Metadata-Flavor"] == "Google" else self.reply(403, "")
                    )
                return self.reply(404, "")

            def reply(self, status, text):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def metadata(request):
    made = Metadata(getattr(request, "param", "aws"))
    yield made
    made.server.shutdown()
    made.server.server_close()


def said_by_aws(seconds):
    return json.dumps({"action": "terminate", "time": f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"})


def test_aws_says_nothing_then_when(metadata):
    assert spot.heard(metadata.url) is None
    metadata.notice = said_by_aws(90)
    notice = spot.heard(metadata.url)
    assert "terminate" in notice.text
    assert 80 < notice.seconds <= 90


@pytest.mark.parametrize("metadata", ["google"], indirect=True)
def test_google_says_false_then_true(metadata):
    assert spot.heard(metadata.url) is None
    metadata.notice = "TRUE"
    assert spot.heard(metadata.url).seconds == 30


def test_where_no_cloud_answers_there_is_no_notice(metadata):
    metadata.server.shutdown()
    metadata.server.server_close()
    assert spot.heard(metadata.url) is None


@pytest.mark.parametrize("text", ["", "terminate", "[]", '{"action": "terminate"}', '{"action": "stop", "time": "soon"}'])
def test_a_notice_that_cannot_be_read_is_a_notice(text):
    assert spot.aws_notice(text).seconds == 120


def test_a_notice_whose_time_is_past_leaves_no_time():
    assert spot.aws_notice(said_by_aws(-60)).seconds == 0


# ------------------------------------------------------------------------------ a trial, as the system shows it

WORKER = "trap ': > $0; exit 0' TERM; : > $0.up; while :; do sleep 0.1; done"
RAYLET = 'exec -a "$3" bash -c "$4" "$5" & wait $!'  # as a raylet is the parent of its workers


def start_node(tmp_path, name, address, title):
    """A process that looks like a node's, with a child that looks like a worker and notes the SIGTERM it gets."""
    words = ["raylet", f"--node_id={'ab' * 28}", f"--gcs-address={address}", title, WORKER, str(tmp_path / name)]
    process = subprocess.Popen(["/ray/raylet", "-c", RAYLET, *words], executable="/bin/bash")
    end = time.monotonic() + 60
    while not (tmp_path / f"{name}.up").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def test_only_the_trials_of_this_cluster_are_asked_to_leave(tmp_path, metadata):
    ours = start_node(tmp_path, "ours", "127.0.0.1:1", "ray::TrialRunner.train")
    others = [
        start_node(tmp_path, "idle", "127.0.0.1:1", "ray::TrialRunner"),
        start_node(tmp_path, "neighbour", "127.0.0.1:2", "ray::TrialRunner.train"),
    ]
    try:
        metadata.notice = said_by_aws(6)
        home = tmp_path / "home"
        environment = {**os.environ, "XFER_RAY_METADATA": metadata.url, "HOME": str(home)}
        watcher = [sys.executable, "-m", "xfer_ray.spot", "127.0.0.1:1", "0.1"]
        stand_in = tmp_path / "ray" / "scripts"  # Ray's command, which would look for that cluster
        stand_in.mkdir(parents=True)
        for package in (stand_in, stand_in.parent):
            (package / "__init__.py").touch()
        (stand_in / "scripts.py").write_text(
            f"import sys\nopen({str(tmp_path / 'drained')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        )
        environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(Path(__file__).resolve().parents[1])))
        done = subprocess.run(watcher, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "ours").exists()
        assert ours.wait(timeout=30) == 0
        assert not (tmp_path / "idle").exists()
        assert not (tmp_path / "neighbour").exists()
        drained = (tmp_path / "drained").read_text().splitlines()
        assert len(drained) == 2, "both nodes of the cluster, and not the neighbour's"
        assert all("--address 127.0.0.1:1" in line and "DRAIN_NODE_REASON_PREEMPTION" in line for line in drained)
    finally:
        for each in (ours, *others):
            for child in children(each.pid):
                os.kill(child, signal.SIGKILL)
            each.wait(timeout=30)


def children(process):
    found = Path(f"/proc/{process}/task/{process}/children")
    return [int(each) for each in found.read_text().split()] if found.exists() else []


def test_a_second_watcher_leaves_it_to_the_first(tmp_path, metadata):
    environment = {**os.environ, "XFER_RAY_METADATA": metadata.url, "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "xfer_ray.spot", "127.0.0.1:1", "0.1"]
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 60
        while metadata.asked == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert second.returncode == 0
        assert "another watcher is here" in second.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()


# ------------------------------------------------------------------------------ a real Ray

REAL = """
import json, os, signal, sys, time
import ray
from ray.cluster_utils import Cluster
from xfer_ray import spot

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
away = cluster.add_node(num_cpus=1, resources={"spot": 1})
ray.init(address=cluster.address, log_to_driver=False)

@ray.remote(num_cpus=1, resources={"spot": 0.1})
class TrialRunner:
    def train(self, mark):
        told = []
        signal.signal(signal.SIGTERM, lambda *a: told.append(1))
        open(mark + ".up", "w").close()
        while not told:
            time.sleep(0.05)
        open(mark, "w").close()
        return "saved"

    def hold(self):
        time.sleep(600)

@ray.remote(num_cpus=0, resources={"spot": 0.1})
def placed():
    return True

assert ray.get(placed.remote(), timeout=60)
runner = TrialRunner.remote()
mark = sys.argv[1]
saved = runner.train.remote(mark)
while not os.path.exists(mark + ".up"):
    time.sleep(0.05)
here = [node for node in spot.nodes(cluster.address) if node.id == away.node_id]
other = [node for node in spot.nodes(cluster.address) if node.id != away.node_id]
spot.heed(spot.Notice("the test takes this machine back", 15), here)
seen = {"nodes": [len(here), len(other)], "saved": ray.get(saved, timeout=60)}
ready, waiting = ray.wait([placed.remote()], timeout=5)
seen["placed afterwards"] = len(ready)
held = runner.hold.remote()
time.sleep(1)
cluster.remove_node(away, allow_graceful=False)
try:
    ray.get(held, timeout=120)
except ray.exceptions.RayActorError as error:
    seen["preempted"] = error.preempted
print(json.dumps(seen))
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.timeout(300)
def test_ray_places_nothing_more_there_and_calls_the_loss_a_preemption(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"RAY_USAGE_STATS_ENABLED": "0"}
    program = tmp_path / "real.py"
    program.write_text(textwrap.dedent(REAL))
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "mark")], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert seen == {"nodes": [1, 1], "saved": "saved", "placed afterwards": 0, "preempted": True}
