"""What a family hands to the training loop: a run, and the lessons that its model is to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xfer_ray.contract import Context
from xfer_ray.core import Layout, Task
from xfer_ray.models import states
from xfer_ray.models.batches import Grid, Part, Rows
from xfer_ray.models.tokens import Tokens
from xfer_ray.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Loss = Callable[..., Tensor]
Asked = Callable[[Grid, Rows], Sequence[Part]]


@dataclass(frozen=True)
class Lessons:
    """What is learned: rows of tokens, the id that pads them, what each row weighs, the loss, and what it asks of the rows.

    `loss(model, grid, *asked)` is summed over the rows, which `grid` lays out; over a batch it is divided by
    the weight of the batch: its number of rows, or of the tokens that they ask for. `asked(grid, rows)` gives arrays;
    without it the loss reads the numbers of the rows.
    """

    tokens: Tokens
    pad: int
    weights: NDArray[np.float64]
    loss: Loss
    asked: Asked | None = None

    def summed(self, model: PreTrainedModel, grid: Grid, rows: Rows) -> Tensor:
        """The loss of these rows."""
        return self.loss(model, grid, *([rows] if self.asked is None else [part.values for part in self.asked(grid, rows)]))


@dataclass(frozen=True)
class Run:
    """One fine-tuning run: a model on its device, its tokenizer, what it is to learn, how, and where."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    task: Task
    recipe: Recipe
    seed: int
    context: Context

    @property
    def layout(self) -> Layout:
        """How a batch meets the device."""
        return self.context.layout or states.layout_of(self.model)
