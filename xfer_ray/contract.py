"""What a trial and a model family owe each other: `fine_tune` gets no target, and gives a function from examples to answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from xfer_ray.core import Layout, Task
from xfer_ray.errors import DataError
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Example, Examples


class Keeper(Protocol):
    """Where one fine-tuning run keeps its checkpoints, each a folder of files that is there whole or not at all."""

    def due(self) -> bool:
        """Whether it is time for a checkpoint, should this run be killed."""
        ...

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Keep what `write` puts into a folder as the checkpoint of this step."""
        ...

    def latest(self) -> int | None:
        """The step of the newest complete checkpoint that an earlier attempt left, or None."""
        ...

    def fetch(self, step: int) -> Path:
        """A local folder with the checkpoint of this step; LookupError where it is lost: with those after it, it is given up."""
        ...

    def prune(self, needed: Collection[int]) -> None:
        """Give up the checkpoints of other steps, unless all are wanted later."""
        ...


Kind = Literal[
    "progress",  # of the run, from 0 to 1
    "training_examples",
    "training_tokens",
    "evaluation_examples",
    "evaluation_tokens",
    "source_dev_score",
    "gpu_memory",  # bytes that PyTorch holds now
    "gpu_memory_peak",  # the most that it held in this run
]
Observe = Callable[[Kind, float], None]
"""Hears what a run does, for those who watch a sweep: examples and tokens as they are read, the others as they stand."""


@dataclass(frozen=True)
class Context:
    """What a fine-tuning run may use of the place where it runs.

    `report` hears of each step (done, of all) and may raise, `alive` of each batch that is answered: a run that says neither for
    long is taken for stalled. `score` gives the fraction that answers to the `select` examples reach; `keeper` is there wherever
    a run must be able to go on.
    """

    checkpoint: str  # a hub id or a local folder
    revision: str | None
    cache: Path  # tokenized corpora, shared by the trials of this node
    micro_batch: int | None = None
    layout: Layout | None = None
    report: Callable[[int, int], None] = lambda step, steps: None
    alive: Callable[[], None] = lambda: None
    observe: Observe = lambda kind, value: None
    score: Callable[[Sequence[str]], float] = lambda answers: 0.0
    keeper: Keeper | None = None
    made: Callable[[Path, Callable[[Path], None]], Path] | None = None  # how a tokenized corpus comes into the cache; None: it is made


Predict = Callable[[Sequence[Example]], Sequence[str]]
Selection = Literal["last", "source-dev", "oracle"]


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model: a function from examples to answer strings, and what is known of its making.

    `curve` holds (step, score on the source's dev set) of each checkpoint that was scored; `at(step)` is the model as it
    was after that step, for those that were kept; it takes the place of this one.
    """

    predict: Predict
    step: int = 0
    micro_batch: int = 0
    device: str = "cpu"
    save: Callable[[Path], None] | None = None
    selection: Selection = "last"
    steps: int = 0  # of the whole run; `step` is the one that was chosen
    curve: tuple[tuple[int, float], ...] = ()
    at: Callable[[int], Predict] | None = None

    def __call__(self, examples: Sequence[Example]) -> list[str]:
        """The answer string of each example, in order."""
        return answers_of(self.predict, examples)


def answers_of(predict: Predict, examples: Sequence[Example]) -> list[str]:
    """The answer string of each example, in order; DataError unless there is exactly one each."""
    answers = predict(examples)
    if isinstance(answers, str):
        raise DataError(f"predict gave one string, {answers[:40]!r}, for {len(examples)} examples; it must give one string for each")
    if len(answers) != len(examples):
        raise DataError(f"predict gave {len(answers)} answers to {len(examples)} examples; it must give one string for each")
    return list(answers)


FineTune = Callable[[Task, Examples, Examples | None, Recipe, int, Context], FineTuned]
"""(task, training examples of the source, its dev examples if the recipe selects on them, recipe, seed, context) -> model."""
