"""A checkpoint in the making bears what a trial does: notices, stalls, kills, a memory too small; it loses no step and no byte."""

import hashlib
import itertools
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_pretrain import BERT, words
from toy import Toy

from xfer_ray import making, notice, pretrained, records
from xfer_ray.desk import Desk
from xfer_ray.errors import SetupError
from xfer_ray.models import objectives
from xfer_ray.results import Results
from xfer_ray.storage import Storage

torch.set_num_threads(1)
HERE = str(Path(__file__).parent)


def desk_in(folder: Path, **more) -> Desk:
    return Desk(Results(Storage(str(folder / "results")), "sweep"), folder / "scratch", **more)


def made(pretraining, desk: Desk) -> str:
    making.make(pretraining, desk, lambda step, steps: None)
    return weights(desk.results.storage, pretraining)


def weights(storage: Storage, pretraining) -> str:
    return hashlib.sha256(storage.read(f"{pretrained.folder(pretraining)}/model.safetensors")).hexdigest()


def kept(storage: Storage, pretraining) -> list[str]:
    """The steps whose checkpoints are complete."""
    names = storage.sizes(f"{pretrained.folder(pretraining)}/checkpoints/pretraining")
    return [name.partition("/")[0] for name in names if name.endswith("complete.json")]


def test_one_that_is_asked_to_leave_saves_its_step_and_goes_on_to_the_same_bytes(tmp_path):
    undisturbed = made(BERT, desk_in(tmp_path / "undisturbed"))
    asked = iter([False] * 3 + [True] * 5)
    desk = desk_in(tmp_path, leave=lambda: next(asked))
    with pytest.raises(notice.Interrupted, match="asked to leave at step 5 of 8"):
        made(BERT, desk)
    assert kept(desk.results.storage, BERT) == ["step-5"]  # told after step 4
    steps = []
    making.make(BERT, replace(desk, leave=lambda: False), lambda step, of: steps.append(step))
    assert steps == [6, 7, 8]
    assert weights(desk.results.storage, BERT) == undisturbed
    assert kept(desk.results.storage, BERT) == []


# ------------------------------------------------------------------------------ memory


@pytest.fixture
def device(monkeypatch):
    """A device with room for so many rows, call after call, and the sizes that were too much for it."""
    held = SimpleNamespace(room=itertools.repeat(8), refused=[])
    original = objectives.MaskedLoss.forward

    def forward(self, inputs, labels):
        torch.rand(3)  # what was drawn before it failed must not matter
        if len(inputs) > next(held.room):
            held.refused.append(len(inputs))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB left.")
        return original(self, inputs, labels)

    monkeypatch.setattr(objectives.MaskedLoss, "forward", forward)
    return held


def test_micro_batches_are_halved_until_they_fit_and_teach_the_same(tmp_path, device):
    parts = made(replace(BERT, micro_batch=2), desk_in(tmp_path / "parts"))
    assert device.refused == []
    device.room = itertools.chain([7, 4], itertools.repeat(3))  # of two halves the first one fits
    assert made(BERT, desk_in(tmp_path / "tight")) == parts
    assert device.refused == [8, 4]  # what fitted once is kept


def test_a_row_that_does_not_fit_is_told(tmp_path, device):
    device.room = itertools.repeat(0)
    with pytest.raises(
        SetupError,
        match=r"^a single row and its gradient does not fit the memory of the device: CUDA out of memory; .* a smaller max_length \(now 32\)",
    ):
        made(BERT, desk_in(tmp_path))


def test_the_optimizer_may_be_what_does_not_fit(tmp_path, monkeypatch):
    def step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(
        SetupError, match="the state of the optimizer does not fit the memory of the device: CUDA out of memory; .*adafactor"
    ):
        made(BERT, desk_in(tmp_path))


# ------------------------------------------------------------------------------ attempts


def test_a_failure_is_recorded_with_its_log(tmp_path):
    desk = desk_in(tmp_path)
    outcome = making.attempt(replace(BERT, vocabulary=3), desk)
    name = making.name_of(replace(BERT, vocabulary=3))
    assert (outcome.trial, outcome.state) == (name, "failed")
    assert records.read_failure(desk.results, name).error == outcome.reason
    assert "Traceback" in desk.results.storage.read(desk.results.log(name)).decode()


def test_reading_text_is_a_sign_of_life_before_the_first_step(tmp_path):
    signs, steps = [], []
    desk = desk_in(tmp_path, alive=lambda: signs.append(len(steps)))
    making.make(BERT, desk, lambda step, of: steps.append(step))
    assert signs.count(0) > len(words(0)["en"])


STALLING = """
import sys, time
sys.path.insert(0, {tests!r})
from dataclasses import replace
from pathlib import Path
import test_making
from xfer_ray.models import pretraining
def hanging(seed):
    time.sleep(60)
test_making.making.attempt(replace(test_making.BERT, text=hanging), test_making.desk_in(Path(sys.argv[1]), stall_seconds=2.0))
"""


def test_one_that_hangs_is_ended_and_says_where_it_was(tmp_path):
    done = subprocess.run([sys.executable, "-c", STALLING.format(tests=HERE), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == notice.STALLED, done.stderr
    [record] = (tmp_path / "results/sweep/failures").glob("pretraining-*.json")
    failure = records.read_failure(desk_in(tmp_path).results, record.stem)
    assert failure.error.startswith("stalled: no step and no answer for 0.0333333 minutes")
    assert "in hanging" in failure.traceback


# ------------------------------------------------------------------------------ in a sweep

SWEEP = """
import sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
import test_pretrain

def befall(kind, step):
    if kind == "slow":
        time.sleep(0.2)
    if kind == "kill" and step == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "leave" and step == 20:
        os.kill(os.getpid(), signal.SIGTERM)

def words(seed):
    kind = fault("checkpoint", seed)
    from xfer_ray.keeping import Checkpoints
    due, steps = Checkpoints.due, []
    def watched(self):
        steps.append(1)
        befall(kind, len(steps))
        return due(self)
    Checkpoints.due = watched
    sys.path.insert(0, {tests!r})
    import test_pretrain
    return test_pretrain.words(seed)

MADE = replace(TOY_MODEL, name="made", checkpoint=replace(test_pretrain.BERT, text=words, steps=60))
SWEEP = Sweep("toy", grid(tasks=[TOY], models=[MADE], sources=["en-O"], seeds=[0]))
del test_pretrain
"""


@pytest.mark.slow
def test_a_checkpoint_of_a_sweep_bears_a_stop_a_kill_and_a_notice(tmp_path):
    from xfer_ray import sweepfile

    toy = Toy(tmp_path)
    toy.declare(languages=("en", "de"), seeds=(0,))
    file = tmp_path / "toy.py"
    file.write_text(file.read_text() + SWEEP.format(tests=HERE))
    declared = sweepfile.read(file)[0].trials[0].model.checkpoint
    storage, name = Storage(str(tmp_path / "results")), making.name_of(declared)
    toy.fault("checkpoint.s0", "slow", "kill", "leave")
    driver = toy.start("run", "toy.py")
    toy.wait_for(lambda: (toy.results / "running" / f"{name}.json").exists() or driver.poll() is not None, 120)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=90)
    assert driver.returncode == 130, said
    assert "stopped with 0 of 1 trials done; go on with: xfer-ray run toy.py" in said
    [stopped] = kept(storage, declared)
    assert not list((toy.results / "running").glob("*"))

    again = toy.run("--max-failures", "1", "--checkpoint-minutes", "0")
    assert again.returncode == 0, again.stderr
    assert f"again    {name}: the worker died" in again.stderr
    left = re.search(rf"again    {name}: asked to leave at step (\d+) of 60", again.stderr)
    log = storage.read(f"toy/logs/{name}.log").decode()  # the one that was killed could leave none
    assert re.findall(r"going on from step (\d+)\n", log)[-1] == left[1]
    assert int(left[1]) == int(stopped.removeprefix("step-")) + 19 + 20 + 1  # killed in the 20th, told in the 20th, left after the next
    assert not list((tmp_path / "faults").glob("*"))
    assert records.read_failure(Results(storage, "toy"), name).attempts == 1, "a notice counted as a failure"
    assert weights(storage, declared) == made(replace(BERT, steps=60), desk_in(tmp_path / "undisturbed"))


# ------------------------------------------------------------------------------ the command

FILE = """
import os, signal, sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_pretrain
HERE = Path({here!r})
(HERE / "driver").write_text(str(os.getpid()))

def words(seed):
    from xfer_ray.keeping import Checkpoints
    due, steps = Checkpoints.due, []
    def watched(self):
        steps.append(1)
        if len(steps) == 20 and (HERE / "stop").exists():
            os.kill(int((HERE / "driver").read_text()), signal.SIGINT)
        if len(steps) > 20 and (HERE / "stop").exists():
            time.sleep(0.2)  # until everybody has heard
        return due(self)
    Checkpoints.due = watched
    sys.path.insert(0, {tests!r})
    import test_pretrain
    return test_pretrain.words(seed)

PRETRAINING = replace(test_pretrain.BERT, text=words, steps=60)
del test_pretrain
"""


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_ctrl_c_saves_what_the_command_makes(tmp_path, workers):
    from xfer_ray import sweepfile

    toy, file, stop = Toy(tmp_path), tmp_path / "small.py", tmp_path / "stop"
    file.write_text(FILE.format(tests=HERE, here=str(tmp_path)))
    stop.touch()
    done = toy.command("pretrain", "small.py", "--workers", workers, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "stopping: what is running saves itself, for at most 30 s; once more stops at once" in done.stderr
    assert f"stopped; go on from the last checkpoint with: xfer-ray pretrain small.py --workers {workers}" in done.stderr
    stop.unlink()
    [declared] = sweepfile.pretrainings(file)[0].values()
    desk = desk_in(tmp_path)
    [saved] = kept(desk.results.storage, declared)
    steps: list[int] = []
    making.make(declared, desk, lambda step, of: steps.append(step))
    assert saved == f"step-{steps[0] - 1}"
    assert 20 < steps[0] < 60
    if workers == "1":
        assert weights(desk.results.storage, declared) == made(replace(BERT, steps=60), desk_in(tmp_path / "undisturbed"))
