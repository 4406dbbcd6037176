"""Workers that die, fail, stall or are told to leave while they run trials: what is lost, and what is there in the end."""

import os
import signal

import pytest
from chaos.disturbed import invariants, processes_at, results_of, steps, stepwise

from xfer_ray import records
from xfer_ray.results import done

pytestmark = pytest.mark.slow

ALL = list(range(1, 11))


@pytest.fixture(scope="module")
def battered(tmp_path_factory, undisturbed):
    """A sweep on Ray in which something else befalls each of six trials; it has ended."""
    toy = stepwise(tmp_path_factory.mktemp("battered") / "sweep", seconds=0.3)
    toy.fault("en.s0", "kill")
    toy.fault("en.s1", "before-scores")
    toy.fault("de.s0", "after-scores")
    toy.fault("de.s1", "in-checkpoint")
    toy.fault("ru.s0", "raise", "raise", "raise")
    toy.fault("ru.s1", "torn")
    run = toy.run()
    assert not list((toy.folder / "faults").iterdir()), "a fault did not happen"
    invariants(toy, undisturbed, run.returncode, 5, failed=["ru.s0"])
    return toy, run.stderr


def log_of(toy, source: str, seed: int) -> str:
    [file] = (toy.results / "logs").glob(f"*{source}*.s{seed}-*.log")
    return file.read_text()


@pytest.mark.fault("F1", injected="SIGKILL to itself in step 5 of 10, checkpoints after steps 3 and 6")
def test_a_worker_killed_in_a_step_goes_on_from_its_last_checkpoint(battered):
    toy, said = battered
    assert steps(toy, "en.s0") == [1, 2, 3, 4, 5, *ALL[3:]]
    assert len(processes_at(toy, "en.s0")) == 2
    assert "again    toy.toy-model.en-O.s0" in said


@pytest.mark.fault("F2", injected="SIGKILL in the place of the put of the scores")
def test_a_worker_killed_between_predictions_and_scores_writes_both_again(battered):
    toy, said = battered
    assert "again    toy.toy-model.en-O.s1" in said
    assert toy.trained().count("en.s1") == 2
    assert steps(toy, "en.s1") == [*ALL, 10], "it went on from the last checkpoint"


@pytest.mark.fault("F3", injected="SIGKILL right after the put of the scores")
def test_a_worker_killed_after_its_scores_does_nothing_again(battered):
    toy, said = battered
    assert "again    toy.toy-model.de-HT-en.s0" in said
    assert toy.trained().count("de.s0") == 1
    assert steps(toy, "de.s0") == ALL


@pytest.mark.fault("F4", injected="SIGKILL when half of the checkpoint of step 6 is written")
def test_half_a_checkpoint_counts_for_nothing(battered):
    toy, said = battered
    assert "again    toy.toy-model.de-HT-en.s1" in said
    assert steps(toy, "de.s1") == [*ALL[:6], *ALL[3:]]


@pytest.mark.fault("F5", injected="an exception in each of three attempts")
def test_a_trial_that_always_fails_is_listed_with_its_traceback_and_tried_by_the_next_run(battered, undisturbed):
    toy, said = battered
    assert said.count("again    toy.toy-model.ru-HT-en.s0") == 2
    assert said.count("failed   toy.toy-model.ru-HT-en.s0") == 1
    assert "tracebacks are in results/toy/failures" in said
    found = results_of(toy)
    [trial] = records.failed(found) - done(found)
    failure = records.read_failure(found, trial)
    assert failure.attempts == 3
    assert 'RuntimeError("asked to fail")' in failure.traceback
    again = toy.run("--in-process")
    invariants(toy, undisturbed, again.returncode)


@pytest.mark.fault("F23", injected="the newest checkpoint loses its last byte, then SIGKILL")
def test_a_damaged_checkpoint_is_told_and_an_older_one_taken(battered):
    toy, said = battered
    assert "again    toy.toy-model.ru-HT-en.s1" in said
    assert steps(toy, "ru.s1") == [*ALL[:7], *ALL[3:]]
    assert "step-6/state is damaged: its sha256 is not the one in complete.json" in log_of(toy, "ru", 1)


@pytest.fixture(scope="module")
def pressed(tmp_path_factory, undisturbed):
    """A sweep on Ray of two trials: one worker gets SIGTERM from outside, one trial hangs; nothing may count as a failure twice."""
    toy = stepwise(tmp_path_factory.mktemp("pressed") / "sweep", seconds=4, seeds=(0,), languages=("en", "de", "ru"))
    toy.fault("de.s0", "hold")
    driver = toy.start("run", "toy.py", "--stall-minutes", "0.3", "--max-failures", "1")
    toy.wait_for(lambda: 4 in steps(toy, "en.s0"), 200)
    assert len(processes_at(toy, "en.s0")) == 1, driver.communicate()
    worker = processes_at(toy, "en.s0")[0]
    os.kill(worker, signal.SIGTERM)
    _, said = driver.communicate(timeout=240)
    invariants(toy, undisturbed, driver.returncode)
    return toy, said


@pytest.mark.fault("F10", injected="SIGTERM to the process of a worker in step 4 of 10")
def test_a_worker_told_to_leave_saves_its_step_and_loses_none(pressed):
    toy, said = pressed
    taken = steps(toy, "en.s0")
    assert sorted(set(taken)) == ALL
    assert len(taken) <= 11, f"more than one step was taken twice: {taken}"
    assert len(processes_at(toy, "en.s0")) == 2, "nobody was told to leave"
    assert "again    toy.toy-model.en-O.s0" in said
    assert "asked to leave" in said
    failures = toy.results / "failures"
    assert not list(failures.glob("*en-O.s0*")), "it counted as a failure"


@pytest.mark.fault("F30", injected="a sleep of ten minutes in step 5, with --stall-minutes 0.3")
def test_a_trial_that_hangs_is_ended_and_tried_again(pressed):
    toy, said = pressed
    assert steps(toy, "de.s0") == [1, 2, 3, 4, 5, *ALL[3:]]
    assert "again    toy.toy-model.de-HT-en.s0" in said
    assert "stalled: no step and no answer for 0.3 minutes" in said
    [failure] = [records.read_failure(results_of(toy), path.stem) for path in (toy.results / "failures").glob("*de-HT-en.s0*.json")]
    assert "time.sleep(600)" in failure.traceback or "befall" in failure.traceback, "the record does not say where it hung"


OTHER_TORCH = """
import importlib.metadata

real = importlib.metadata.version
importlib.metadata.version = lambda name: "1.0.0" if name == "torch" else real(name)
"""


@pytest.mark.fault("F37", injected="a sitecustomize.py that only workers find lets torch be of version 1.0.0")
def test_a_worker_with_another_torch_refuses_and_names_both(tmp_path, undisturbed):
    import importlib.metadata

    toy = stepwise(tmp_path / "sweep")
    (toy.folder / "sitecustomize.py").write_text(OTHER_TORCH)
    run = toy.run("--max-failures", "0", "--only", "source=en-O,seed=0")
    assert steps(toy, "en.s0") == [], "it worked with other versions"
    assert f"has torch 1.0.0 where the sweep has {importlib.metadata.version('torch')}" in run.stderr
    assert run.returncode == 5, run.stderr
    assert toy.status()["counts"] == {"done": 0, "to_run": 5, "failed": 1, "blocked": 0}
    (toy.folder / "sitecustomize.py").unlink()
    invariants(toy, undisturbed, toy.run("--in-process").returncode)
