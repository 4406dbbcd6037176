"""A sweep to lose machines under: a task and a model of its own, trials of several seconds that say how far they are.

Each training appends "<source>.s<seed> <host>" to `trained.txt` of the shared folder, so that trainings can be counted. While
there is a file `hold/<host>`, trials on that host stay at their step, alive: that is how a host is kept at work while it is cut off.
"""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from xfer_ray import Corpus, Example, Model, Recipe, Sweep, Task, grid
from xfer_ray.contract import Context, FineTuned
from xfer_ray.sources import Examples

SHARED = Path("/mnt/shared")
SECONDS = float(os.environ.get("REHEARSAL_SECONDS", "8"))  # of a trial
LABELS = ("yes", "no", "maybe")
LANGUAGES = ("en", "de", "es", "fr", "ru", "zh")


def draw(*parts: object) -> int:
    """A number that depends on nothing but the parts."""
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest(), 16)


def load(corpus: Corpus, split: str) -> list[Example]:
    """Fifty examples that tell their language."""
    return [Example(str(i), f"{split} {i}", f"in {corpus.language}", (LABELS[draw(split, i) % 3],)) for i in range(50)]


def fine_tune(task: Task, train: Examples, select: Examples | None, recipe: Recipe, seed: int, context: Context) -> FineTuned:
    """Pretend to learn for some seconds; the answers depend on source, target and seed alone."""
    source, host = train[0].second.removeprefix("in "), socket.gethostname()
    steps = recipe.steps or 1
    for step in range(1, steps + 1):
        context.report(step, steps)
        time.sleep(SECONDS / steps)
        while (SHARED / "hold" / host).exists():
            context.report(step, steps)
            time.sleep(0.5)
    with (SHARED / "trained.txt").open("a") as file:
        file.write(f"{source}.s{seed} {host}\n")
    return FineTuned(answers(source, seed), step=steps)


def answers(source: str, seed: int) -> Callable[[Sequence[Example]], list[str]]:
    """Right seven times in ten, and otherwise as it comes."""

    def predict(examples: Sequence[Example]) -> list[str]:
        right = [draw(source, e.second, seed, e.id) % 10 < 7 for e in examples]
        return [e.answers[0] if good else LABELS[draw(e.id) % 3] for e, good in zip(examples, right, strict=True)]

    return predict


CORPORA = tuple(Corpus(code) if code == "en" else Corpus(code, "HT", Corpus("en")) for code in LANGUAGES)
TASK = Task(name="rehearsal", sources=CORPORA, targets=CORPORA, load=load, labels=LABELS, parallel=True)
MODEL = Model(name="pretender", family=fine_tune, recipe=Recipe(steps=16, learning_rate=0.1, batch_size=1), gpus=0)
SWEEP = Sweep("rehearsal", grid(tasks=[TASK], models=[MODEL], seeds=[0, 1, 2, 3, 4]))
