"""A sweep whose trials keep checkpoints and write down each step, the faults that befall them, and what must hold after each.

A line of `faults/<source>.s<seed>` says what befalls one attempt of that trial: to the kinds of toy.py come

    before-scores   SIGKILL when the predictions are written and the scores are not
    after-scores    SIGKILL when the scores are written and nobody has heard of it
    in-checkpoint   SIGKILL while its second checkpoint is written
    torn            its newest checkpoint loses its last byte, then SIGKILL
    big             its second checkpoint takes a megabyte
    clock           the wall clock goes back by a day in the middle of the trial
    memory          it takes a gigabyte and a half
"""

import os
import time
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from toy import Toy

from xfer_ray import checking, compact, plan, planfile, records, results
from xfer_ray.results import Results
from xfer_ray.storage import open_storage

KEY = ["task", "model", "source", "seed", "target", "metric", "selection"]
SAVED_EVERY = 3

STEPWISE = """
SECONDS, EVERY = PACE

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly_before(*arguments):
    die()

def deadly_after(put):
    def put_and_die(*arguments):
        put(*arguments)
        die()
    return put_and_die

def deadly_half(storage, path, folder):
    storage.replace(f"{path}/state", b"half of")
    die()

class Yesterday:
    @staticmethod
    def now(zone):
        import datetime
        return datetime.datetime.now(zone) - datetime.timedelta(days=1)

def befall(asked, step):
    import xfer_ray.commit, xfer_ray.folders, xfer_ray.trial
    if step == 1 and asked == "before-scores":
        xfer_ray.commit.put_scores = deadly_before
    if step == 1 and asked == "after-scores":
        xfer_ray.commit.put_scores = deadly_after(xfer_ray.commit.put_scores)
    if step == 5 and asked == "in-checkpoint":
        xfer_ray.folders.put = deadly_half
    if step == 5 and asked == "clock":
        now = time.time
        time.time = lambda: now() - 86400
        xfer_ray.trial.datetime = Yesterday
    if step == 5 and asked == "kill":
        die()
    if step == 5 and asked == "raise":
        raise RuntimeError("asked to fail")
    if step == 5 and asked == "hold":
        time.sleep(600)
    if step == 5 and asked == "memory":
        held = bytearray(b"x") * 1_500_000_000
        time.sleep(60)

def stepwise(task, train, select, recipe, seed, context):
    source = train[0].second.removeprefix("in ")
    asked, keeper = fault(source, seed), context.keeper
    start = keeper.latest() or 0
    state = (keeper.fetch(start) / "state").read_text() if start else ""
    for step in range(start + 1, recipe.steps + 1):
        time.sleep(float(os.environ.get("TOY_SECONDS", SECONDS)) / recipe.steps)
        state = hashlib.sha256(f"{state[:64]} {source} {seed} {step}".encode()).hexdigest()
        with open(HERE / "steps.txt", "a") as file:
            file.write(f"{source}.s{seed} {step} {os.getpid()}\\n")
        befall(asked, step)
        if step % EVERY == 0 or keeper.due():
            more = " " * 1_000_000 if asked == "big" and step > EVERY else ""
            keeper.save(step, lambda folder: (folder / "state").write_text(state + more))
            keeper.prune({step, step - EVERY})
        if step == 7 and asked == "torn":
            [newest] = (HERE / "results/toy/checkpoints").glob(f"*{source}*.s{seed}-*/step-6/state")
            newest.write_bytes(newest.read_bytes()[:-1])
            die()
        context.report(step, recipe.steps)
    with open(HERE / "trained.txt", "a") as file:
        file.write(f"{source}.s{seed}\\n")
    def predict(examples):
        return [LABELS[draw(state, e.second, e.id) % 3] for e in examples]
    return FineTuned(predict, step=recipe.steps)

"""


def stepwise(folder: Path, seconds: float = 0.0, **declared) -> Toy:
    """A toy sweep in a new folder, whose trials go on from checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    toy = Toy(folder)
    toy.declare(seconds=seconds, **declared)
    file = folder / "toy.py"
    family = STEPWISE.replace("PACE", f"{seconds}, {SAVED_EVERY}")
    text = file.read_text().replace("CORPORA =", f"{family}CORPORA =", 1).replace("family=fine_tune", "family=stepwise")
    file.write_text(text)
    return toy


def steps(toy: Toy, trial: str) -> list[int]:
    """The steps that a trial took, in order, over all its attempts."""
    return [step for name, step, _ in _taken(toy) if name == trial]


def processes_at(toy: Toy, trial: str) -> list[int]:
    """The processes that took steps of a trial, in order of appearance."""
    return list(dict.fromkeys(pid for name, _, pid in _taken(toy) if name == trial))


def _taken(toy: Toy) -> list[tuple[str, int, int]]:
    file = toy.folder / "steps.txt"
    rows = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(name, int(step), int(pid)) for name, step, pid in rows]


def results_of(toy: Toy, storage: str = "results") -> Results:
    """The results that a toy sweep leaves."""
    return Results(open_storage(str(toy.folder / storage)), "toy")


def processes(toy: Toy) -> list[str]:
    """The living processes of a toy sweep, Ray's included."""
    return [f"{process} {_name(process)}" for process in processes_in(toy.folder)]


def processes_in(folder: Path) -> list[int]:
    """The living processes in whose environment a folder is; a sweep's cache is below its own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue  # it has just ended
        if f"XFER_RAY_CACHE={folder}/".encode() in environment and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def invariants(
    toy: Toy, undisturbed: pd.Series, code: int, expected: int = 0, *, storage: str = "results", failed: Collection[str] = ()
) -> None:
    """What must hold after every fault: I1 to I6."""
    found = results_of(toy, storage)
    planned = planfile.read_plan(found).trials
    states = {state.trial.trial: state for state in plan.states(found, planned, {})}
    told = {name for name, state in states.items() if state.state == "failed" and state.reason}
    done = results.done(found)
    assert done | told == set(states), "I1: a planned trial is neither committed nor listed as failed"
    assert not done & told, "I1: a trial is both committed and failed"
    assert {f"{s.trial.source.split('-')[0]}.s{s.trial.seed}" for s in states.values() if s.trial.trial in told} == set(failed), (
        "I1: others failed"
    )
    rows = compact.read_scores(found)
    assert not rows.duplicated(KEY).any(), "I2: a key is there twice"
    assert records.conflicts(found) == [], "I2: two executions differed"
    scores = rows.set_index(["source", "seed", "target"])["score"].sort_index()
    assert len(scores) == len(done) * rows["target"].nunique(), "I3: a target is missing"
    pd.testing.assert_series_equal(scores, undisturbed.loc[scores.index].sort_index())  # I3
    assert [str(finding) for finding in checking.check(found) if finding.damage] == [], "I4: a partial file is readable"
    end = time.monotonic() + 120  # Ray's agents outlive a killed head by a minute
    while time.monotonic() < end and processes(toy):
        time.sleep(0.2)
    left = processes(toy)
    assert left == [], f"I5: processes are left: {left}"
    assert code == expected, "I6: the exit code"
