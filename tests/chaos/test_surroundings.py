"""The disk, the clock, the terminal, the memory and the sweep file itself change around a sweep."""

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from chaos.disturbed import invariants, results_of, steps, stepwise

from xfer_ray import commit, compact, planfile, results
from xfer_ray.core import Score

pytestmark = pytest.mark.slow

ALL = list(range(1, 11))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, with 640 kB."""
    folder = tmp_path / "sweep" / "disk"
    folder.mkdir(parents=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault("F17", injected="a disk of 640 kB, and a checkpoint of a megabyte at step 6")
def test_a_disk_full_at_a_checkpoint_keeps_the_one_before(tmp_path, small_disk, undisturbed):
    toy = stepwise(tmp_path / "sweep")
    toy.fault("en.s0", "big")
    run = toy.run("--in-process", "--storage", "disk")
    assert run.returncode == 6, run.stderr
    assert re.search(
        r"xfer-ray: cannot write \d{7} bytes to .*/checkpoints/toy\.toy-model\.en-O\.s0-.*/step-6/state: No space left on device",
        run.stderr,
    )
    complete = [path.parent.name for path in (small_disk / "toy" / "checkpoints").glob("*en-O.s0*/step-*/complete.json")]
    assert complete == ["step-3"]
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = toy.run("--in-process", "--storage", "disk")
    assert steps(toy, "en.s0") == [*ALL[:6], *ALL[3:]]
    invariants(toy, undisturbed, again.returncode, storage="disk")


@pytest.mark.fault("F34", injected="the clock goes back by a day within a trial; files are dated a year ahead; Kolkata, then Honolulu")
def test_clocks_and_time_zones_decide_nothing(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep")
    toy.fault("en.s0", "clock")
    first = toy.command("run", "toy.py", "--in-process", "--only", "seed=0", TZ="Asia/Kolkata")
    assert first.returncode == 0, first.stderr
    ahead = time.time() + 365 * 86400
    for file in toy.results.rglob("*"):
        os.utime(file, (ahead, ahead))
    again = toy.command("run", "toy.py", "--in-process", TZ="Pacific/Honolulu")
    assert sorted(toy.trained()) == sorted(f"{language}.s{seed}" for language in ("en", "de", "ru") for seed in (0, 1))
    rows = compact.read_scores(results_of(toy)).drop_duplicates("trial").set_index(["source", "seed"])
    back = rows.loc[("en-O", 0)]
    assert back["finished"] < back["started"], "the clock did not go back"
    assert (rows["train_seconds"] >= 0).all()
    assert (rows["train_seconds"] < 600).all()
    now = pd.Timestamp.now("UTC")
    assert (abs(rows["started"] - now) < pd.Timedelta(minutes=10)).sum() >= 4, "times are not in UTC"
    invariants(toy, undisturbed, again.returncode)


@pytest.mark.fault("F36", injected="the recipe takes 7 steps in place of 10 between two runs")
def test_another_recipe_makes_new_trials_and_the_old_rows_stay_out_of_the_tables(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep")
    assert toy.run("--in-process").returncode == 0
    old = {file: (toy.results / "scores" / file).read_bytes() for file in toy.committed()}
    file = toy.folder / "toy.py"
    file.write_text(file.read_text().replace("steps=10", "steps=7"))
    planned = toy.command("plan", "toy.py")
    assert "6 trials, 0 done, 6 to run" in planned.stdout
    assert toy.run("--in-process").returncode == 0
    assert {name: (toy.results / "scores" / name).read_bytes() for name in old} == old
    assert len(toy.committed()) == 12
    tables = toy.command("tables", "results/toy", "--format", "csv")
    assert tables.returncode == 0, tables.stderr
    assert "ignored 6 scores files of trials that sweep.json does not plan" in tables.stderr
    file.write_text(file.read_text().replace("steps=7", "steps=10"))
    again = toy.run("--in-process")
    found = results_of(toy)
    planned_now = [trial.trial for trial in planfile.read_plan(found).trials]
    assert {f"{name}.parquet" for name in planned_now} == set(old)
    assert again.returncode == 0
    scores = compact.read_scores(found, planned_now).set_index(["source", "seed", "target"])["score"].sort_index()
    pd.testing.assert_series_equal(scores, undisturbed)


@pytest.mark.fault("F15", injected="a committed trial is committed again with one score moved by 0.1")
def test_a_second_execution_with_other_scores_is_recorded_and_shown(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep")
    run = toy.run("--in-process")
    invariants(toy, undisturbed, run.returncode)
    found = results_of(toy)
    rows = compact.read_scores(found, [next(iter(sorted(results.done(found))))]).to_dict("records")
    first, *others = [Score(**row) for row in rows]
    assert commit.put_scores(found, [replace(first, score=abs(first.score - 0.1)), *others]) == "conflict"
    shown = toy.command("status", "results/toy")
    assert shown.returncode == 0
    assert f"conflict {first.trial}: a second run gave other scores; the first ones stay" in shown.stdout
    (toy.results / "conflicts" / f"{first.trial}.json").unlink()
    invariants(toy, undisturbed, toy.run("--in-process").returncode)


@pytest.mark.fault("F39", injected="LC_ALL=C, PYTHONIOENCODING=ascii, COLUMNS=20, no terminal, for a sweep with a failure")
def test_a_sweep_runs_in_a_narrow_ascii_world(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep")
    toy.fault("de.s0", "raise")
    world = {"COLUMNS": "20", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "TERM": "dumb"}
    run = toy.command("run", "toy.py", "--in-process", **world)
    assert "failed   toy.toy-model.de-HT-en.s0" in run.stderr
    assert (run.stdout + run.stderr).isascii()
    for command in (["status", "results/toy"], ["tables", "results/toy"], ["check", "results/toy"], ["plan", "toy.py"]):
        shown = toy.command(*command, **world)
        assert shown.returncode == 0, shown.stderr
    invariants(toy, undisturbed, run.returncode, 5, failed=["de.s0"])


@pytest.mark.fault("F40", injected="`tables` again and again while trials are committed")
def test_tables_of_a_running_sweep_show_what_is_committed(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep", seconds=1)
    driver = toy.start("run", "toy.py", "--in-process")
    toy.wait_for(lambda: toy.committed())
    held = []
    while driver.poll() is None:
        before = len(toy.committed())
        shown = toy.command("tables", "results/toy", "--values", "ability", "--format", "csv")
        after = len(toy.committed())
        assert shown.returncode == 0, shown.stderr
        rows = [line.split(",") for line in shown.stdout.splitlines()[1:]]
        held.append(sum(int(row[4]) for row in rows))
        assert before - 1 <= held[-1] <= after or before < 6, (before, held, after)
        if after < 6:
            assert "missing: toy.toy-model." in shown.stderr
    assert held, "no table was asked for in time"
    _, said = driver.communicate()
    invariants(toy, undisturbed, driver.returncode)


@pytest.mark.fault("F28", injected="a trial takes 1.5 GB where Ray's memory monitor leaves 0.7 GB")
def test_a_machine_short_of_memory_costs_an_attempt_and_no_result(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep", seeds=(0,))
    toy.fault("de.s0", "memory")
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    share = (total - free + 1_500_000) / total
    run = toy.command(
        "run", "toy.py", "--max-concurrent", "1", RAY_memory_usage_threshold=f"{share:.3f}", RAY_memory_monitor_refresh_ms="100"
    )
    assert "again    toy.toy-model.de-HT-en.s0" in run.stderr, run.stderr
    assert "memory" in run.stderr
    invariants(toy, undisturbed, run.returncode)
