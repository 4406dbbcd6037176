"""What a trial will take on this machine, from a few steps of it and a few hundred answers; nothing is written to the results."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xfer_ray import data, pretrained
from xfer_ray.contract import Context, FineTuned
from xfer_ray.core import Trial
from xfer_ray.errors import SetupError
from xfer_ray.plan import Probed
from xfer_ray.recipe import Pretraining, Recipe
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import Storage
from xfer_ray.trial import family_of

WARM_UP, LEAST, MOST = 2, 10, 40  # steps
SECONDS = 20.0  # after which LEAST steps will do
SYNCED = 20  # training.py looks at its losses every so many steps, and so waits until a GPU has done what it was asked
ANSWERS = 256

Told = Mapping[tuple[str, str], Probed | str]


class _Enough(Exception):
    """So many steps tell enough."""


@dataclass
class _Steps:
    """Hears of each step of a run, when, and stops it when they tell enough."""

    times: list[float] = field(default_factory=list)
    all: int = 0

    def report(self, step: int, steps: int) -> None:
        """As a Context has it."""
        self.times.append(time.perf_counter())
        self.all, done = steps, len(self.times)
        if done == MOST or (done >= LEAST and self.times[-1] - self.times[0] > SECONDS):
            raise _Enough(f"fine_tune goes on beyond step {step}, where it was asked for one")

    @property
    def each(self) -> float:
        """Seconds of one step."""
        first = SYNCED if len(self.times) == MOST else WARM_UP
        return (self.times[-1] - self.times[first - 1]) / (len(self.times) - first)


def probe(trials: Iterable[Trial], storage: Storage, scratch: Path, say: Callable[[str], None]) -> Told:
    """For each task and model, by the first of these trials what one of them takes, or why that could not be found out."""
    first: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        first.setdefault((trial.task.name, trial.model.name), trial)
    told: dict[tuple[str, str], Probed | str] = {}
    for key, trial in first.items():
        say(f"probing {trial.task.name} with {trial.model.name} on {trial.source}")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                told[key] = _probed(trial, storage, scratch)
        except Exception as error:  # a family or a load of the sweep file may raise anything, and the plan is shown all the same
            told[key] = str(error) or type(error).__name__
    return told


def _probed(trial: Trial, storage: Storage, scratch: Path) -> Probed:
    task, recipe = trial.task, trial.model.recipe
    train = data.examples_of(task, trial.source, task.train_split, size=task.size)
    targets = [data.examples_of(task, target, task.eval_split) for target in task.targets]
    answers = sum(map(len, targets))
    context = _context(trial, storage, scratch)
    seconds, steps, fine_tuned = _trained(trial, train, context)
    if recipe.select_every is not None:
        dev = data.examples_of(task, task.select_corpus(trial.source), task.select_split)
        answers += math.ceil(steps / recipe.select_every) * len(dev)
    sample = _sample(targets)
    begun = time.perf_counter()
    fine_tuned(sample)
    return Probed(seconds + answers * (time.perf_counter() - begun) / len(sample), fine_tuned.device)


def _context(trial: Trial, storage: Storage, scratch: Path) -> Context:
    model, checkpoint = trial.model, trial.model.checkpoint
    if isinstance(checkpoint, Pretraining):
        if not pretrained.exists(storage, checkpoint):
            raise SetupError("its checkpoint does not exist yet; `run` makes it first")
        checkpoint = str(pretrained.fetch(storage, checkpoint, scratch))
    return Context(checkpoint, model.revision, scratch / "tokens", model.micro_batch, model.layout)


def _trained(trial: Trial, train: Examples, context: Context) -> tuple[float, int, FineTuned]:
    """The seconds and steps of the whole training, and a model to answer with, which may have taken one step only."""
    fine_tune, recipe = family_of(trial.model), dataclasses.replace(trial.model.recipe, select_every=None)
    steps, begun = _Steps(), time.perf_counter()
    try:
        fine_tuned = fine_tune(trial.task, train, None, recipe, trial.seed, dataclasses.replace(context, report=steps.report))
        return time.perf_counter() - begun, steps.all, fine_tuned
    except _Enough:
        few = Examples(train.items[: recipe.batch_size or 1])
        short = dataclasses.replace(context, report=_Steps().report)
        return steps.each * steps.all, steps.all, fine_tune(trial.task, few, None, _once(recipe), trial.seed, short)


def _once(recipe: Recipe) -> Recipe:
    """The same for one step, or one epoch of one batch."""
    return dataclasses.replace(recipe, steps=1) if recipe.steps else dataclasses.replace(recipe, epochs=1)


def _sample(targets: Sequence[Examples]) -> list[Example]:
    """Some examples of every target, from everywhere in it."""
    each = math.ceil(ANSWERS / len(targets))
    return [one for items in targets for one in items.items[:: max(1, len(items) // each)][:each]]
