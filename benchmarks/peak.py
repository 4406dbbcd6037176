"""How much of the machine's matrix peak a training step turns into work on real tokens.

The peak is that of fp32 matrix products, the best of several shapes, measured anew after every step; a step is one of
`xfer_ray.models.training.train` on 128 pairs of XNLI. Its work is counted on real tokens, padding left out: a row of n tokens costs

    layers x (2n x (4 width^2 + 2 width x 4 width) + 4 n^2 width) + 2 width^2 + 2 width x classes

floating-point operations forward (projections and feed-forward layer, attention, pooler, head), and twice that backward. Embeddings,
normalization, dropout, softmax and the optimizer count as no work, and their time counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import harness, shapes, texts
from benchmarks.harness import OURS, Bar, Measure, Setting
from benchmarks.shapes import Shape
from benchmarks.training import Subject, of_pairs
from xfer_ray.models import PAPER, training
from xfer_ray.models.batches import plan
from xfer_ray.tasks import XNLI

# Rows, inner dimension and columns: square ones, and those of a layer on a few thousand tokens.
PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 512, 2048), (4096, 768, 3072), (4096, 2048, 512), (4096, 4096, 1024))


def work(lengths: NDArray[np.int64], shape: Shape, classes: int = len(XNLI.labels)) -> float:
    """Floating-point operations of a training step on rows of these lengths."""
    n, width = lengths.astype(np.float64), shape.width
    layer = 2 * n * (4 * width**2 + 2 * width * 4 * width) + 4 * n**2 * width
    return float(3 * (shape.layers * layer + 2 * width**2 + 2 * width * classes).sum())


def product(sizes: tuple[int, int, int], seconds: float) -> float:
    """Floating-point operations a second of this fp32 matrix product, the best of as many as take so long."""
    rows, inner, columns = sizes
    left, right, into = torch.rand(rows, inner), torch.rand(inner, columns), torch.empty(rows, columns)
    torch.mm(left, right, out=into)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        before = time.perf_counter()
        torch.mm(left, right, out=into)
        best = min(best, time.perf_counter() - before)
    return 2 * rows * inner * columns / best


def shares(subject: Subject, shape: Shape, seconds: float) -> tuple[list[float], list[harness.Cost], float]:
    """Per step, work on real tokens over what the peak would have done in its time, after the first; the steps; the peak."""
    run, lengths = subject.run, subject.lessons.tokens.lengths
    works = [work(lengths[batch], shape) for batch in plan(lengths, run.recipe, run.seed)]
    best = max(PRODUCTS, key=lambda sizes: product(sizes, seconds))
    costs: list[harness.Cost] = []
    peaks = [product(best, seconds)]
    before = harness.now()

    def report(step: int, steps: int) -> None:
        nonlocal before
        costs.append(harness.since(before))
        peaks.append(product(best, seconds))
        before = harness.now()

    with training.seeded(0):
        training.train(replace(run, context=replace(run.context, report=report)), subject.lessons)
    around = [max(pair) for pair in zip(peaks, peaks[1:], strict=False)]
    found = [100 * done / cost.wall / peak for done, cost, peak in zip(works, costs, around, strict=True)]
    return found[1:], costs[1:], max(peaks)


def benchmark(setting: Setting) -> Iterator[Measure]:
    """The share of a small and of a base encoder, with as many threads as are asked for."""
    examples = texts.pairs(setting.size(3000, 150))
    recipe = replace(PAPER, epochs=None, steps=setting.size(4, 3), batch_size=setting.size(128, 16))
    for shape in (shapes.TINY,) if setting.quick else (shapes.SMALL, shapes.BASE):
        for threads in setting.threads:
            torch.set_num_threads(threads)
            subject = of_pairs(shapes.bert(shape, setting.scratch / shape.name), examples, recipe)
            found, costs, peak = shares(subject, shape, 1.0 if not setting.quick else 0.05)
            yield Measure(
                f"real tokens' share of the matrix peak, training {shape.name}, {threads} thread{'s' if threads > 1 else ''}",
                "%",
                tuple(found),
                Bar(35.0),
                {OURS: tuple(costs)},
                f"peak {harness.number(peak / 1e9)} GFLOP/s",
            )


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
