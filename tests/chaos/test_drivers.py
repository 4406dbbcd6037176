"""The command itself is stopped or killed, at chosen and at random moments: the same command goes on where it was."""

import os
import random
import re
import signal
import time

import pytest
from chaos.disturbed import invariants, processes_at, results_of, steps, stepwise

from xfer_ray import results

pytestmark = pytest.mark.slow

TRIALS = [f"{language}.s{seed}" for language in ("en", "de", "ru") for seed in (0, 1)]
ALL = list(range(1, 11))
PATIENCE = 200  # seconds: a machine that is busy starts Ray slowly


def begun(toy, at_least: int = 3) -> list[str]:
    """The trials that have taken so many steps and are not at their end."""
    return [trial for trial in TRIALS if at_least <= len(steps(toy, trial)) < 9]


@pytest.mark.fault("F9", injected="SIGINT to the command while trials are in their steps")
@pytest.mark.fault("F10", injected="SIGTERM to the command while trials are in their steps")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_one_signal_lets_running_trials_save_themselves(tmp_path, undisturbed, number, code):
    toy = stepwise(tmp_path / "sweep", seconds=8)
    driver = toy.start("run", "toy.py")
    toy.wait_for(lambda: begun(toy), PATIENCE)
    driver.send_signal(number)
    _, said = driver.communicate(timeout=90)
    assert driver.returncode == code, said
    assert re.search(r"stopped with \d of 6 trials done; go on with: xfer-ray run toy.py", said)
    assert "Traceback" not in said
    halted = [trial for trial in TRIALS if 0 < len(steps(toy, trial)) < 10]
    assert halted, "no trial was stopped in the middle"
    assert len(list((toy.results / "checkpoints").glob("*/step-*/complete.json"))) >= len(halted)
    assert results.done(results_of(toy)) or len(toy.trained()) < 6
    again = toy.command("run", "toy.py", "--in-process", TOY_SECONDS="0")
    for trial in TRIALS:
        taken = steps(toy, trial)
        assert sorted(set(taken)) == ALL
        assert len(taken) <= 11, f"{trial} lost more than one step: {taken}"
    invariants(toy, undisturbed, again.returncode)


@pytest.mark.fault("F9", injected="SIGINT twice, while a trial hangs that cannot save itself")
def test_a_second_signal_ends_the_run_at_once(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep", seconds=1)
    for trial in TRIALS:
        toy.fault(trial, "hold")
    driver = toy.start("run", "toy.py")
    toy.wait_for(lambda: any(len(steps(toy, trial)) == 5 for trial in TRIALS), PATIENCE)
    driver.send_signal(signal.SIGINT)
    time.sleep(2)
    assert driver.poll() is None, "the first signal did not wait for the trials"
    driver.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, said = driver.communicate(timeout=60)
    assert time.monotonic() - start < 25, "the grace was waited for"
    assert driver.returncode == 130, said
    for file in (toy.folder / "faults").iterdir():
        file.unlink()
    invariants(toy, undisturbed, toy.run("--in-process").returncode)


@pytest.mark.fault("F8", injected="SIGKILL to the command in a sweep on Ray")
def test_a_killed_driver_leaves_no_process_and_loses_no_committed_trial(tmp_path, undisturbed):
    toy = stepwise(tmp_path / "sweep", seconds=2)
    driver = toy.start("run", "toy.py")
    toy.wait_for(lambda: toy.committed() and begun(toy, 1), PATIENCE)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    kept = toy.committed()
    assert driver.returncode == -signal.SIGKILL
    assert len(kept) < 6, "it had ended"
    before = {trial: len(steps(toy, trial)) for trial in TRIALS}
    again = toy.command("run", "toy.py", "--in-process", TOY_SECONDS="0")
    finished = {f"{name.split('.')[2].split('-')[0]}.s{name.split('.s')[1][0]}" for name in kept}
    assert all(len(steps(toy, trial)) == before[trial] == 10 for trial in finished), "a committed trial was trained again"
    invariants(toy, undisturbed, again.returncode)


def ballistic(toy, undisturbed, draw: random.Random, kills: int, options: tuple[str, ...]) -> None:
    """Start, kill the command or one of its workers at a random moment, and again; at the end let it finish."""
    hit = []
    for _ in range(10 * kills):
        if len(hit) == kills or len(toy.committed()) == 6:
            break
        driver = toy.start("run", "toy.py", *options)
        known = len(_lines(toy))
        toy.wait_for(lambda driver=driver, known=known: driver.poll() is not None or len(_lines(toy)) > known, 120)
        time.sleep(draw.uniform(0, 1.5))
        workers = {pid for trial in TRIALS for pid in processes_at(toy, trial)[-1:]} - {driver.pid}
        victim = draw.choice([driver.pid, *(pid for pid in workers if _is_alive(pid))])
        if driver.poll() is None:
            os.kill(victim, signal.SIGKILL)
            hit.append("driver" if victim == driver.pid else "worker")
            if victim != driver.pid:
                time.sleep(draw.uniform(0, 3))
        driver.kill()
        driver.communicate()
    assert hit, "nothing was killed"
    last = toy.run(*options)
    assert last.returncode == 0, last.stderr
    print(f"killed {len(hit)}: {hit}")
    assert len(hit) == kills or len(_lines(toy)) > 60, f"only {len(hit)} of {kills} kills hit"
    invariants(toy, undisturbed, last.returncode)


def _lines(toy) -> list[str]:
    file = toy.folder / "steps.txt"
    return file.read_text().splitlines() if file.exists() else []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.fault("F11", injected="SIGKILL at 4 random moments of a sweep in one process")
def test_a_sweep_killed_at_random_moments_converges(tmp_path, undisturbed):
    ballistic(stepwise(tmp_path / "sweep", seconds=4), undisturbed, random.Random(4), 4, ("--in-process",))


@pytest.mark.timeout(1800)
@pytest.mark.fault("F11", injected="SIGKILL at 20 random moments, of the command or of a worker on Ray")
def test_a_sweep_on_ray_killed_twenty_times_converges(tmp_path, undisturbed):
    ballistic(stepwise(tmp_path / "sweep", seconds=40), undisturbed, random.Random(20), 20, ())
