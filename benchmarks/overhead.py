"""What a sweep adds to a trial: many trials of the majority model, beside as many of Ray Tune that do nothing.

As `benchmarks/scale.py`, whose figures these are, with fewer trials and nothing that reads afterwards: milliseconds from one trial's end
to the next, ours less Ray's own, for each tenth of the trials but the first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from benchmarks import harness, scale
from benchmarks.harness import OURS, Bar, Cost, Measure, Setting

RAY = "Ray Tune alone"


def stretches(samples: Sequence[scale.Sample]) -> list[Cost]:
    """Seconds a trial between samples: of the driver's processor, and on the wall."""
    pairs = zip(samples, samples[1:], strict=False)
    return [
        Cost((after.cpu - before.cpu) / (after.done - before.done), (after.seconds - before.seconds) / (after.done - before.done))
        for before, after in pairs
    ]


def benchmark(setting: Setting) -> Iterator[Measure]:
    """One sweep, then Ray's own."""
    seeds = setting.size(50, 5)
    number, folder = 10 * seeds, setting.scratch
    scale.declare(folder, 10, seeds)
    ours = stretches(scale.watch([*scale.OURS, "run", "many.py"], folder, seeds))
    bare = stretches(scale.watch([sys.executable, "-m", "benchmarks.nothing", str(number)], folder, seeds))
    sides = {OURS: tuple(ours), RAY: tuple(bare)}
    added = tuple(1000 * (our.wall - rays.wall) for our, rays in zip(ours, bare, strict=True))
    yield Measure(f"overhead of the sweep a trial, {number} trials", "ms", added, Bar(100.0, "most"), sides)


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
