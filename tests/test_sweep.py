"""Whole sweeps on local Ray, run as a user runs them: by the command line, in a process of its own."""

import json
import re
import signal
import subprocess

import pandas as pd
import pytest
from toy import Toy


@pytest.fixture
def toy(tmp_path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pd.Series:
    """The scores that a run without Ray and without faults gives: what every other run must equal."""
    toy = Toy(tmp_path_factory.mktemp("undisturbed"))
    assert toy.run("--in-process").returncode == 0
    return toy.scores()


def assert_whole(toy: Toy, undisturbed: pd.Series, trials: int = 6) -> None:
    """Every planned trial is there exactly once, its scores are those of an undisturbed run, and nothing is left running."""
    pd.testing.assert_series_equal(toy.scores(), undisturbed)
    status = toy.status()
    assert status["counts"] == {"done": trials, "to_run": 0, "failed": 0, "blocked": 0}
    assert sorted(f"{t['trial']}.parquet" for t in status["trials"]) == toy.committed()
    assert not list((toy.results / "running").glob("*"))


def test_a_sweep_runs_once_and_grows_by_what_is_added(toy, undisturbed):
    first = toy.run()
    assert first.returncode == 0, first.stderr
    assert "toy: 6 of 6 trials done" in first.stderr
    assert "next: xfer-ray tables results/toy" in first.stderr
    assert_whole(toy, undisturbed)

    again = toy.run()
    assert (again.returncode, len(toy.trained())) == (0, 6), again.stderr

    toy.declare(seeds=(0, 1, 2))
    grown = toy.run()
    assert grown.returncode == 0, grown.stderr
    assert sorted(toy.trained()[6:]) == ["de.s2", "en.s2", "ru.s2"]
    toy.declare(languages=("en", "de", "ru"), seeds=(0, 1, 2))
    assert "[9/9]" in grown.stderr

    tables = toy.command("tables", "results/toy", "--format", "csv")
    assert tables.returncode == 0, tables.stderr
    assert tables.stdout.splitlines()[0] == "task,model,source,values,runs,en-O,de-HT-en,ru-HT-en,->Rest,->All"
    assert [line.split(",")[2:5] for line in tables.stdout.splitlines()[1:]] == [
        ["en-O", "relative", "3"],
        ["de-HT-en", "advantage", "3"],
        ["ru-HT-en", "advantage", "3"],
    ]


@pytest.mark.fault("F5", injected="an exception in each of three attempts; unfit data")
def test_a_failing_trial_stops_no_other_and_says_why_at_once(toy, undisturbed):
    toy.fault("de.s0", "data")
    toy.fault("ru.s1", "raise", "raise", "raise")
    run = toy.run()
    assert run.returncode == 5, run.stderr
    trial = r"toy\.toy-model\.{}-[0-9a-f]{{12}}"
    assert re.search(rf"failed   {trial.format('de-HT-en.s0')}: the training data is bad: asked to fail", run.stderr)
    assert len(re.findall(rf"again    {trial.format('ru-HT-en.s1')}: RuntimeError: asked to fail", run.stderr)) == 2
    assert re.search(rf"failed   {trial.format('ru-HT-en.s1')}: RuntimeError: asked to fail", run.stderr)
    assert "2 failed; tracebacks are in results/toy/failures" in run.stderr
    assert toy.status()["counts"] == {"done": 4, "to_run": 0, "failed": 2, "blocked": 0}

    assert toy.run("--in-process").returncode == 0  # the faults are used up
    assert_whole(toy, undisturbed)


@pytest.mark.slow
def test_fail_fast_stops_the_sweep(toy):
    toy.declare(seconds=1)
    toy.fault("en.s0", "raise")
    run = toy.run("--fail-fast", "--max-failures", "0", "--max-concurrent", "1")
    assert run.returncode == 5, run.stderr
    assert len(toy.committed()) < 3


@pytest.mark.slow
@pytest.mark.fault("F1", injected="SIGKILL to itself in a trial without checkpoints")
def test_a_killed_worker_is_replaced_and_the_trial_done_again(toy, undisturbed):
    toy.fault("de.s1", "kill")
    [trial] = [t["trial"] for t in json.loads(toy.command("plan", "toy.py", "--json").stdout)["trials"] if ".de-HT-en.s1-" in t["trial"]]
    earlier = {"error": "stalled: in another run", "traceback": "", "attempts": 2, "host": ""}
    (toy.results / "failures").mkdir(parents=True)
    (toy.results / "failures" / f"{trial}.json").write_text(json.dumps(earlier))
    run = toy.run()
    assert run.returncode == 0, run.stderr
    assert f"again    {trial}: the worker died" in run.stderr
    assert "another run" not in run.stderr, "what an earlier run recorded is no reason of this one"
    assert_whole(toy, undisturbed)


@pytest.mark.fault("F8", injected="SIGKILL to the command while a trial hangs")
def test_a_killed_driver_loses_nothing_that_was_committed(toy, undisturbed):
    toy.declare(seconds=1)
    toy.fault("ru.s1", "hold")
    driver = toy.start("run", "toy.py")
    toy.wait_for(lambda: len(toy.committed()) >= 3)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    kept = toy.committed()
    toy.fault("ru.s1")
    (toy.folder / "faults" / "ru.s1").unlink()
    before = len(toy.trained())
    assert toy.run("--in-process").returncode == 0
    again = toy.trained()[before:]  # a worker that outlived its driver may have ended its own trial, too
    assert len(again) >= 6 - len(kept)
    done = {
        f"{language}.s{seed}"
        for language in ("en", "de", "ru")
        for seed in (0, 1)
        for name in kept
        if f".{language}-" in name and f".s{seed}-" in name
    }
    assert len(done) == len(kept)
    assert done.isdisjoint(again), "what was committed is not trained again"
    assert_whole(toy, undisturbed)


@pytest.mark.fault("F2", injected="SIGKILL in the place of the put of the scores, without Ray")
def test_a_driver_killed_between_predictions_and_scores_evaluates_again(toy, undisturbed):
    program = (
        "import os, signal\nfrom xfer_ray import commit\n"
        "commit.put_scores = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from xfer_ray.cli import main\nmain()"
    )
    command = [toy.start("--help").args[0], "-c", program, "run", "toy.py", "--in-process"]
    killed = subprocess.run(command, cwd=toy.folder, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((toy.results / "predictions").glob("*.parquet"))) == 1
    assert toy.committed() == []
    assert toy.run("--in-process").returncode == 0
    assert_whole(toy, undisturbed)


@pytest.mark.slow
@pytest.mark.fault("F9", injected="SIGINT or SIGTERM to the command")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_says_how_to_go_on(toy, undisturbed, number, code):
    toy.declare(seconds=1)
    driver = toy.start("run", "toy.py")
    toy.wait_for(lambda: len(toy.committed()) >= 2)
    driver.send_signal(number)
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == code, err
    assert re.search(r"stopped with \d of 6 trials done; go on with: xfer-ray run toy.py", err)
    assert "Traceback" not in err
    assert not list((toy.results / "running").glob("*"))
    assert toy.run("--in-process").returncode == 0
    assert_whole(toy, undisturbed)


@pytest.mark.fault("F13", injected="the command is started twice")
@pytest.mark.fault("F14", injected="two commands run the same trials")
def test_two_runs_at_once_end_in_one_result(toy, undisturbed):
    toy.declare(seconds=0.5)
    both = [toy.start("run", "toy.py", "--in-process") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert len(toy.trained()) > 6, "the two runs never met"
    assert_whole(toy, undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, with 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault("F16", injected="a disk of 64 kB")
def test_a_full_disk_ends_the_run_and_more_space_completes_it(toy, small_disk, undisturbed):
    run = toy.run("--storage", str(small_disk))
    assert run.returncode == 6, run.stderr
    assert re.search(r"xfer-ray: cannot write \d+ bytes to .*disk/toy/.*No space left on device", run.stderr)
    kept = len(list((small_disk / "toy" / "scores").glob("*.parquet")))
    assert kept < 6
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert toy.run("--storage", str(small_disk), "--in-process").returncode == 0
    rows = pd.read_parquet(small_disk / "toy" / "scores").set_index(["source", "seed", "target"])["score"].sort_index()
    pd.testing.assert_series_equal(rows, undisturbed)


@pytest.mark.fault("F18", injected="a disk that is mounted read-only")
def test_a_read_only_disk_is_refused_before_anything_starts(toy, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    run = toy.run("--storage", str(small_disk))
    assert run.returncode == 6
    assert "Read-only file system" in run.stderr
    assert toy.trained() == []


def test_more_gpus_than_any_node_has_are_refused_before_anything_starts(toy):
    run = toy.run("--gpus-per-trial", "4")
    assert run.returncode == 2
    assert "--gpus-per-trial 4 is more than any node has: the largest has 0 GPUs; give at most that" in run.stderr
    assert toy.trained() == []


def test_scores_without_the_oracles_choices_are_not_adopted_where_those_are_asked_for(toy):
    assert toy.run("--in-process").returncode == 0
    (toy.folder / "toy.py").write_text((toy.folder / "toy.py").read_text().replace('Sweep("toy"', 'Sweep("other"'))
    run = toy.run("--in-process", "--oracle")
    assert "adopted" not in run.stderr
    assert "the oracle chooses among checkpoints, and model toy-model kept none" in run.stderr


def test_the_same_digest_in_another_sweep_is_adopted(toy, undisturbed):
    assert toy.run("--in-process").returncode == 0
    other = (toy.folder / "toy.py").read_text().replace('Sweep("toy"', 'Sweep("other"')
    (toy.folder / "toy.py").write_text(other)
    run = toy.run("--in-process")
    assert run.returncode == 0, run.stderr
    assert "adopted 6 trials that another sweep of this storage has committed" in run.stderr
    assert len(toy.trained()) == 6
    rows = pd.read_parquet(toy.folder / "results" / "other" / "scores")
    assert set(rows["sweep"]) == {"other"}
    pd.testing.assert_series_equal(rows.set_index(["source", "seed", "target"])["score"].sort_index(), undisturbed)
