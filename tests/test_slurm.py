"""The Slurm script, with stand-ins for Slurm's own commands: a token, closed folders, and both kinds of notice."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from toy import Toy

ROOT = Path(__file__).resolve().parents[1]
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
echo "srun $*" | head -1 >> {log}
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> {log}
[ "$1" = show ] && echo localhost
exit 0
"""


class Slurm:
    """One node, this machine: `srun` runs its command here, `scontrol` names the node and notes what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.toy, self.home, self.log = Toy(folder / "toy"), folder / "home", folder / "slurm.log"
        (folder / "bin").mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (folder / "bin" / name).write_text(text.format(log=self.log))
            (folder / "bin" / name).chmod(0o755)
        self.started: list[subprocess.Popen] = []
        self.job = random.randrange(10**6, 2 * 10**6)
        self.temp = Path(f"/tmp/xfer-ray-{self.job}")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "SLURM_JOB_ID": str(self.job),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_SUBMIT_DIR": str(self.toy.folder),
            "SLURM_CPUS_PER_TASK": "1",
            "XFER_RAY_VENV": str(Path(sys.prefix)),
            "XFER_RAY_HEAD_IP": "127.0.0.1",
            "XFER_RAY_CACHE": str(folder / "cache"),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen:
        command = ["bash", str(ROOT / "deploy" / "slurm.sh"), *arguments]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        return process


@pytest.fixture
def slurm(tmp_path):
    for name in ("toy", "home"):
        (tmp_path / name).mkdir()
    made = Slurm(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slurm_job_runs_the_sweep_behind_a_token_and_leaves_nothing(slurm):
    slurm.toy.declare(languages=("en", "de"), seeds=(0,), seconds=5)
    process = slurm.start("toy.py")
    slurm.toy.wait_for(lambda: (slurm.toy.results / "sweep.json").exists(), 240)
    folder = slurm.home / ".xfer-ray-jobs" / str(slurm.job)
    token = (folder / "token").read_text()
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(slurm.temp.stat().st_mode) == 0o700
    dashboard = f"http://127.0.0.1:{10000 + slurm.job % 2000 * 10 + 7}/api/version"
    assert knock(dashboard) == 401
    assert knock(dashboard, token) == 200
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    assert "Ray runs on 1 nodes: localhost" in out
    assert token not in out
    assert len(slurm.toy.committed()) == 2
    assert not slurm.temp.exists()
    assert not folder.exists()
    assert "requeue" not in slurm.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_notice_ends_the_slurm_job_and_only_the_time_limit_queues_it_again(slurm, number, again):
    slurm.toy.declare(languages=("en", "de"), seeds=(0, 1), seconds=20)
    process = slurm.start("toy.py")
    slurm.toy.wait_for(lambda: list((slurm.toy.results / "running").glob("*.json")), 240)
    process.send_signal(number)
    out, _ = process.communicate(timeout=240)
    assert process.returncode in (143, 5), out
    assert len(slurm.toy.committed()) < 4
    assert (f"scontrol requeue {slurm.job}" in slurm.log.read_text()) == again
    assert not slurm.temp.exists()


def test_a_slurm_script_outside_a_job_says_how_it_is_used():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    done = subprocess.run(["bash", str(ROOT / "deploy" / "slurm.sh"), "toy.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr


def knock(url: str, token: str = "") -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + 60
    while True:
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < end, "the dashboard did not come"
            time.sleep(0.5)
