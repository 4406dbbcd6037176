"""Two ways of doing one thing, side by side: interleaved, in CPU and wall time, with what else the machine did meanwhile.

A benchmark gives measures. `run` prints each and writes them, with every sample behind them, into one JSON file.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("xfer_ray", "torch", "transformers", "datasets", "tokenizers", "ray", "accelerate", "pandas", "pyarrow", "numpy")
LOADED = 0.2  # cores that others may use before a run counts as one on a loaded machine
OURS = "ours"


# ------------------------------------------------------------------------------ what is measured


@dataclass(frozen=True)
class Cost:
    """Seconds: of processors, in this process and the children that it waited for, and on the wall."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Bar:
    """What a measure should reach at least, or stay under at most; `goal` is more than is asked."""

    value: float
    at: Literal["least", "most"] = "least"
    goal: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return value >= self.value if self.at == "least" else value <= self.value


@dataclass(frozen=True)
class Measure:
    """A figure, as the median of several values, beside its bar; `sides` holds the samples that the values come from."""

    title: str
    unit: str
    values: tuple[float, ...]
    bar: Bar | None = None
    sides: Mapping[str, tuple[Cost, ...]] = field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Setting:
    """How a benchmark runs: with tiny sizes or not, a folder that is removed at the end, and its own options."""

    quick: bool
    scratch: Path
    options: argparse.Namespace

    def size(self, full: int, tiny: int) -> int:
        """One of two sizes."""
        return tiny if self.quick else full

    @property
    def threads(self) -> tuple[int, ...]:
        """Numbers of threads to measure with: as many as there are cores, unless others are asked for."""
        return tuple(self.options.threads or (cores(),))


Costs = dict[str, list[Cost]]
Benchmark = Callable[[Setting], Iterable[Measure]]


def now() -> Cost:
    """Where both clocks stand, once a GPU has done what it was asked."""
    if _gpu():
        sys.modules["torch"].cuda.synchronize()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Cost(sum(one.ru_utime + one.ru_stime for one in used), time.perf_counter())


def since(before: Cost) -> Cost:
    """What was spent since then."""
    after = now()
    return Cost(after.cpu - before.cpu, after.wall - before.wall)


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> Costs:
    """What every side costs in every round: A B, then B A, and so on, after a warm-up that does not count."""
    for _ in range(warm_up):
        for side in sides.values():
            side()
    costs: Costs = {name: [] for name in sides}
    for number in range(rounds):
        for name in in_order(list(sides), number):
            before = now()
            sides[name]()
            costs[name].append(since(before))
    return costs


def in_order(names: Sequence[str], number: int) -> Sequence[str]:
    """The order of a round: there and back, so that what drifts weighs on all sides alike."""
    return names[::-1] if number % 2 else names


def ratios(costs: Costs, theirs: str, ours: str = OURS, by: Literal["cpu", "wall"] = "cpu") -> tuple[float, ...]:
    """How many times what ours costs theirs does, round by round."""
    return tuple(getattr(their, by) / getattr(our, by) for their, our in zip(costs[theirs], costs[ours], strict=True))


def ratio(title: str, costs: Costs, theirs: str, *, by: Literal["cpu", "wall"] = "cpu", bar: Bar | None = None, note: str = "") -> Measure:
    """A measure of theirs over ours."""
    sides = {name: tuple(costs[name]) for name in (OURS, theirs)}
    return Measure(
        f"{title}: {theirs} / ours, {'CPU time' if by == 'cpu' else 'wall time'}", "×", ratios(costs, theirs, by=by), bar, sides, note
    )


def finished(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a whole command prints; what went wrong is shown."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


# ------------------------------------------------------------------------------ the machine


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def others(seconds: float = 1.0) -> float:
    """How many cores other programs use while this one sleeps; Linux."""

    def busy() -> float:
        spent = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return (sum(spent) - spent[3] - spent[4]) / os.sysconf("SC_CLK_TCK")  # all but idle, and idle while a disk works

    before, start = busy(), time.perf_counter()
    time.sleep(seconds)
    return (busy() - before) / (time.perf_counter() - start)


def _gpu() -> str:
    """What PyTorch calls the GPU of a benchmark that uses PyTorch; "" without."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else ""


def machine() -> dict[str, str | int | float]:
    """The processor, the memory and the GPU; Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cpu": model,
        "gpu": _gpu(),
        "cores": cores(),
        "memory_gb": round(memory, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    """Python's, and of the packages that are there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# ------------------------------------------------------------------------------ a run


def run(file: str, about: str | None, benchmark: Benchmark, add: Callable[[argparse.ArgumentParser], object] = lambda parser: None) -> None:
    """Take the command line of a benchmark, measure, print, and keep what was found in `benchmarks/results`."""
    name = Path(file).stem
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mirror", type=Path, metavar="DIR", help="read data sets and tokenizers from DIR, laid out like the hub")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; keeps nothing unless --output is given")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"the JSON file; default: benchmarks/results/{name}.json")
    parser.add_argument(
        "--threads", type=int, nargs="+", metavar="N", help="numbers of PyTorch's threads to measure with; default: all cores"
    )
    add(parser)
    given = parser.parse_args()
    if given.mirror:
        os.environ["XFER_RAY_MIRROR"] = str(given.mirror.absolute())
    command = " ".join([f"python -m benchmarks.{name}", *_shown(sys.argv[1:])])
    with tempfile.TemporaryDirectory(prefix=f"xfer-ray-{name}-") as scratch:
        found = record(name, about or "", command, benchmark, Setting(given.quick, Path(scratch), given))
    output = given.output or (None if given.quick else RESULTS / f"{name}.json")
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _shown(arguments: Sequence[str]) -> list[str]:
    """The command line as others would type it: where a folder or file lies is their own affair."""
    private = {"--mirror": "DIR", "--output": "FILE"}
    return [private.get(before, word) for before, word in zip(["", *arguments], arguments, strict=False)]


def record(name: str, about: str, command: str, benchmark: Benchmark, setting: Setting) -> dict[str, object]:
    """Everything that a run found, as it is written down; each measure is printed as it comes."""
    load, idle = os.getloadavg()[0], others()
    print(f"{name}: {machine()['cpu']}, {cores()} cores, load {load:.1f}, others use {idle:.1f} cores", flush=True)
    measures = []
    for measure in benchmark(setting):
        print(told(measure), flush=True)
        measures.append(dataclasses.asdict(measure))
    around = {"load_before": load, "others_before": idle, "load_after": os.getloadavg()[0], "others_after": others()}
    if is_loaded(around):
        print(f"the machine was loaded: others used {idle:.1f} cores before and {around['others_after']:.1f} after", flush=True)
    return {
        "benchmark": name,
        "about": about.strip(),
        "command": command,
        "quick": setting.quick,
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine() | around,
        "versions": versions(),
        "measures": measures,
    }


def is_loaded(around: Mapping[str, float]) -> bool:
    """Whether other programs had a share of the machine just before or just after."""
    return max(around["others_before"], around["others_after"]) > LOADED


def told(measure: Measure) -> str:
    """One line on a measure."""
    low, high = min(measure.values), max(measure.values)
    spread = f" ({number(low)} to {number(high)}, n={len(measure.values)})" if len(measure.values) > 1 else " (one run)"
    judged = f"; {verdict(measure.bar, measure.median)}" if measure.bar else ""
    note = f"; {measure.note}" if measure.note else ""
    return f"  {measure.title}: {number(measure.median)} {measure.unit}{spread}{judged}{note}"


def verdict(bar: Bar, value: float) -> str:
    """The bar, and whether it was met."""
    goal = f", goal {number(bar.goal)}" if bar.goal is not None else ""
    return f"at {bar.at} {number(bar.value)}{goal}: {'met' if bar.met(value) else 'missed'}"


def number(value: float) -> str:
    """Three digits that count: 0.123, 1.23, 12.3, 123."""
    return f"{value:.{max(0, 2 - max(0, len(str(int(abs(value)))) - 1))}f}" if abs(value) >= 1 else f"{value:.3g}"
