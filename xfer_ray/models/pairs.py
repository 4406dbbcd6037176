"""Classification of pairs on an encoder: one class from the first token of both texts together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xfer_ray.contract import Predict
from xfer_ray.models import states
from xfer_ray.models.batches import NOTHING, Grid, Part, Rows, by_length, padded
from xfer_ray.models.lessons import Lessons, Run
from xfer_ray.models.memory import in_groups
from xfer_ray.models.tokens import Tokens, encoded
from xfer_ray.models.training import autocast, budget, inputs
from xfer_ray.sources import Example, Examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def lessons(run: Run, train: Examples) -> Lessons:
    """Each example is a row; what is learned is the class of its first answer."""
    tokens = encoded(run.tokenizer, train, run.recipe.max_length, run.context.cache, run.context.made)
    classes = np.array([run.task.labels.index(example.answers[0]) for example in train])

    def asked(grid: Grid, rows: Rows) -> tuple[Part, ...]:
        return (Part(classes[rows], NOTHING, "sequences"),)

    def loss(model: PreTrainedModel, grid: Grid, wanted: Any) -> Tensor:  # noqa: ANN401 - an array or a tensor
        return nn.functional.cross_entropy(logits(model, grid).float(), states.tensor(model, wanted), reduction="sum")

    return Lessons(tokens, run.tokenizer.pad_token_id, np.ones(len(train)), loss, asked)


def predictor(run: Run) -> Predict:
    """The function that answers with the likeliest label."""

    def predict(examples: Sequence[Example]) -> list[str]:
        tokens = encoded(run.tokenizer, examples, run.recipe.max_length, run.context.cache, run.context.made)
        return [run.task.labels[index] for index in best_classes(run, tokens)]

    return predict


def best_classes(run: Run, tokens: Tokens) -> NDArray[np.int64]:
    """The likeliest class of each row, in order; computed longest first so that little is padding."""
    best = np.empty(len(tokens), dtype=np.int64)

    def compute(rows: Rows) -> None:
        best[rows] = logits(run.model, padded(tokens, rows, run.tokenizer.pad_token_id)).argmax(-1).cpu().numpy()

    run.model.eval()
    with torch.inference_mode(), autocast(run.model, run.recipe):
        in_groups(run, tokens.lengths, by_length(tokens.lengths, budget(run.model)), compute)
    return best


def logits(model: PreTrainedModel, grid: Grid) -> Tensor:
    """The model's scores for each sequence and class: (sequences, classes)."""
    if not states.are_ours(model, grid):
        output: Tensor = model(**inputs(model, grid)).logits
        return output
    first = states.first_states(model, grid)[:, None]  # as rows of one token, for poolers and heads take the first of each
    pooler = getattr(model.base_model, "pooler", None)
    scores: Tensor = model.classifier(first) if pooler is None else model.classifier(model.dropout(pooler(first)))
    return scores
