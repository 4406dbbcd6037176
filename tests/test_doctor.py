"""doctor on this machine, on a real cluster that is well, and on one whose nodes are not."""

import contextlib
import http.server
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import bucket
import pytest

from xfer_ray.cli.doctor import shown, together
from xfer_ray.service import cluster, machine
from xfer_ray.service.finding import Finding

BIN = Path(sys.executable).parent
COMMAND = [sys.executable, "-c", "from xfer_ray.cli import main; main()", "doctor"]
NAMESPACES = subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True).returncode == 0 if shutil.which("unshare") else False
needs_namespaces = pytest.mark.skipif(not NAMESPACES, reason="network and mount namespaces need root")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def house():
    """A folder with a short name, since Ray puts its sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="dr", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def hub():
    """A stand-in for the hub: it answers."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def environment(house, hub):
    (house / "token").write_text(secrets.token_hex(32))
    (house / "token").chmod(0o600)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "HF_", "XFER_RAY_"))}
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HF_ENDPOINT": hub,
        "HF_HOME": str(house / "hf"),
        "XFER_RAY_CACHE": str(house / "cache"),
        "RAY_AUTH_TOKEN_PATH": str(house / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(house / "t"),
    }


@pytest.fixture
def doctor(environment):
    def run(*arguments, prefix=(), **extra):
        command = [*prefix, *COMMAND, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment | extra, cwd="/tmp")

    return run


class Node:
    """`ray start --block` in a process group of its own."""

    def __init__(self, house: Path, arguments, environment, prefix=()):
        command = [*prefix, str(BIN / "ray"), "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1", *arguments]
        command.append(f"--dashboard-agent-listen-port={free_port()}")
        self.log = Path(tempfile.mkstemp(dir=house, suffix=".log")[1])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, cwd="/tmp", start_new_session=True, stdout=log, stderr=log)
        end = time.monotonic() + 120
        while "Ray runtime started" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)

    def pids(self, name: str) -> list[int]:
        """The processes of that name in this group."""
        stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if _of_session(path, self.process.pid)]
        return [int(text.split()[0]) for text in stats if f"({name})" in text]

    def end(self):
        for path in Path("/proc").glob("[0-9]*/stat"):
            if _of_session(path, self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.parent.name), signal.SIGKILL)
        self.process.wait()


def _of_session(stat: Path, session: int) -> bool:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[3]) == session
    except OSError:
        return False


@pytest.fixture(scope="module")
def head(house, environment):
    """A head that asks for a token: its address and its dashboard's."""
    port, board = free_port(), free_port()
    arguments = ["--head", f"--port={port}", f"--dashboard-port={board}", "--dashboard-host=127.0.0.1", f"--temp-dir={house / 't'}"]
    node = Node(house, [*arguments, f"--ray-client-server-port={free_port()}"], environment | {"RAY_AUTH_MODE": "token"})
    node.address, node.board = f"127.0.0.1:{port}", f"http://127.0.0.1:{board}"
    yield node
    node.end()


def by_node(done):
    """What `doctor --json` found on each node, by check."""
    found = {}
    for each in json.loads(done.stdout)["findings"]:
        if each["node"] not in ("", "head"):
            found.setdefault(each["node"], {})[each["check"]] = Finding(**each)
    return found


def findings(done):
    """What `doctor --json` found, by check; those of this machine or the cluster as a whole alone."""
    return {each["check"]: Finding(**each) for each in json.loads(done.stdout)["findings"] if not each["node"]}


# This machine


def test_a_machine_that_is_fit_is_told_in_80_columns_and_no_ray_starts(doctor, house, tmp_path):
    done = doctor(
        "--storage", tmp_path / "results", LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", RAY_TMPDIR=str(house / "own")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("fit: ")
    long = [line for line in done.stdout.splitlines() if len(line) > 79 and str(tmp_path) not in line]
    assert not long
    assert done.stdout.isascii()
    assert "FAILED" not in done.stdout
    assert not (house / "own").exists()
    assert not list((tmp_path / "results").rglob("*probe*")), "a probe was left behind"
    for check in ("python", "packages", "cpus", "memory", "cache disk", "temp disk", "open files", "gpus", "hub", "storage"):
        assert f" {check} " in done.stdout


def test_json_is_one_document_with_the_same_findings(doctor):
    done = doctor("--json")
    answer = json.loads(done.stdout)
    assert answer["fit"] is (done.returncode == 0)
    assert set(answer["findings"][0]) == {"check", "state", "found", "remedy", "node"}
    assert {each["state"] for each in answer["findings"]} <= {"ok", "note", "failed", "not made"}


def test_a_package_of_another_version_is_unfit(doctor, tmp_path):
    pretend(tmp_path, "obstore", "0.1.0")
    done = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 4
    found = findings(done)["packages"]
    assert (found.state, found.found) == ("failed", "obstore 0.1.0 (needs >=0.12)")
    assert "pip install" in found.remedy


def test_a_hub_out_of_reach_is_unfit_where_it_is_asked_for_and_neither_offline_nor_mirrored(doctor, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = doctor("--json", "--hub", HF_ENDPOINT=nowhere)
    assert done.returncode == 4
    assert findings(done)["hub"].found == f"{nowhere} cannot be reached: connection refused"
    assert "HF_HUB_OFFLINE=1" in findings(done)["hub"].remedy
    unasked = doctor("--json", HF_ENDPOINT=nowhere)
    assert (unasked.returncode, findings(unasked)["hub"].state) == (0, "note")
    assert "that matters only to sweeps that read data or checkpoints there" in findings(unasked)["hub"].found
    offline = doctor("--json", "--hub", HF_ENDPOINT=nowhere, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0
    assert findings(offline)["hub"].state == "note"
    (tmp_path / "facebook" / "xnli").mkdir(parents=True)
    empty = doctor("--json", "--mirror", tmp_path, HF_ENDPOINT=nowhere)
    assert (empty.returncode, findings(empty)["mirror"].state) == (4, "failed")
    (tmp_path / "facebook" / "xnli" / "README.md").write_text("data")
    full = doctor("--json", "--mirror", tmp_path, HF_ENDPOINT=nowhere)
    assert full.returncode == 0
    assert "1 repositories (facebook/xnli)" in findings(full)["mirror"].found
    assert "hub" not in findings(full)


def test_no_token_is_printed(doctor, environment, house, head):
    secret = "hf_" + "q" * 34
    done = doctor("--address", head.address, HF_TOKEN=secret)
    assert done.returncode == 0, done.stdout
    assert secret not in done.stdout + done.stderr
    assert (house / "token").read_text() not in done.stdout + done.stderr
    assert "in HF_TOKEN" in done.stdout


def test_a_bucket_is_proved_and_its_keys_are_not_printed(doctor):
    with bucket.served() as server:
        surroundings = bucket.environment(server.url)
        done = doctor("--json", "--storage", f"s3://{bucket.BUCKET}/results", **surroundings)
        absent = doctor("--json", "--storage", "s3://nobodys-bucket/results", **surroundings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert findings(done)["storage"].state == "ok"
    assert (absent.returncode, findings(absent)["storage"].state) == (4, "failed")
    for output in (done.stdout, done.stderr, absent.stdout, absent.stderr):
        assert bucket.SECRET_KEY not in output
        assert bucket.ACCESS_KEY not in output


def test_a_folder_with_too_long_a_name_for_rays_sockets_is_unfit(doctor, tmp_path):
    done = doctor("--json", RAY_TMPDIR=str(tmp_path / ("long" * 10)))
    assert (done.returncode, findings(done)["temp disk"].state) == (4, "failed")


@needs_namespaces
def test_a_full_disk_and_one_that_cannot_be_written_to_are_unfit(doctor, tmp_path):
    for name in ("cache", "full", "fixed"):
        (tmp_path / name).mkdir()
    script = f"""cd {tmp_path} && mount -t tmpfs -o size=4m none cache && mount -t tmpfs -o size=64k none full && mount -t tmpfs -o ro none fixed
        dd if=/dev/zero of=full/rest bs=4k count=64 2>/dev/null; exec "$@" """
    prefix = ["unshare", "-m", "sh", "-c", script, "sh"]
    full = doctor("--json", "--storage", tmp_path / "full", prefix=prefix, XFER_RAY_CACHE=str(tmp_path / "cache"))
    assert full.returncode == 4
    found = findings(full)
    assert (found["cache disk"].state, found["storage"].state, found["storage disk"].state) == ("failed", "failed", "not made")
    assert "too little" in found["cache disk"].found
    assert "XFER_RAY_CACHE" in found["cache disk"].remedy
    assert "no space" in found["storage"].found.lower()
    fixed = doctor("--json", "--storage", tmp_path / "fixed", prefix=prefix, XFER_RAY_CACHE=str(tmp_path / "fixed"))
    assert fixed.returncode == 4
    assert "read-only" in findings(fixed)["storage"].found.lower()
    assert findings(fixed)["cache disk"].found.endswith("cannot be written to: read-only file system")


@pytest.mark.parametrize(
    ("seen", "torch", "state", "says"),
    [
        (0, {"torch": "2.13", "cuda": None, "gpus": []}, "note", "none"),
        (2, {"torch": "2.13", "cuda": None, "gpus": []}, "failed", "built for CPUs only"),
        (2, {"torch": "2.13", "cuda": "13.0", "gpus": [(True, 80)]}, "failed", "can use 1"),
        (1, {"torch": "2.13", "cuda": "13.0", "gpus": [(True, 80)]}, "ok", "bf16"),
        (1, {"torch": "2.13", "cuda": "13.0", "gpus": [(False, 16)]}, "note", "no bf16"),
        (0, {"error": "No module named 'torch'"}, "failed", "No module named 'torch'"),
    ],
)
def test_gpus_are_fit_when_pytorch_can_use_them(seen, torch, state, says):
    if "gpus" in torch:
        torch = torch | {"gpus": [{"name": "H", "bytes": size * 10**9, "bf16": bf16} for bf16, size in torch["gpus"]]}
    found = machine.gpus({"gpus": [{"name": "H", "bytes": 1, "driver": "580.1"}] * seen, "torch": torch})
    assert found.state == state
    assert says in found.found


def pretend(folder: Path, package: str, version: str) -> None:
    """Let whoever has this folder in PYTHONPATH take a package for another version."""
    info = folder / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


# A cluster


def test_a_dead_address_is_named_and_what_depends_on_it_is_not_left_out(doctor):
    done = doctor("--json", "--address", f"127.0.0.1:{free_port()}")
    assert done.returncode == 4
    found = findings(done)
    assert found["cluster"].state == "failed"
    assert "connection refused" in found["cluster"].found
    assert {found[check].state for check in cluster.CHECKS} == {"not made"}


def test_a_cluster_that_is_well_is_fit(doctor, head, house):
    done = doctor("--json", "--address", head.address, "--storage", house / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(done)
    assert (found["cluster"].state, found["protected"].state, found["token"].state, found["dashboard"].state) == ("ok",) * 4
    (node,) = by_node(done).values()
    assert set(node) == {"versions", "gpus", "cache disk", "temp disk", "storage", "hub"}
    assert (node["versions"].state, node["storage"].state, node["hub"].state) == ("ok",) * 3
    assert node["temp disk"].found.startswith(f"{house / 't'}: ")
    assert not [path for path in (house / "results").rglob("*doctor*")], "a probe was left behind"


def test_a_token_that_is_absent_wrong_or_open_to_others_is_unfit(doctor, head, tmp_path):
    absent = doctor("--json", "--address", head.address, RAY_AUTH_TOKEN_PATH="", HOME=str(tmp_path))
    assert absent.returncode == 4
    assert findings(absent)["protected"].state == "ok"
    assert "asks for a token" in findings(absent)["token"].found
    assert findings(absent)["nodes"].state == "not made"
    file = tmp_path / "token"
    file.write_text("0" * 64)
    file.chmod(0o644)
    shown = findings(doctor("--json", "--address", head.address, RAY_AUTH_TOKEN_PATH=str(file)))["token"]
    assert (shown.state, "chmod 600" in shown.remedy) == ("failed", True)
    file.chmod(0o600)
    wrong = doctor("--json", "--address", head.address, RAY_AUTH_TOKEN_PATH=str(file))
    assert wrong.returncode == 4
    assert "does not accept" in findings(wrong)["token"].found


@pytest.mark.slow
def test_a_dashboards_address_is_looked_at_from_the_head(doctor, head, house):
    done = doctor("--json", "--address", head.board, "--storage", house / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)["findings"]
    assert {"python", "storage", "protected", "nodes"} <= {each["check"] for each in answer if each["node"] == "head"}
    (node,) = by_node(done).values()
    assert (node["versions"].state, node["storage"].state) == ("ok", "ok")
    offline = doctor("--json", "--address", head.board, "--env", "HF_HUB_OFFLINE=1", HF_HUB_OFFLINE="")
    assert [each["state"] for each in json.loads(offline.stdout)["findings"] if each["check"] == "hub"] == ["note"]


@pytest.mark.slow
@pytest.mark.fault("F38", injected="a head that listens to others and asks for no token")
@needs_namespaces
@pytest.mark.fault("F38", injected="a head without tokens in a network of its own, seen from outside, from inside, and by its dashboard")
def test_an_open_cluster_that_others_reach_is_unfit(doctor, house):
    looks = {
        "10.77.0.1:6399": "whoever reaches it",
        "127.0.0.1:6399": "listens on all addresses",
        "http://10.77.0.1:8299": "whoever reaches it",
        "http://127.0.0.1:8299": "listens on all addresses",
    }
    script = f"""ip link set lo up; ip address add 10.77.0.1/24 dev lo
        RAY_AUTH_MODE=disabled ray start --head --node-ip-address=10.77.0.1 --port=6399 --num-cpus=1 --temp-dir={house}/o \\
            --dashboard-host=0.0.0.0 --dashboard-port=8299 >{house}/open.log 2>&1 || cat {house}/open.log
        for address in {" ".join(looks)}; do "$@" --address $address; echo "=== $?"; done"""
    prefix = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]
    done = doctor("--json", prefix=prefix, HF_HUB_OFFLINE="1")
    outputs = done.stdout.split("=== 4\n")
    assert len(outputs) == 1 + len(looks), done.stdout + done.stderr
    for output, says in zip(outputs, looks.values(), strict=False):
        found = {each["check"]: Finding(**each) for each in json.loads(output)["findings"]}
        assert found["protected"].state == "failed"
        assert says in found["protected"].found
        assert "RAY_AUTH_MODE=token" in found["protected"].remedy
        assert found["token"].state == "not made"


@pytest.fixture(scope="module")
def sick(head, house, environment):
    """What doctor says of a cluster with a node of other versions and another disk, and a node that hangs."""
    shared = house / "shared"
    shared.mkdir()
    pretend(house / "other", "torch", "9.9.9")
    base = environment | {"RAY_AUTH_MODE": "token"}
    script = f'mount -t tmpfs none {shared} && mount -t tmpfs -o size=4m none {house / "cache"} && exec "$@"'
    (house / "cache").mkdir(exist_ok=True)
    nodes = [
        Node(
            house, [f"--address={head.address}"], base | {"PYTHONPATH": str(house / "other")}, ["unshare", "-m", "sh", "-c", script, "sh"]
        ),
        Node(house, [f"--address={head.address}"], base),
    ]
    time.sleep(5)  # its processes have said hello
    (raylet,) = nodes[1].pids("raylet")
    os.kill(raylet, signal.SIGSTOP)
    try:
        command = [*COMMAND, "--json", "--address", head.address, "--storage", str(shared), "--seconds", "15"]
        yield subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, cwd="/tmp")
    finally:
        for node in nodes:
            node.end()


@pytest.mark.slow
@pytest.mark.fault("F37", injected="nodes that tell other versions")
@needs_namespaces
def test_nodes_that_differ_or_hang_are_named(sick):
    assert sick.returncode == 4, sick.stdout + sick.stderr
    nodes = by_node(sick)
    assert len(nodes) == 3
    assert len({name.partition("/")[0] for name in nodes}) == 1
    (hung,) = [found for found in nodes.values() if "answer" in found]
    (other,) = [found for found in nodes.values() if "answer" not in found and found["versions"].state == "failed"]
    (well,) = [found for found in nodes.values() if "answer" not in found and found["versions"].state == "ok"]
    assert "did not answer within 15 s" in hung["answer"].found
    assert hung["storage"].state == "not made"
    assert "torch 9.9.9 there and " in other["versions"].found
    assert (other["storage"].state, "does not see the file" in other["storage"].found) == ("failed", True)
    assert "a folder that all nodes share" in other["storage"].remedy
    assert other["cache disk"].state == "failed"
    assert (well["storage"].state, well["cache disk"].state) == ("ok", "ok")


@pytest.mark.parametrize(
    ("ray_says", "we_say"),
    [
        (
            "Version mismatch: The cluster was started with: Ray: 2.59.0 Python: 3.11.7 This process was started with: Ray: 2.60.0",
            "Ray: 2.59.0",
        ),
        ("Failed to connect to Ray cluster at 10.0.0.1:6379", "runs no node of the cluster"),
        ("something new", "something new"),
    ],
)
def test_why_ray_refuses_us_is_told(ray_says, we_say):
    found = cluster.refused(ray_says, "10.0.0.1:6379")
    assert (found.check, found.state) == ("join", "failed")
    assert we_say in found.found
    assert found.remedy


def test_what_nodes_have_in_common_is_shown_once_with_some_of_their_names():
    found = [Finding("hub", "ok", "answers", node=f"10.0.0.{i}") for i in range(9)] + [
        Finding("hub", "failed", "no", "mend it", "10.0.1.1")
    ]
    common, odd = (shown(each) for each in together(found))
    assert common == "ok       hub          10.0.0.0, 10.0.0.1 and 7 more: answers"
    assert odd == f"FAILED   hub          10.0.1.1: no\n{' ' * 22}remedy: mend it"


def test_a_clock_that_is_wrong_and_a_hub_that_nobody_asked_for_are_notes():
    here = {"python": "3.11", "versions": {"ray": "2.60.0"}}
    disk = {"path": "/d", "free": 10**11, "total": 10**12, "why": ""}
    facts = here | {"gpus": [], "torch": {"torch": "2", "cuda": None, "gpus": []}, "disks": {"cache": disk, "temp": disk}, "hub": None}
    node = {"facts": facts | {"now": 86_400.0}, "came": 0.0, "resources": {"CPU": 1, "GPU": 0}}
    found = {each.check: each for each in cluster.of_node(node, here, cluster.Ask(), "")}
    assert (found["clock"].state, found["clock"].found.partition(";")[0]) == ("note", "86400 s ahead")
    assert "clock" not in {each.check for each in cluster.of_node(node | {"came": 86_399.0}, here, cluster.Ask(), "")}
    silent = node | {"facts": node["facts"] | {"hub": "connection refused"}}
    for asked, state in ((False, "note"), (True, "failed")):
        assert {each.check: each.state for each in cluster.of_node(silent, here, cluster.Ask(hub=asked), "")}["hub"] == state
