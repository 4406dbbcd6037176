"""The floor: answer every example with the most frequent training label."""

from __future__ import annotations

from collections import Counter

from xfer_ray.contract import Context, FineTuned
from xfer_ray.core import Examples, Recipe, Task


def fine_tune(task: Task, train: Examples, select: Examples | None, recipe: Recipe, seed: int, context: Context) -> FineTuned:
    """Count the training labels; of equally frequent ones the first of `task.labels` is the answer."""
    counts = Counter(example.answers[0] for example in train)
    answer = max(task.labels, key=lambda label: counts[label])
    context.report(1, 1)
    return FineTuned(predict=lambda examples: [answer] * len(examples), step=1)
