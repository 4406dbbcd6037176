"""Going on from checkpoints of which some are damaged or gone, and the copies of them that a node holds meanwhile."""

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from xfer_ray.keeping import Checkpoints, clear_done
from xfer_ray.models import encoder
from xfer_ray.results import Results
from xfer_ray.storage import open_storage

TRAIN, DEV = tiny.examples(60), tiny.examples(25, seed=1)
RECIPE = replace(tiny.RECIPE, epochs=None, steps=16, select_every=4, dropout=0.1)
SCORES = {4: 0.9, 8: 0.5, 12: 0.6, 16: 0.7}  # by step: the best is the oldest


class Killed(Exception):
    """As a worker that is lost."""


class Run:
    """A trial that is tried again and again: what an attempt finds, trains and leaves."""

    def __init__(self, folder: Path, *, keep_all: bool = False) -> None:
        self.folder, self.keep_all = folder, keep_all
        self.results = Results(open_storage(str(folder / "results")), "mine")
        self.kept = folder / "results" / self.results.checkpoints("tiny")
        self.steps: list[int] = []

    def attempt(self, until=lambda step: None):
        """Fine-tune, telling each step to `until`, which may raise; `steps` are those that were trained."""
        self.steps = []

        def report(step, steps):
            self.steps.append(step)
            until(step)

        context = replace(
            tiny.context(tiny.bert(self.folder / "bert"), self.folder / "cache"),
            report=report,
            score=lambda answers: SCORES[self.steps[-1] + 1],
            keeper=Checkpoints(self.results, "tiny", self.folder / "cache", seconds=600, keep_all=self.keep_all),
        )
        return encoder.fine_tune(tiny.TASK, TRAIN, DEV, RECIPE, 0, context)

    def killed_after(self, last: int) -> None:
        def until(step):
            if step == last:
                raise Killed

        with pytest.raises(Killed):
            self.attempt(until)


def flip(kept: Path, step: int) -> None:
    file = kept / f"step-{step}" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def lose(kept: Path, step: int) -> None:
    (kept / f"step-{step}" / "complete.json").unlink()


def weights(tuned, folder: Path):
    tuned.save(folder)
    return load_file(folder / "model.safetensors")


def same(one, other, folder: Path) -> bool:
    mine, theirs = weights(one, folder / "one"), weights(other, folder / "other")
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.fault(
    "F23", injected="the best checkpoint, which is not the newest, is damaged or lost its marker; then the trial is tried again"
)
@pytest.mark.parametrize("damage", [flip, lose])
def test_a_lost_best_checkpoint_is_made_again(tmp_path, caplog, damage):
    run = Run(tmp_path / "damaged")
    run.killed_after(13)
    assert {marker.parent.name for marker in run.kept.glob("*/complete.json")} == {"step-4", "step-12"}
    damage(run.kept, 4)
    tuned = run.attempt()
    assert run.steps == list(range(1, 17))
    assert "an earlier checkpoint, or none, is gone on from" in caplog.text
    undisturbed = Run(tmp_path / "undisturbed").attempt()
    assert (tuned.step, tuned.curve) == (undisturbed.step, undisturbed.curve) == (4, tuple(SCORES.items()))
    assert same(tuned, undisturbed, tmp_path)


@pytest.mark.fault("F23", injected="the best checkpoint is damaged or lost its marker in the last step")
@pytest.mark.parametrize("damage", [flip, lose])
def test_what_is_lost_at_the_end_is_made_again_by_the_next_attempt(tmp_path, damage):
    run = Run(tmp_path)
    with pytest.raises(LookupError, match="the checkpoint of step 4 was damaged or gone; the next attempt makes it again"):
        run.attempt(lambda step: damage(run.kept, 4) if step == 16 else None)
    assert run.attempt().step == 4
    assert run.steps == list(range(1, 17))


@pytest.mark.fault("F23", injected="a checkpoint among those that the oracle chooses from is damaged")
def test_with_every_checkpoint_kept_a_run_goes_on_before_the_first_damaged_one(tmp_path):
    run = Run(tmp_path / "damaged", keep_all=True)
    run.killed_after(13)
    flip(run.kept, 8)
    tuned = run.attempt()
    assert run.steps == list(range(5, 17))
    undisturbed = Run(tmp_path / "undisturbed", keep_all=True).attempt()
    for step in SCORES:
        tuned.at(step), undisturbed.at(step)
        assert same(tuned, undisturbed, tmp_path / str(step))


@pytest.mark.parametrize("damage", [flip, lose])
def test_what_the_oracle_misses_is_made_again_by_the_next_attempt(tmp_path, damage):
    run = Run(tmp_path, keep_all=True)
    tuned = run.attempt()
    damage(run.kept, 8)
    tuned.at(4)
    with pytest.raises(LookupError, match="step 8"):
        tuned.at(8)
    tuned = run.attempt()
    assert run.steps == list(range(5, 17))
    for step in SCORES:
        tuned.at(step)


# ------------------------------------------------------------------------------ copies on a node


def _checkpoints(folder: Path) -> Checkpoints:
    keeper = Checkpoints(Results(open_storage(str(folder / "results")), "mine"), "trial", folder / "cache", seconds=600, keep_all=True)
    for step in (1, 2):
        keeper.save(step, lambda into: (into / "weights").write_text("weights"))
    return keeper


def test_two_attempts_at_one_trial_on_one_node_leave_each_other_alone(tmp_path):
    one, other = _checkpoints(tmp_path), _checkpoints(tmp_path)
    mine, theirs = one.fetch(1), other.fetch(2)
    assert (mine / "weights").read_text() == (theirs / "weights").read_text() == "weights"
    other.fetch(1)
    assert mine.is_dir()
    assert not theirs.exists(), "one copy at a time"
    other.clear()
    assert mine.is_dir()
    del one
    gc.collect()
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["lock"]


HOLDS = """
import sys
from pathlib import Path
from xfer_ray.keeping import Checkpoints, clear_done
from xfer_ray.results import Results
from xfer_ray.storage import open_storage
folder = Path(sys.argv[1])
keeper = Checkpoints(Results(open_storage(str(folder / "results")), "mine"), "trial", folder / "cache", seconds=600)
print(keeper.fetch(1), flush=True)
input()
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next_attempt(tmp_path):
    _checkpoints(tmp_path)
    command = [sys.executable, "-c", HOLDS, tmp_path]
    ends, dies = (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2))
    gone, left = (Path(process.stdout.readline().strip()) for process in (ends, dies))
    assert gone.is_dir()
    ends.communicate("\n", timeout=60)
    assert not gone.exists()
    _checkpoints(tmp_path)
    assert left.is_dir(), "it is in use"
    dies.kill()
    dies.communicate(timeout=60)
    assert left.is_dir()
    _checkpoints(tmp_path)
    assert not left.parent.exists()


def test_what_a_trial_left_that_was_killed_after_its_commit_is_removed_by_the_next_run(tmp_path):
    results = Results(open_storage(str(tmp_path)), "mine")
    for trial in ("done", "going"):
        Checkpoints(results, trial, tmp_path / "cache", seconds=0.0).save(
            4, lambda folder: (folder / "model.safetensors").write_bytes(b"1")
        )
    clear_done(results, {"done"})
    left = results.storage.sizes(results.folder("checkpoints"))
    assert left
    assert all(name.startswith("going/step-4/") for name in left)
