"""`plan --probe`: what a sweep will take, told by a few steps of it, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xfer_ray.plan import Estimate, Part

SWEEP = """
import time
from xfer_ray import Corpus, Example, Model, Recipe, Sweep, Task, grid
from xfer_ray.contract import FineTuned
from xfer_ray.models import MAJORITY

STEP, ANSWER = 0.02, 0.002

def load(corpus, split):
    return [Example(str(i), f"{split} {i}", "", ("yes",)) for i in range({"train": 1000, "dev": 150}.get(split, 400))]

def slow(task, train, select, recipe, seed, context):
    print("fine-tuning")
    steps = recipe.steps or recipe.epochs * -(-len(train) // recipe.batch_size)
    for step in range(steps):
        time.sleep(STEP)
        context.report(step + 1, steps)
    def predict(examples):
        time.sleep(ANSWER * len(examples))
        return ["yes"] * len(examples)
    return FineTuned(predict, step=steps, steps=steps)

def broken(task, train, select, recipe, seed, context):
    raise RuntimeError("asked to fail")

CORPORA = (Corpus("en"), Corpus("de", "HT", Corpus("en")))
TASK = Task(name="little", sources=CORPORA, targets=CORPORA, load=load, labels=("yes", "no"), select_split="dev")

def model(name, family=slow, **recipe):
    return Model(name=name, family=family, recipe=Recipe(learning_rate=0.1, batch_size=2, **recipe))

STEPS, EPOCHS, CHOOSING = model("steps", steps=500), model("epochs", epochs=2), model("choosing", steps=500, select_every=100)
ABSENT = Model(name="absent", family="encoder", checkpoint="./absent", recipe=Recipe(learning_rate=0.1, batch_size=2, steps=9))
SWEEP = Sweep("mine", grid(tasks=[TASK], models=[%s], seeds=[0]))
"""


class Folder:
    """A folder with a sweep file of some models."""

    def __init__(self, path: Path, models: str) -> None:
        self.path = path
        (path / "mine.py").write_text(SWEEP % models)

    def command(self, *arguments: str) -> str:
        program = [sys.executable, "-c", "from xfer_ray.cli import main; main()", *arguments]
        environment = {**os.environ, "XFER_RAY_CACHE": str(self.path / "cache")}
        return subprocess.run(program, capture_output=True, text=True, check=True, cwd=self.path, env=environment, timeout=120).stdout

    def seconds(self) -> float:
        """Of one trial."""
        estimate = json.loads(self.command("plan", "mine.py", "--probe", "--json"))["estimate"]
        assert (estimate["from"], estimate["gpu_hours"], estimate["disk_bytes"], estimate["covered"]) == ("probe", None, None, 2)
        return estimate["worker_hours"] * 3600 / 2


# A sleep is never shorter than asked; that it is longer on a busy machine says nothing, but it is not four times as long.
@pytest.mark.parametrize(("model", "steps", "answers"), [("STEPS", 500, 800), ("EPOCHS", 1000, 800), ("CHOOSING", 500, 800 + 5 * 150)])
def test_a_probe_scales_steps_and_answers_to_the_whole_trial_and_writes_no_results(tmp_path, model, steps, answers):
    known = 0.02 * steps + 0.002 * answers
    assert known <= Folder(tmp_path, model).seconds() < 4 * known
    assert not (tmp_path / "results").exists()


def test_what_cannot_be_probed_is_named_and_what_is_blocked_is_not_probed(tmp_path):
    told = Folder(tmp_path, "MAJORITY, ABSENT, model('broken', broken, steps=1)").command("plan", "mine.py", "--probe")
    assert "  2 blocked because checkpoint folder ./absent does not exist; " in told
    assert [line for line in told.splitlines() if "not probed" in line] == ["  not probed: little with broken: asked to fail"]
    assert "  estimate: unknown for 2 of 4 trials until one trial of each task and model is committed\n" in told


def test_committed_trials_tell_before_a_probe_does(tmp_path):
    folder = Folder(tmp_path, "MAJORITY, model('short', steps=3)")
    folder.command("run", "mine.py", "--in-process", "--only", "source=en-O,model=majority")
    assert "until one trial of each task and model is committed, or with --probe\n" in folder.command("plan", "mine.py")
    assert json.loads(folder.command("plan", "mine.py", "--probe", "--json"))["estimate"]["from"] == "committed trials and probe"
    told = folder.command("plan", "mine.py", "--probe")
    assert " of one worker: 1 trial from committed trials; 2 trials from a probe on this machine (CPU" in told


def test_hours_of_a_gpu_are_known_where_every_model_that_takes_one_ran_on_one():
    on_gpu, floor = Part("probe", 2, 7200.0, 3600.0, None, "H200"), Part("committed trials", 1, 3600.0, 0.0, 10, "cpu")
    assert Estimate(3, (on_gpu, floor)).gpu_hours == 1.0
    assert Estimate(3, (on_gpu, floor)).worker_hours == 3.0
    assert Estimate(4, (on_gpu, floor)).worker_hours is None
    assert Estimate(4, (on_gpu, floor, Part("probe", 1, 3600.0, None, None, "cpu"))).gpu_hours is None
    assert Estimate(1, (floor,)).gpu_hours is None
