"""Ten thousand trials on one machine, beside what Ray Tune itself needs for as many that do nothing: `python -m benchmarks.scale`.

Declares a sweep of the majority model (sources x seeds, three targets of 30 examples), runs it as a user would, and watches
the process: its time, its processor time and its memory after each tenth of the trials. Then times compact, status, plan and
tables. Everything lies in a folder that is removed at the end, unless `--folder` names one; `--trials` takes fewer.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SEEDS = 100
OURS = (sys.executable, "-c", "from xfer_ray.cli import main; main()")
SWEEP_FILE = """
import hashlib, itertools, string
from xfer_ray import Corpus, Example, Model, Recipe, Sweep, Task, grid

LABELS = ("yes", "no", "maybe")

def draw(*parts):
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest(), 16)

def load(corpus, split):
    return [Example(str(i), f"{{split}} {{i}}", f"in {{corpus.language}}", (LABELS[draw(corpus, i) % 3],)) for i in range(30)]

CODES = ["en", *map("".join, itertools.product("qxzvw", string.ascii_lowercase))]
CORPORA = tuple(Corpus(code) if code == "en" else Corpus(code, "HT", Corpus("en")) for code in CODES[:{sources}])
REST = tuple(corpus.language for corpus in CORPORA[1:3])
TASK = Task(name="many", sources=CORPORA, targets=CORPORA[:3], load=load, labels=LABELS, parallel=True, groups={{"Rest": REST}})
MODEL = Model(name="majority", family="majority", recipe=Recipe(steps=1, learning_rate=0.1, batch_size=1), gpus=0)
SWEEP = Sweep("many", grid(tasks=[TASK], models=[MODEL], seeds=range({seeds})))
"""


@dataclass(frozen=True)
class Sample:
    """A process at some moment: trials that have ended, seconds since the start, seconds of a processor, and MB of memory."""

    done: int
    seconds: float
    cpu: float
    megabytes: float


def declare(folder: Path, sources: int, seeds: int) -> Path:
    """A sweep file of sources x seeds trials (at most 131 sources); `main` runs 100 x 100."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "many.py").write_text(SWEEP_FILE.format(sources=sources, seeds=seeds))
    return folder / "many.py"


def watch(command: Sequence[str], folder: Path, every: int) -> list[Sample]:
    """Run a command that says on stderr as each trial ends; a sample after every so many, beginning with the first."""
    start, samples, last = time.monotonic(), [], ""
    process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        ended = re.match(r"\[(\d+)/\d+\]", line)
        if ended and (int(ended[1]) == 1 or int(ended[1]) % every == 0):
            samples.append(sample(process.pid, int(ended[1]), start))
        last = line
    if process.wait() != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {last}")
    return samples


def sample(pid: int, done: int, start: float) -> Sample:
    """What the system says of a process; Linux."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Sample(done, time.monotonic() - start, cpu, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def environment(folder: Path) -> dict[str, str]:
    """This process's, without a Ray to join, and with this checkout first among what Python finds."""
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    path = os.pathsep.join(filter(None, (str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", ""))))
    return {**known, "XFER_RAY_CACHE": str(folder / "cache"), "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}


def timed(arguments: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Seconds, seconds of a processor, and MB at most, of one command from start to end."""
    start = time.monotonic()
    process = subprocess.Popen([*OURS, *arguments], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL)
    _, ending, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ending)
    if process.returncode:
        raise RuntimeError(f"xfer-ray {' '.join(arguments)} ended with {process.returncode}")
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


# ------------------------------------------------------------------------------ what it prints


def pace(samples: Sequence[Sample]) -> list[str]:
    """By stretch: trials, ms a trial, of which the driver computed, and its memory then."""
    lines = [f"{'trials':>14} {'ms a trial':>11} {'CPU ms':>8} {'driver MB':>10}"]
    for before, after in zip(samples, samples[1:], strict=False):
        number = after.done - before.done
        each, cpu = 1000 * (after.seconds - before.seconds) / number, 1000 * (after.cpu - before.cpu) / number
        lines.append(f"{before.done:>6} -{after.done:>6} {each:>11.1f} {cpu:>8.1f} {after.megabytes:>10.0f}")
    return lines


def whole(samples: Sequence[Sample]) -> tuple[float, float]:
    """Milliseconds a trial, and of those that the driver computed, between the first and the last sample."""
    first, last = samples[0], samples[-1]
    return tuple(1000 * taken / (last.done - first.done) for taken in (last.seconds - first.seconds, last.cpu - first.cpu))  # type: ignore[return-value]


def compared(samples: Sequence[Sample], bare: Sequence[Sample]) -> list[str]:
    """Ours less Ray's own."""
    (ours, our_cpu), (rays, rays_cpu) = whole(samples), whole(bare)
    return [
        f"a trial: {ours:.1f} ms, of which the driver computes {our_cpu:.1f}; Ray's own {rays:.1f} and {rays_cpu:.1f}",
        f"overhead a trial: {ours - rays:.1f} ms (driver's processor: {our_cpu - rays_cpu:.1f} ms); at most 100 is promised",
    ]


def main() -> None:
    """Run, and print a small table."""
    asked = argparse.ArgumentParser(description="What a sweep of many small trials costs, beside Ray's own.")
    asked.add_argument("--trials", type=int, default=10_000, help="rounded to a multiple of the seeds, at most 13,100; default: 10000")
    asked.add_argument("--folder", type=Path, help="where the sweep lies, and stays")
    asked.add_argument("--no-baseline", action="store_true", help="leave Ray's own out")
    given = asked.parse_args()
    seeds = min(SEEDS, max(1, given.trials // 3))
    sources = max(3, round(given.trials / seeds))
    with tempfile.TemporaryDirectory(prefix="xfer-ray-scale-") as scratch:
        folder = (given.folder or Path(scratch)).absolute()
        declare(folder, sources, seeds)
        measure(folder, sources * seeds, baseline=not given.no_baseline)


def measure(folder: Path, trials: int, *, baseline: bool) -> None:
    """Run a declared sweep and Ray's own, then the commands that read."""
    every = max(1, trials // 10)
    print(f"{trials} trials on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}", flush=True)
    samples = watch([*OURS, "run", "many.py"], folder, every)
    print("\n".join(["", "a sweep of the majority model", *pace(samples)]), flush=True)
    if baseline:
        bare = watch([sys.executable, "-m", "benchmarks.nothing", str(trials)], folder, every)
        print("\n".join(["", "Ray Tune, trials that do nothing", *pace(bare), "", *compared(samples, bare)]), flush=True)
    print(f"\n{'command':>10} {'seconds':>8} {'CPU s':>7} {'MB':>6}")
    commands = {"tables": "results/many", "compact": "results/many", "status": "results/many", "plan": "many.py"}
    for number, name in enumerate([*commands, "tables"]):
        seconds, cpu, megabytes = timed([name, commands[name]], folder)
        note = {0: "  before compact", 4: "  after compact"}.get(number, "")
        print(f"{name:>10} {seconds:>8.2f} {cpu:>7.2f} {megabytes:>6.0f}{note}", flush=True)


if __name__ == "__main__":
    main()
