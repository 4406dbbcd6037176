"""Nothing that a trial costs grows with the number of trials: what the driver and the workers ask of the storage, and memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest
from rich.console import Console

from benchmarks import scale
from xfer_ray import Corpus, plan, results, storage, sweepfile
from xfer_ray import run as running
from xfer_ray.core import Trial
from xfer_ray.desk import Desk, Placement
from xfer_ray.progress import Progress
from xfer_ray.tasks import XQUAD

pytestmark = pytest.mark.slow

SOURCES, SEEDS = 60, 5
CALLS = ("create", "replace", "read", "exists", "sizes", "delete", "move")
COUNTED = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_scale
from xfer_ray.cli import main
asked = test_scale.count()
test_scale.note(Path({out!r}), asked)
sys.argv = ["xfer-ray", "run", "many.py"]
main()
"""


def count(patch=setattr) -> list[tuple[str, str, int]]:
    """From now on, what is asked of any storage in this process: the call, the path, and how many names it listed."""
    asked: list[tuple[str, str, int]] = []

    def counted(name):
        real = getattr(storage.Storage, name)

        def call(self, path, *rest, **more):
            answer = real(self, path, *rest, **more)
            asked.append((name, path, len(answer) if name == "sizes" else 0))
            return answer

        return call

    for name in CALLS:
        patch(storage.Storage, name, counted(name))
    return asked


def note(file: Path, asked: list) -> None:
    """Write down, as each trial ends, what was asked of the storage so far, and this process's memory and processor time."""
    real = Progress.finished

    def finished(self, *ended):
        real(self, *ended)
        megabytes = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
        listed = sum(names for _, _, names in asked)
        with file.open("a") as lines:
            lines.write(json.dumps([len(asked), listed, megabytes, process_time()]) + "\n")

    Progress.finished = finished


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> list[list[float]]:
    """Three hundred trials on local Ray: by trial, calls of the storage by the driver, names listed, MB, processor seconds."""
    folder = tmp_path_factory.mktemp("scale")
    scale.declare(folder, SOURCES, SEEDS)
    program = COUNTED.format(tests=str(Path(__file__).parent), out=str(folder / "asked.jsonl"))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=scale.environment(folder), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((folder / "results/many/scores").glob("*.parquet"))) == SOURCES * SEEDS
    return [json.loads(line) for line in (folder / "asked.jsonl").read_text().splitlines()]


def test_the_driver_asks_no_more_of_the_storage_for_the_last_trials_than_for_the_first(ran):
    assert len(ran) == SOURCES * SEEDS
    first, middle, last = ran[0], ran[len(ran) // 2], ran[-1]
    for what in (0, 1):  # calls, names listed
        early, late = middle[what] - first[what], last[what] - middle[what]
        assert late <= 1.2 * early + 20


def test_the_driver_keeps_little_of_each_trial(ran):
    tenth = len(ran) // 10
    growth = ran[-1][2] - ran[tenth][2]
    assert growth < 0.2 * (len(ran) - tenth)  # MB; Tune's own share is 0.05 a trial, and ends with each thousand


def test_the_driver_computes_no_longer_for_the_last_trials_than_for_the_first(ran):
    tenth, middle = len(ran) // 10, len(ran) // 2 + len(ran) // 20
    early, late = ran[middle][3] - ran[tenth][3], ran[-1][3] - ran[middle][3]
    assert late < 3 * early + 2


def test_a_worker_asks_the_same_of_the_storage_for_every_trial(tmp_path, monkeypatch):
    file = scale.declare(tmp_path, 20, 3)
    sweep, module = sweepfile.read(file)
    found = running.prepare(sweep, str(tmp_path / "results"))
    asked = count(monkeypatch.setattr)
    running.run(sweep, sweep.trials, found, Desk(found, tmp_path / "cache"), Placement(in_process=True), module)
    costs = {trial.id: [(call, names) for call, path, names in asked if trial.id in path] for trial in sweep.trials}
    assert len({json.dumps(sorted(cost)) for cost in costs.values()}) == 1
    assert len(costs[sweep.trials[-1].id]) <= 11
    assert len(asked) < (11 + len(sweep.trials[0].task.targets) + 1) * len(sweep.trials)
    of_all = [path for call, path, _ in asked if call == "sizes" and not any(trial.id in path for trial in sweep.trials)]
    assert len(of_all) < 10  # for the sweep, not for each trial


def finish(number: int) -> tuple[float, str]:
    """Processor seconds of the display for the end of a few hundred trials, with so many waiting; and what it said last."""
    trials = {f"trial {i}": ("a", "b")[i % 2] for i in range(number)}
    found = results.Results(storage.open_storage("nowhere"), "many")
    console = Console(file=open("/dev/null", "w"), width=200)  # noqa: SIM115, PTH123
    progress = Progress(found, total=number, done=0, to_run=trials, console=console)
    before = process_time()
    for trial in list(trials)[:400]:
        progress.started(trial)
        progress.finished(trial, "committed")
    return process_time() - before, progress._left("{} left")


def test_the_time_left_is_not_reckoned_over_every_waiting_trial():
    few, _ = finish(1_000)
    many, said = finish(50_000)
    assert many < 5 * few + 0.2
    assert said.endswith(" left")


def test_the_time_left_counts_by_model_what_waits_runs_and_is_tried_again(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("xfer_ray.progress.time.monotonic", lambda: now[0])
    found = results.Results(storage.open_storage("nowhere"), "many")
    progress = Progress(found, total=5, done=0, to_run={"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b"}, console=Console(quiet=True))

    def one(trial: str, seconds: float) -> None:
        progress.started(trial)
        now[0] += seconds
        progress.finished(trial, "committed")

    one("a1", 10)
    assert progress._left("{}") == ""  # nobody knows about b yet
    one("b1", 100)
    assert progress._left("{}") == "2 min 0 s"  # 2 x 10 + 100
    progress.started("a2")
    now[0] += 4
    assert progress._left("{}") == "1 min 56 s"  # 6 of a2, 10 of a3, 100 of b2
    progress.retried("a2", "it died")
    assert progress._left("{}") == "2 min 0 s"
    one("a2", 10)
    one("b2", 100)
    one("a3", 10)
    assert progress._left("{}") == ""


def test_only_is_read_once_however_many_trials_there_are(tmp_path, monkeypatch):
    sweep, _ = sweepfile.read(scale.declare(tmp_path, 30, 3))
    real, times = sweepfile.parse_only, []
    monkeypatch.setattr(sweepfile, "parse_only", lambda *given: times.append(1) or real(*given))
    _, chosen = sweepfile.choose(sweep, only="source=en-O,seed=1,seed=2")
    assert [(str(t.source), t.seed) for t in chosen] == [("en-O", 1), ("en-O", 2)]
    assert times == [1]


class Asked:
    """A `load` that counts how often it is asked what is missing."""

    def __init__(self) -> None:
        self.times = 0

    def missing(self, corpus: Corpus, split: str) -> str:
        self.times += 1
        return "it is not there" if corpus.language == "de" else ""


def test_what_blocks_a_trial_is_looked_up_once_for_all_its_seeds(tmp_path):
    sweep, _ = sweepfile.read(scale.declare(tmp_path, 3, 1))
    load, english, german = Asked(), Corpus("en"), Corpus("de", "HT", Corpus("en"))
    task = replace(XQUAD, sources=(english, german), targets=(english,), groups={})
    object.__setattr__(task, "load", load)
    trials = [Trial(task, sweep.trials[0].model, source, seed) for source in (english, german) for seed in range(50)]
    for number, trial in enumerate(trials):
        trial.__dict__["id"] = f"{trial.source}.{number}"  # its real name needs a load that can be declared
    assert set(plan.blocked(trials)) == {trial.id for trial in trials[50:]}
    assert load.times <= 4


def test_the_benchmark_tells_ours_from_rays_own():
    ours = [scale.Sample(1, 5.0, 3.0, 200.0), scale.Sample(101, 15.0, 4.0, 210.0)]
    rays = [scale.Sample(1, 5.0, 3.0, 200.0), scale.Sample(101, 9.0, 3.5, 210.0)]
    assert scale.compared(ours, rays)[1].startswith("overhead a trial: 60.0 ms (driver's processor: 5.0 ms)")
    assert scale.pace(ours)[1].split() == ["1", "-", "101", "100.0", "10.0", "210"]
