"""A trial that is asked to leave saves itself first; one that has stalled is ended; a node with other versions refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from xfer_ray import notice, records, scoring
from xfer_ray.core import Model, Task, Trial
from xfer_ray.desk import Desk
from xfer_ray.errors import UnfitError
from xfer_ray.results import Results, is_done, read_predictions
from xfer_ray.sources import Corpus, Examples
from xfer_ray.storage import Storage
from xfer_ray.trial import attempt, run

EN, DE = Corpus("en"), Corpus("de", "HT", Corpus("en"))


def load(corpus, split) -> Examples:
    return tiny.examples(60, seed=len(split))


TASK = Task(name="tiny", sources=(EN,), targets=(EN, DE), load=load, labels=tiny.LABELS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("bert"))


def _trial(checkpoint: Path) -> Trial:
    return Trial(task=TASK, model=Model(name="tiny", family="encoder", checkpoint=str(checkpoint), recipe=tiny.RECIPE), source=EN, seed=0)


def _desk(folder: Path, **more) -> Desk:
    return Desk(Results(Storage(str(folder / "results")), "sweep"), folder / "scratch", **more)


@pytest.mark.fault("F10", injected="a real encoder is asked to leave after step 11 of 32")
def test_a_trial_that_is_asked_to_leave_loses_no_step_but_the_one_it_was_in(checkpoint, tmp_path):
    trial, asked = _trial(checkpoint), iter([False] * 10 + [True] * 90)
    undisturbed = _desk(tmp_path / "undisturbed")
    run(trial, undisturbed)
    desk = _desk(tmp_path, leave=lambda: next(asked))
    with pytest.raises(notice.Interrupted, match="asked to leave at step 12 of 32"):
        run(trial, desk)
    assert not is_done(desk.results, trial.id)
    kept = [path for path in desk.results.storage.sizes(desk.results.checkpoints(trial.id)) if path.endswith("complete.json")]
    assert kept == ["step-12/complete.json"]  # told after step 11, so step 12 was saved, and no other
    steps = []
    run(trial, replace(desk, leave=lambda: False, alive=lambda: steps.append(1)))
    assert len(steps) < 32 - 12 + 10  # the rest of the steps, and the answers' batches
    assert read_predictions(desk.results, trial.id).equals(read_predictions(undisturbed.results, trial.id))


def test_an_interruption_is_no_failure(checkpoint, tmp_path):
    trial, desk = _trial(checkpoint), _desk(tmp_path, leave=lambda: True)
    with pytest.raises(notice.Interrupted):
        attempt(trial, desk)
    assert records.failed(desk.results) == set()
    assert records.running(desk.results) == set()


def test_a_notice_after_the_last_step_lets_the_trial_finish():
    leaving = notice.Leaving(lambda: True)
    leaving.heed(9, 10)
    leaving.heed(10, 10)


def test_sigterm_is_a_notice_only_within_its_block():
    before = signal.getsignal(signal.SIGTERM)
    with notice.heeded():
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.given()
    assert signal.getsignal(signal.SIGTERM) == before
    with notice.heeded():
        assert not notice.given()  # the next trial of a warm worker begins without it


STALLING = """
import sys, time
from pathlib import Path
from xfer_ray import notice
def stalled(stacks):
    Path(sys.argv[1]).write_text(stacks)
with notice.watch(1.0, stalled) as alive:
    for _ in range(20):
        time.sleep(0.1)
        alive()
    print("still alive", flush=True)
    time.sleep(60)
"""


def test_a_process_that_gives_no_sign_of_life_is_ended_and_says_where_it_was(tmp_path):
    done = subprocess.run([sys.executable, "-c", STALLING, str(tmp_path / "stacks")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (notice.STALLED, "still alive")
    assert "time.sleep(60)" in (tmp_path / "stacks").read_text() or "<string>" in (tmp_path / "stacks").read_text()


def test_a_watch_of_zero_seconds_watches_nothing():
    with notice.watch(0, lambda stacks: pytest.fail(stacks)) as alive:
        alive()
        time.sleep(0.2)


@pytest.mark.fault("F37", injected="a sweep that was planned with another transformers")
def test_a_node_with_other_versions_refuses_and_names_both(checkpoint, tmp_path):
    planned = json.loads(scoring.versions()) | {"transformers": "4.0.0", "python": "2.7"}
    trial, desk = _trial(checkpoint), _desk(tmp_path, versions=json.dumps(planned))
    here = json.loads(scoring.versions())["transformers"]
    with pytest.raises(UnfitError, match=f"has transformers {here} where the sweep has 4.0.0; install the same versions on every node"):
        attempt(trial, desk)
    assert records.read_failure(desk.results, trial.id).attempts == 1
    attempt(trial, replace(desk, versions=scoring.versions()))
    assert is_done(desk.results, trial.id)
