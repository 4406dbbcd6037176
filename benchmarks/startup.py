"""From the beginning of a trial to its first step: a further trial on a warm worker, its first trial, and a fresh process.

A process runs trials one after another, as a worker of a sweep does: an encoder of mBERT's real configuration with random weights
(178 million parameters), 5,010 training pairs of XNLI, one step each. The first trial is on English; then come another source, and the same
source with another seed. A trial begins when it is given to the worker and has begun its first step when its first batch is drawn.
Tokens of all sources are in the node's store, where an earlier trial has put them; weights are in the page cache. One thread.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import scale, texts
from benchmarks.harness import OURS, Bar, Cost, Measure, Setting, finished, run

LANGUAGES = ("en", "de")
CHILD = "--child"
ORDER = ("a worker's first trial", "a further trial, another source", "a further trial, another seed")


def child(folder: Path, train: int) -> None:
    """Run the trials; prints as JSON when each of them began and began its first step, in seconds since the epoch."""
    from xfer_ray.core import Model, Sweep, Trial
    from xfer_ray.desk import Desk
    from xfer_ray.models import PAPER
    from xfer_ray.run import prepare
    from xfer_ray.trial import attempt

    task = texts.few(LANGUAGES, train, 4)
    recipe = dataclasses.replace(PAPER, epochs=None, steps=1, batch_size=8)
    model = Model(name="mbert", checkpoint=str(folder / "bert"), recipe=recipe, gpus=0)
    english, german = task.sources
    trials = [Trial(task, model, source, seed) for source, seed in ((english, 0), (german, 0), (german, 1))]
    found = prepare(Sweep("startup", tuple(trials)), str(folder / f"results-{time.time_ns()}"))
    for trial in trials:
        steps: list[float] = []
        began = time.time()
        outcome = attempt(trial, Desk(found, folder / "cache", observe=noting(steps)))
        assert outcome.state == "committed", outcome.reason
        print(json.dumps([began, steps[0]]), flush=True)


def noting(steps: list[float]) -> Callable[[str, float], None]:
    """Notes when a batch is drawn."""
    return lambda kind, value: steps.append(time.time()) if kind == "training_examples" else None


def worker(folder: Path, train: int) -> tuple[float, list[float]]:
    """A fresh process: seconds from its start to its first step, and of each of its trials from the beginning to the first step."""
    start = time.time()
    command = [sys.executable, "-m", "benchmarks.startup", CHILD, str(folder), str(train)]
    environment = scale.environment(folder) | {"OMP_NUM_THREADS": "1"}
    times = [json.loads(line) for line in finished(command, folder, environment).splitlines()]
    return times[0][1] - start, [step - began for began, step in times]


def measures(fresh: Sequence[float], worked: Sequence[Sequence[float]]) -> Iterator[Measure]:
    """The bar holds for trials on a warm worker."""
    yield Measure("start of a fresh process to its first step", "s", tuple(fresh))
    for name, values in zip(ORDER, zip(*worked, strict=True), strict=True):
        bar = Bar(0.5, "most") if "further" in name else None
        yield Measure(f"{name}, to its first step", "s", values, bar, {OURS: tuple(Cost(0.0, value) for value in values)})


def benchmark(setting: Setting) -> Iterator[Measure]:
    """A few workers, after one that fills the store and does not count."""
    from benchmarks import shapes

    train = setting.size(5010, 32)
    shapes.bert(shapes.TINY if setting.quick else shapes.BASE, setting.scratch / "bert")
    workers = [worker(setting.scratch, train) for _ in range(setting.size(5, 1) + 1)][1:]
    yield from measures([fresh for fresh, _ in workers], [times for _, times in workers])


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        run(__file__, __doc__, benchmark)
