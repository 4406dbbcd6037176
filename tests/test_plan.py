"""A trial whose corpus nobody has made yet is blocked, by name, in `plan` and in `run`, and the others go their way."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import committed
import pytest

from xfer_ray import plan, sweepfile
from xfer_ray.core import Trial
from xfer_ray.errors import DeclarationError
from xfer_ray.models import MAJORITY
from xfer_ray.planfile import PlannedTrial
from xfer_ray.recipe import Recipe
from xfer_ray.results import Results
from xfer_ray.sources import Corpus
from xfer_ray.storage import open_storage
from xfer_ray.tasks import TYDIQA, XNLI, XQUAD

ENGLISH, TRANSLATED, OPUS = (Corpus.parse(text) for text in ("en-O", "de-MT-en", "de-MT-en~opus"))
SWEEP = """
from dataclasses import replace
from xfer_ray import Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.tasks import TYDIQA
TASK = replace(TYDIQA, targets=TYDIQA.targets[:1], metrics=("accuracy",))
SWEEP = Sweep("mine", grid(tasks=[TASK], models=[MAJORITY], sources=["en-O", "de-MT-fi"]))
"""
REASON = "the folder translated/tydiqa/de-MT-fi does not exist; make it with `xfer-ray translate tydiqa --split train --from fi --to de --translator ...`"


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    program = [sys.executable, "-c", "from xfer_ray.cli import main; main()", *arguments]
    environment = {**os.environ, "XFER_RAY_CACHE": str(folder / "cache")}
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "mine.py").write_text(SWEEP)
    return tmp_path


def test_plan_names_what_is_blocked(folder, mirror):
    found = json.loads(command(folder, "plan", "mine.py", "--mirror", str(mirror), "--json").stdout)
    assert {trial["source"]: (trial["state"], trial["reason"]) for trial in found["trials"]} == {
        "en-O": ("to_run", None),
        "de-MT-fi": ("blocked", REASON),
    }
    assert found["counts"] == {"done": 0, "to_run": 1, "failed": 0, "blocked": 1}
    text = command(folder, "plan", "mine.py", "--mirror", str(mirror)).stdout
    assert text.startswith("mine: 2 trials, 0 done, 1 to run, 1 blocked\n")
    assert f"\n  1 blocked because {REASON}\n" in text


def test_run_does_the_others_and_names_what_is_blocked(folder, mirror):
    done = command(folder, "run", "mine.py", "--mirror", str(mirror), "--in-process")
    assert done.returncode == 5
    assert "mine: 1 of 2 trials done\n" in done.stderr
    assert f": {REASON}\n" in done.stderr
    assert "  blocked tydiqa.majority.de-MT-fi.s0-" in done.stderr
    assert [path.name.rpartition("-")[0] for path in (folder / "results/mine/scores").iterdir()] == ["tydiqa.majority.en-O.s0"]


def test_a_trial_is_blocked_by_what_it_reads_and_by_nothing_else(tmp_path, monkeypatch):
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    labelled = replace(XQUAD, sources=(ENGLISH, TRANSLATED, OPUS))
    trials = [Trial(labelled, MAJORITY, source, 0) for source in labelled.sources]
    reason = "the folder translated/xquad/de-MT-en~opus does not exist; make it with `xfer-ray translate xquad --split train --from en --to de --label opus --translator ...`"
    assert plan.blocked(trials) == {trials[2].id: reason}
    for name in ("train.parquet", "card.json"):
        (tmp_path / "translated/xquad/de-MT-en~opus").mkdir(parents=True, exist_ok=True)
        (tmp_path / "translated/xquad/de-MT-en~opus" / name).touch()
    assert plan.blocked(trials) == {}
    choosing = replace(MAJORITY, recipe=Recipe(steps=2, select_every=1, learning_rate=0.5, batch_size=1))
    chooser = Trial(labelled, choosing, OPUS, 0)
    assert plan.blocked([chooser])[chooser.id].startswith("the folder translated/xquad/de-MT-en~opus holds no validation.parquet; ")


def test_sources_that_are_compared_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    alone = Trial(XQUAD, MAJORITY, ENGLISH, 0)
    together = replace(alone, task=replace(XQUAD, sources=(ENGLISH, OPUS), load=replace(XQUAD.load, shared_by=(ENGLISH, OPUS))))
    assert list(plan.blocked([alone, together])) == [together.id]


def test_a_mirror_without_a_repository_blocks_what_reads_it(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    trials = [Trial(XQUAD, MAJORITY, ENGLISH, 0), Trial(XQUAD, MAJORITY, TRANSLATED, 0), Trial(TYDIQA, MAJORITY, ENGLISH, 0)]
    assert plan.blocked(trials) == {trials[1].id: f"the mirror {mirror} has no folder juletxara/xquad_xtreme"}


def test_pairs_too_wait_for_a_labelled_translation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = Trial(replace(XNLI, sources=(TRANSLATED, OPUS)), MAJORITY, OPUS, 0)
    assert list(plan.blocked([replace(trial, source=TRANSLATED), trial])) == [trial.id]


def test_a_sweep_of_the_paper_has_the_trials_of_its_table(tmp_path, monkeypatch):
    from sweeps import tydiqa_ar, tydiqa_fi, xquad

    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    sweeps = [one.SWEEP for one in (xquad, tydiqa_fi, tydiqa_ar)]
    assert [len(sweep.trials) for sweep in sweeps] == [9, 8, 8]
    blocked = [plan.blocked(sweep.trials) for sweep in sweeps]
    assert [len(found) for found in blocked] == [3, 8, 8]  # the checkpoint of mT5-Uniform; every translation of TyDi QA
    assert {trial.model.name for trial in sweeps[0].trials if trial.id in blocked[0]} == {"mt5-uniform"}
    first = "the folder translated/tydiqa/en-MT-ar does not exist; make it with `xfer-ray translate tydiqa --split train --from ar --to en --translator ...`"
    assert {blocked[2][trial.id] for trial in sweeps[2].trials if trial.model.name == "mt5-base"} == {
        first,
        *(first.replace("en-MT-ar", f"{code}-MT-ar").replace("--to en", f"--to {code}") for code in ("de", "ru")),
    }


def test_only_the_repositories_that_a_trial_reads_are_resolved(mirror, monkeypatch, tmp_path):
    from xfer_ray import revisions
    from xfer_ray.models import MBERT, PAPER_QA

    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    trial = Trial(XQUAD, replace(MBERT, recipe=PAPER_QA), Corpus("en"), 0)
    found = revisions.resolve(Results(open_storage(str(tmp_path)), "mine"), [trial])
    assert found == {"google/xquad": "mirror", "rajpurkar/squad": "mirror", "google-bert/bert-base-multilingual-cased": "mirror"}


def test_a_checkpoint_that_two_sweep_files_share_is_one(monkeypatch):
    """One sweep file is run, the other is imported by it: the module has another name, and the declaration is the same."""
    root = Path(__file__).resolve().parents[1]
    monkeypatch.chdir(root)
    xquad, _ = sweepfile.read(Path("sweeps/xquad_mirror.py"))
    tydiqa, _ = sweepfile.read(Path("sweeps/tydiqa_mirror.py"))
    digests = [{t.model.checkpoint.digest for t in sweep.trials if t.model.name == "mt5-small-mirror"} for sweep in (xquad, tydiqa)]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 1


def test_a_file_of_checkpoints_is_no_sweep_and_says_what_makes_them():
    path = Path(__file__).resolve().parents[1] / "sweeps" / "mt5_uniform.py"
    with pytest.raises(DeclarationError) as refused:
        sweepfile.read(path)
    assert str(refused.value).endswith(f"what it declares to be pre-trained is made by `xfer-ray pretrain {path}`")


def test_what_another_sweep_of_the_storage_has_done_is_named_and_costs_nothing(tmp_path):
    theirs = committed.sweep_in(tmp_path, seeds=1)
    ours = Results(theirs.storage, "mine")
    shared = PlannedTrial("other.tiny.en-O.s0-" + committed.DIGEST, "other", "tiny", "en-O", 0, committed.DIGEST)
    own = PlannedTrial("other.tiny.en-O.s1-" + "f" * 12, "other", "tiny", "en-O", 1, "f" * 12)
    states = plan.states(ours, [shared, own], {})
    assert [(state.state, state.reason) for state in states] == [("to_run", "sweep toy has done it: taken over, not run"), ("to_run", "")]
    assert plan.estimate(ours, states, {}).trials == 1
    assert plan.unpriced(states) == [own.trial]
    assert plan.states(theirs, [PlannedTrial(committed.trial_name(), "toy", "tiny", "en-O", 0, committed.DIGEST)], {})[0].state == "done"
