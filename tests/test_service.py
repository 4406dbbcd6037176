"""Sweeps as jobs of a cluster: a real head that asks for a token, and the commands as a user types them."""

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import ray
from cluster_head import BIN, Head, Tunnel, free_ports
from toy import Toy

from xfer_ray.errors import SetupError
from xfer_ray.service import client, jobs, parcel

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAABCDEFGHIJKLMNOP",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIzzzK7MDENGzzzbPxRfiCYEXAMPLE",
    "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz012345",
}


@pytest.fixture(scope="module")
def head():
    """A cluster of one node, which asks for a token."""
    made = Head(cpus=2, protected=True)
    yield made
    made.stop()


class Laptop(Toy):
    """A toy sweep on a machine that knows the cluster's address and token; results are on a disk that the cluster shares."""

    def __init__(self, folder: Path, head: Head) -> None:
        super().__init__(folder)
        (folder / "home").mkdir()
        self.known = {"HOME": str(folder / "home"), "RAY_API_SERVER_ADDRESS": head.url, "RAY_AUTH_TOKEN_PATH": str(head.token_file)}
        self.head = head

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen:
        return super().start(*arguments, **(self.known | extra))

    def submit(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess:
        return self.command("submit", "toy.py", "--storage", str(self.folder / "results"), *arguments, **extra)

    def job(self, job: str) -> str:
        """All that the API tells about a job, its log included, as text."""
        told = ""
        for page in (f"/api/jobs/{job}", f"/api/jobs/{job}/logs"):
            asked = urllib.request.Request(self.head.url + page, headers={"Authorization": f"Bearer {self.head.token}"})
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as answer:
                told += answer.read().decode()
        return told


@pytest.fixture
def toy(tmp_path, head) -> Laptop:
    return Laptop(tmp_path, head)


def sentence(done: subprocess.CompletedProcess) -> str:
    """The one line that a refusal consists of."""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""
    return done.stderr.strip().removeprefix("xfer-ray: ")


def secrets_in(text: str, head: Head) -> list[str]:
    return [name for name, value in {**SECRETS, "token": head.token}.items() if value in text]


def test_without_the_token_a_job_is_refused_and_with_it_the_sweep_runs_like_in_process(toy, head, tmp_path):
    absent = toy.submit(RAY_AUTH_TOKEN_PATH="")
    assert absent.returncode == 4
    assert sentence(absent).startswith(f"the cluster at {head.url} asks for a token and there is none here: copy the cluster's into")
    (toy.folder / "wrong").write_text("0" * 48)
    (toy.folder / "wrong").chmod(0o600)
    wrong = toy.submit(RAY_AUTH_TOKEN_PATH=str(toy.folder / "wrong"))
    assert wrong.returncode == 4
    assert (
        sentence(wrong) == f"the cluster at {head.url} does not accept the token in {toy.folder}/wrong; copy the one that lies on its head"
    )

    done = toy.submit("--follow", **SECRETS)

    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    assert re.fullmatch(r"toy-[0-9a-f]{8}", job)
    for command in ("logs -f", "status --job", "stop"):
        assert f"xfer-ray {command} {job} --address {head.url}" in done.stderr
    cluster = rf"it runs on the cluster at {head.url}, Ray {ray.__version__}, 1 node: {re.escape(socket.gethostname())} \([\d.]+\)\n"
    assert re.search(cluster, done.stderr), done.stderr
    assert "toy: 6 of 6 trials done" in done.stderr
    told = toy.job(job)
    assert "6 of 6 trials done" in told
    assert secrets_in(told, head) == []
    logs = "".join(
        p.read_text(errors="replace") for p in (head.folder / "ray").rglob("*") if p.is_file() and p.suffix in (".log", ".out", ".err")
    )
    assert job in logs
    assert secrets_in(logs, head) == []
    left = "".join(p.read_bytes().decode(errors="replace") for p in toy.results.rglob("*") if p.is_file())
    assert secrets_in(left, head) == []
    (tmp_path / "calm").mkdir()
    undisturbed = Toy(tmp_path / "calm")
    shutil.copy(toy.folder / "toy.py", undisturbed.folder)
    assert undisturbed.run("--in-process").returncode == 0
    pd.testing.assert_series_equal(toy.scores(), undisturbed.scores())


@pytest.mark.slow
def test_what_lies_beside_a_sweep_reaches_the_workers_and_the_job_outlives_its_client(toy):
    text = (toy.folder / "toy.py").read_text()
    beside = "import beside\ndef load(corpus, split):\n    assert beside.WORD == open('parts/word.txt').read()\n"
    (toy.folder / "toy.py").write_text(text.replace("def load(corpus, split):\n", beside).replace("time.sleep(0.1", "time.sleep(3"))
    (toy.folder / "beside.py").write_text("WORD = 'hello'")
    (toy.folder / "parts").mkdir()
    (toy.folder / "parts" / "word.txt").write_text("hello")
    (toy.folder / ".env").write_text("stays here")
    client = toy.start("submit", "toy.py", "--storage", str(toy.folder / "results"), "--follow")
    job = client.stdout.readline().strip()
    client.send_signal(signal.SIGKILL)
    client.communicate()
    (toy.folder / "beside.py").unlink()
    shutil.rmtree(toy.folder / "parts")
    assert toy.committed() == []

    tunnel = Tunnel(toy.head.url)
    follower = toy.start("logs", "--follow", job, "--address", tunnel.url)
    first = follower.stdout.readline() + follower.stdout.readline()
    assert tunnel.cut() > 0
    out, err = follower.communicate(timeout=200)

    assert follower.returncode == 0, out + err
    shown = first + out
    assert [line[:5] for line in shown.splitlines() if line.startswith("[")] == [f"[{n}/6]" for n in range(1, 7)], shown
    assert shown.count("Running entrypoint") == 1
    assert len(toy.trained()) == 6
    packed = [p for p in (toy.head.folder / "ray").glob("session_2*/runtime_resources/working_dir_files/*/*") if "/_ray_pkg_" in str(p)]
    assert "beside.py" in {p.name for p in packed}
    assert ".env" not in {p.name for p in packed}


@pytest.mark.slow
def test_a_running_job_is_refused_a_second_time_left_by_ctrl_c_stopped_and_welcome_again(toy):
    toy.declare(seconds=1)
    toy.fault("ru.s1", "hold")
    job = toy.submit().stdout.strip()
    toy.wait_for(lambda: len(toy.committed()) == 5, seconds=180)

    twice = toy.submit()
    assert twice.returncode == 4
    assert sentence(twice).startswith(f"job {job} is already running just that; follow it with `xfer-ray logs -f {job} --address")

    follower = toy.start("logs", "-f", job)
    follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert f"job {job} goes on; follow it again with `xfer-ray logs -f {job}" in err

    stopped = toy.command("stop", job)
    assert stopped.returncode == 0, stopped.stderr
    assert f"job {job} stopped with 5 of 6 trials done; what is done stays done; go on with: xfer-ray submit toy.py" in stopped.stderr
    assert f"job {job} has already ended: it was stopped" in toy.command("stop", job).stderr

    again = toy.submit("--follow")
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == f"{job}-2"
    assert len(toy.committed()) == 6
    assert sorted(toy.trained()) == sorted(set(toy.trained())), "a trial that was done ran again"


def test_a_job_returns_what_the_run_returns(toy):
    toy.declare(languages=("en", "de"), seeds=(0,))
    toy.fault("de.s0", *["data"] * 3)
    done = toy.submit("--follow", "--max-failures", "0")
    assert done.returncode == 5, done.stderr
    assert "asked to fail" in done.stderr
    job = done.stdout.strip()
    assert toy.command("logs", "-f", job).returncode == 5

    told = subprocess.run(
        [BIN / "python", "-c", "import sys; from xfer_ray.cli import cluster; cluster.show_job(sys.argv[1], None, True)", job],
        env=os.environ | toy.known, capture_output=True, text=True, check=True,
    )  # fmt: skip
    facts = json.loads(told.stdout)
    assert (facts["job"], facts["state"], facts["exit_code"], facts["sweep"]) == (job, "failed", 5, "toy")
    assert facts["reason"] == "it ended with exit code 5"
    assert facts["storage"] == str(toy.folder / "results")


def test_an_unknown_job_is_named_with_the_nearest(toy):
    for command in (["logs", "toi"], ["logs", "-f", "toi"], ["stop", "toi"]):
        done = toy.command(*command)
        assert done.returncode == 2
        assert sentence(done).startswith("no job 'toi'")
    assert "no trial in results begins with 'toi' (there are none)" in sentence(toy.command("logs", "toi"))


def test_another_ray_and_a_head_without_agent_are_named(toy, other_api):
    other = toy.submit(RAY_API_SERVER_ADDRESS=other_api("2.9.0"))
    assert other.returncode == 4
    assert "runs Ray 2.9.0, and xfer-ray needs 2.60" in sentence(other)
    without = toy.submit(RAY_API_SERVER_ADDRESS=other_api(__import__("ray").__version__))
    assert without.returncode == 4
    assert "has no agent for jobs; install ray[default] there" in sentence(without)


class Api(http.server.BaseHTTPRequestHandler):
    """The Jobs API as a head without an agent answers it."""

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        pages = {"/api/version": json.dumps({"version": "4", "ray_version": self.version}), "/api/jobs/": "[]"}
        self.answer(200 if self.headers.get("Authorization") else 401, pages.get(self.path, ""))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(500, "No available agent to submit job, please try again later.")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def other_api():
    """Stand-ins for a Jobs API of another version, and of a head whose agent is absent."""
    servers = []

    def start(version: str) -> str:
        made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Api", (Api,), {"version": version}))
        threading.Thread(target=made.serve_forever, daemon=True).start()
        servers.append(made)
        return f"http://127.0.0.1:{made.server_address[1]}"

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


# ------------------------------------------------------------------------------ without a cluster


MISUSE = [
    (["--storage", "results"], "--storage 'results' differs from node to node; give s3://…, gs://…, az://…, or an absolute path that all"),
    (["--storage", "~/results"], "--storage '~/results' differs from node to node"),
    (["--storage", "ftp://host/results"], "--storage 'ftp://host/results' differs from node to node"),
    (["--storage", "/r", "--seeds", "4-"], "--seeds '4-' is not like '0-4', '3' or '0,2,5-7'"),
    (["--storage", "/r", "--only", "source=fr-O"], "no source in sweep toy 'fr-O'"),
    (["--storage", "/r", "--gpus-per-trial", "many"], "--gpus-per-trial 'many' is neither 'auto' nor a number"),
    (["--storage", "/r", "--working-dir", "faults"], "--working-dir faults does not hold toy.py; give a folder above it"),
    (["--storage", "/r", "--env", "HF_HUB_OFFLINE"], "--env 'HF_HUB_OFFLINE' is not like NAME=VALUE"),
    (["--storage", "/r", "--env", "HF_TOKEN=x"], "--env HF_TOKEN sounds like a secret"),
    (["--storage", "/r", "--env", "A=hf_abcdefghijklmnopqrstuvwxyz012345"], "an option holds what looks like a token or key"),
    (["--storage", "s3://AKIAABCDEFGHIJKLMNOP:wJalrXUtnFEMIzzzK7@bucket/r"], "an option holds what looks like a token or key"),
    (["--storage", "/r", "--address", "auto"], "'auto' is not the address of a dashboard; give one like http://127.0.0.1:8265"),
]


@pytest.fixture
def alone(tmp_path, monkeypatch) -> Toy:
    """A toy sweep where no cluster is known."""
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Toy(tmp_path)


@pytest.mark.parametrize(("arguments", "said"), MISUSE, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_misuse_is_refused_here_with_one_sentence(alone, arguments, said):
    done = alone.command("submit", "toy.py", *arguments)
    assert done.returncode == 2
    assert said in sentence(done)
    assert "hf_abc" not in done.stderr
    assert "wJalr" not in done.stderr


def test_a_wrong_sweep_is_refused_here(alone):
    (alone.folder / "toy.py").write_text("SWEEP = 1")
    done = alone.command("submit", "toy.py", "--storage", "/r")
    assert (done.returncode, sentence(done)) == (2, "toy.py declares no SWEEP = Sweep(name, trials); found int")


def test_a_dead_address_is_named_within_seconds(alone):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    for command in (["submit", "toy.py", "--storage", "/r"], ["logs", "toy-1"], ["stop", "toy-1"]):
        done = alone.command(*command, "--address", url)
        assert done.returncode == 4
        assert sentence(done).startswith(f"no Ray dashboard answers at {url}: connection refused")


def test_the_log_of_a_trial_comes_from_the_files(alone):
    assert alone.run("--in-process", "--only", "seed=0").returncode == 0
    trial = alone.committed()[0].removesuffix(".parquet")
    for where in ("results", "results/toy", str(alone.results)):
        done = alone.command("logs", trial, "--storage", where)
        assert done.returncode == 0
        assert f"UTC {trial} on " in done.stdout
    waiting = next(p["trial"] for p in json.loads((alone.results / "sweep.json").read_text())["trials"] if p["seed"] == 1)
    done = alone.command("logs", waiting)
    assert (done.returncode, sentence(done)) == (3, f"trial {waiting} has no log yet: it has not begun")
    done = alone.command("logs", trial[:-1] + ("0" if trial[-1] != "0" else "1"))
    assert done.returncode == 2
    assert f"did you mean '{trial}'" in sentence(done)


def test_the_beginning_of_a_trials_name_is_enough_where_it_is_the_only_one(alone):
    assert alone.run("--in-process", "--only", "seed=0").returncode == 0
    (alone.folder / "results" / "torn").mkdir()
    (alone.folder / "results" / "torn" / "sweep.json").write_text("{")  # is no obstacle
    trials = {".".join(name.split(".")[2:4])[:7]: name.removesuffix(".parquet") for name in alone.committed()}
    whole = trials["en-O.s0"]
    for name, where in ((whole[:-1], []), (whole[:-4], ["--storage", "results"]), ("toy.toy-model.en-O.s0", ["--storage", "results/toy"])):
        done = alone.command("logs", name, *where)
        assert done.returncode == 0, done.stderr
        assert f"UTC {whole} on " in done.stdout
    for where in ([], ["--storage", "results"]):
        done = alone.command("logs", "toy.toy-model.en", *where)
        assert done.returncode == 2
        assert sentence(done).startswith("'toy.toy-model.en' begins the names of 2 trials; give more of it: toy.toy-model.en-O.s0-")
    done = alone.command("logs", "toy.toy-model.fr", "--storage", "results")
    assert (done.returncode, sentence(done)[:27]) == (2, "no trial 'toy.toy-model.fr'")
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    for job in (["toy-0123abcd", "--storage", "results"], ["raysubmit_x"]):
        assert sentence(alone.command("logs", *job, "--address", dead)).startswith("no Ray dashboard answers")


def test_a_name_that_is_no_trials_is_refused_with_those_that_there_are(alone):
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    empty = alone.command("logs", "nosuch", RAY_API_SERVER_ADDRESS=dead)
    assert (empty.returncode, sentence(empty)) == (
        2, "no trial in results begins with 'nosuch' (there are none), and no job can be looked for: no Ray dashboard answers at "
        f"{dead}: connection refused; start the cluster, or let `ray dashboard cluster.yaml` run beside this",
    )  # fmt: skip
    assert alone.run("--in-process", "--only", "seed=0").returncode == 0
    trial = alone.committed()[0].removesuffix(".parquet")
    unknown = sentence(alone.command("logs", trial[:4] + trial[5:-2], RAY_API_SERVER_ADDRESS=dead))
    assert f"(there are {trial}, toy.toy-model." in unknown, "the nearest first"
    odd = alone.command("logs", "a b")
    assert odd.returncode == 2
    assert sentence(odd).startswith(
        "'a b' is not the id of a job, as `submit` printed it, and no trial in results begins with 'a b' (there are toy."
    )
    for command in (["stop", "a b"], ["status", "--job", "a b"]):
        said = (2, "'a b' is not the id of a job; give it as `submit` printed it, such as mine-1f2e3d4c")
        done = alone.command(*command)
        assert (done.returncode, sentence(done)) == said


def test_following_is_for_jobs_and_a_trial_that_runs_has_no_log_yet(alone):
    assert alone.run("--in-process", "--only", "seed=0").returncode == 0
    trial = alone.committed()[0].removesuffix(".parquet")
    done = alone.command("logs", "-f", trial)
    assert (done.returncode, sentence(done)) == (
        2, f"--follow is for jobs, and '{trial}' is a trial, whose log is written when an attempt at it ends; leave --follow out, or follow "
        "the job that runs it",
    )  # fmt: skip
    waiting = next(p["trial"] for p in json.loads((alone.results / "sweep.json").read_text())["trials"] if p["seed"] == 1)
    (alone.results / "running").mkdir(exist_ok=True)
    (alone.results / "running" / f"{waiting}.json").write_text('{"host": "a", "step": 1, "steps": 2, "at": "2026-01-01T00:00:00+00:00"}')
    done = alone.command("logs", waiting)
    assert (done.returncode, sentence(done)) == (3, f"trial {waiting} has no log yet: it is running, and writes one when it ends")


def test_a_command_on_a_job_names_the_cluster_in_any_shell():
    assert client.hint("stop", "toy-1", client.ADDRESS) == f"xfer-ray stop toy-1 --address {client.ADDRESS}"


def test_a_token_file_that_others_may_read_is_named_where_a_cluster_is_joined_and_only_there(alone):
    file = alone.folder / "token"
    file.write_text("0" * 48)
    file.chmod(0o644)
    warning = f"xfer-ray: the token file {file} has mode 0644, so others may read it; run: chmod 600 {file}"
    joining = alone.command("run", "toy.py", "--address", "127.0.0.1:1", RAY_AUTH_TOKEN_PATH=str(file))
    assert joining.stderr.splitlines()[0] == warning
    alone_here = alone.command("run", "toy.py", "--in-process", RAY_AUTH_TOKEN_PATH=str(file))
    assert "token" not in alone_here.stderr


@pytest.mark.parametrize(
    ("state", "code", "returned"), [("SUCCEEDED", 0, 0), ("FAILED", 6, 6), ("FAILED", -9, 137), ("STOPPED", None, 143)]
)
def test_how_a_job_ended_is_what_following_it_returns(state, code, returned):
    assert jobs.exit_code(SimpleNamespace(status=state, driver_exit_code=code, message=""), "toy-1") == returned


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (127, "", "could not start: the cluster's head has no `xfer-ray` on its PATH"),
        (None, "Trace\nthe node died.\n", "failed: the node died"),
    ],
)
def test_a_job_that_never_ran_is_an_error_with_a_sentence(code, message, said):
    with pytest.raises(SetupError, match=f"job toy-1 {said}"):
        jobs.exit_code(SimpleNamespace(status="FAILED", driver_exit_code=code, message=message), "toy-1")


# ------------------------------------------------------------------------------ what travels


def test_the_same_files_give_the_same_archive_without_what_was_made(tmp_path):
    folder = tmp_path / "mine"
    for name in ("mine.py", "data/de.tsv", "small/model.safetensors", ".git/config", ".env", "results/mine/sweep.json", "env/pyvenv.cfg",
                 "out/mine/sweep.json", "__pycache__/mine.pyc", "key.pem", "old/draft.py", "big/notes.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "env" / "python").write_text("")
    (folder / "loop").symlink_to(folder)
    (folder / ".rayignore").write_text("# not these\n/old/\n")
    parcel.pack(folder, tmp_path / "1.zip", ["big"])
    (folder / "mine.py").touch()
    parcel.pack(folder, tmp_path / "2.zip", ["big"])
    assert sorted(zipfile.ZipFile(tmp_path / "1.zip").namelist()) == ["data/de.tsv", "mine.py", "small/model.safetensors"]
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_a_folder_that_is_too_large_is_refused_naming_the_biggest(tmp_path, monkeypatch):

    monkeypatch.setattr(parcel, "LIMIT", 2**20)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_bytes(os.urandom(2 * 2**20))
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(SetupError) as refused:
        parcel.pack(tmp_path, tmp_path.parent / "too-large.zip")
    assert "larger than the 1 MiB that Ray takes; the biggest: models (2 MiB)" in str(refused.value)
    assert "--exclude NAME" in str(refused.value)
