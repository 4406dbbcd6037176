"""What a hostile tester found once, and must not find again."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from toy import Toy

from xfer_ray import folders, sweepfile
from xfer_ray.desk import Placement
from xfer_ray.errors import DataError, SetupError
from xfer_ray.models.memory import Room
from xfer_ray.service import parcel
from xfer_ray.storage import Storage
from xfer_ray.sweep import capacity, connecting

SWEEP = """
from xfer_ray import Corpus, Example, Sweep, Task, grid
from xfer_ray.models import MAJORITY
LIMIT = 5
LIMIT += {more}
if True:
    EXTRA = {extra}
def shout(text):
    return text
def shout(text):
    return text.{case}()
def load(corpus, split):
    return [Example(str(i), shout("a"), "", (str(EXTRA),)) for i in range(LIMIT)]
EN = Corpus("en")
SWEEP = Sweep("s", grid(tasks=[Task(name="t", sources=(EN,), targets=(EN,), load=load, labels=("1", "2"))], models=[MAJORITY], seeds=[0]))
"""


def _digest(folder: Path, more: int = 1, extra: int = 1, case: str = "upper") -> str:
    file = folder / f"s{more}{extra}{case}.py"
    file.write_text(SWEEP.format(more=more, extra=extra, case=case))
    return sweepfile.read(file)[0].trials[0].digest


def test_whatever_a_load_stands_on_is_part_of_the_trials_name(tmp_path):
    digests = {_digest(tmp_path), _digest(tmp_path, more=2), _digest(tmp_path, extra=2), _digest(tmp_path, case="lower")}
    assert len(digests) == 4


@pytest.mark.parametrize("marker", [b"", b"{", b"\xff\xfe", b"[]", b'{"a": 1}'])
def test_a_damaged_marker_is_told_as_damage(tmp_path, marker):
    store = Storage(str(tmp_path / "results"))
    store.replace("x/complete.json", marker)
    with pytest.raises(DataError, match=r"complete.json is damaged"):
        folders.copy(store, "x", tmp_path)


def test_folders_that_lead_in_circles_are_walked_once(tmp_path):
    for name, links in {"a": {"x": "../b", "y": "."}, "b": {"z": "../a", "w": ".."}}.items():
        (tmp_path / name).mkdir()
        for link, to in links.items():
            (tmp_path / name / link).symlink_to(to)
    (tmp_path / "a" / "file.txt").write_text("text")
    assert set(parcel._files(tmp_path, ())) == {"a/file.txt", "b/z/file.txt"}


def test_a_secret_in_an_address_does_not_travel(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://me:hunter2secret@mirror.example")
    with pytest.raises(SetupError, match="HF_ENDPOINT holds what looks like a secret") as caught:
        connecting.worker_environment(Placement(), None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "max_workers: null", ": : :", "max_workers: 1\nhead_node_type: h\navailable_node_types: 3"])
def test_an_autoscaler_without_a_sound_configuration_is_named(tmp_path, monkeypatch, text):
    (tmp_path / "ray.yaml").write_text(text)
    monkeypatch.setattr(capacity, "_autoscaling_config", lambda address: tmp_path / "ray.yaml")
    with pytest.raises(SetupError, match="the autoscaler's configuration .* cannot be read"):
        capacity._node_types("127.0.0.1:1")


@pytest.mark.parametrize("says", ["CUDA error: out of memory", "cuBLAS: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"])
def test_what_cuda_itself_says_of_memory_is_known(says):
    with Room() as room:
        raise RuntimeError(says)
    assert room.said
    with pytest.raises(RuntimeError), Room():
        raise RuntimeError("shapes differ")


def test_a_sweep_file_that_prints_leaves_json_whole(tmp_path):
    toy = Toy(tmp_path)
    sweep = tmp_path / "toy.py"
    sweep.write_text("print('hello')\n" + sweep.read_text())
    done = toy.command("plan", "toy.py", "--json")
    assert json.loads(done.stdout)["counts"]["to_run"] == 6
    assert "hello" in done.stderr


@pytest.mark.slow
def test_a_job_in_the_background_of_a_script_does_not_look_finished_when_it_is_stopped(tmp_path):
    """There the shell lets SIGINT be ignored, and Python keeps that."""
    toy = Toy(tmp_path)
    toy.declare(seconds=3)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        driver = toy.start("run", "toy.py")
    finally:
        signal.signal(signal.SIGINT, before)
    toy.wait_for(lambda: list((toy.results / "running").glob("*.json")), 100)
    os.kill(driver.pid, signal.SIGINT)
    _, err = driver.communicate(timeout=100)
    assert driver.returncode == 130, err
    assert "go on with: xfer-ray run toy.py" in err


@pytest.mark.slow
def test_a_worker_told_to_leave_prints_a_sentence_and_its_trial_is_done_though_none_may_fail(tmp_path):
    toy = Toy(tmp_path)
    toy.declare(seeds=(0,), seconds=4)
    driver = toy.start("run", "toy.py", "--only", "source=en-O", "--max-failures", "0")
    toy.wait_for(lambda: list((toy.results / "running").glob("*.json")), 100)
    workers = [p for p in Path("/proc").glob("[0-9]*") if _runs_here(p, tmp_path)]
    assert len(workers) == 1
    os.kill(int(workers[0].name), signal.SIGTERM)
    _, err = driver.communicate(timeout=100)
    assert driver.returncode == 0, err
    assert re.search(r"again    toy\.toy-model\.en-O\.s0-[0-9a-f]+: asked to leave at step", err), err
    assert "Traceback" not in err
    assert len(toy.committed()) == 1
    assert not list((toy.results / "failures").glob("*")), "a notice is nobody's failure"


def _runs_here(process: Path, folder: Path) -> bool:
    try:
        ours = f"XFER_RAY_CACHE={folder}/".encode() in (process / "environ").read_bytes()
        return ours and (process / "cmdline").read_bytes().startswith(b"ray::TrialRunner ")
    except OSError:
        return False


def test_a_scratch_folder_that_cannot_be_written_is_told_before_any_trial(tmp_path):
    toy = Toy(tmp_path)
    toy.declare()
    run = toy.command("run", "toy.py", "--in-process", XFER_RAY_CACHE="/proc/nowhere")
    assert run.returncode == 6
    assert "the scratch folder /proc/nowhere cannot be written to" in run.stderr
    assert "set XFER_RAY_CACHE to a folder that can" in run.stderr
    assert not toy.trained()
