"""Training without the part of a vocabulary that a source does not use."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from xfer_ray.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from xfer_ray.models.lessons import Lessons


@contextlib.contextmanager
def only_seen(
    model: PreTrainedModel, lessons: Lessons, recipe: Recipe, *, alike: bool = False
) -> Iterator[tuple[Lessons, Callable[[], contextlib.AbstractContextManager[None]]]]:
    """Train the embedding rows that the lessons use and leave the rest of the vocabulary out of every step.

    One language uses a fraction of a multilingual vocabulary, and without weight decay AdamW never moves an unused row. Gives
    the lessons in the smaller vocabulary, and a context in which the model has its whole one. Not where a table does more than
    embed these tokens, as that of a text-to-text model does. `alike` fills the smaller one up to a power of two, so that those of
    several sources are of one size.
    """
    if recipe.weight_decay > 0 or recipe.optimizer != "adamw" or model.config.is_encoder_decoder:
        yield lessons, contextlib.nullcontext
        return
    table = model.get_input_embeddings()
    used = np.zeros(table.num_embeddings, dtype=bool)
    used[lessons.tokens.ids] = True
    used[: lessons.pad + 1] = True  # so that the padding keeps its id, from which XLM-R counts positions
    kept = torch.from_numpy(np.flatnonzero(used)).to(table.weight.device)
    rows = table.weight.detach()[kept]
    if alike:
        more = min(1 << (len(kept) - 1).bit_length(), table.num_embeddings) - len(kept)
        rows = torch.cat([rows, rows.new_zeros(more, table.embedding_dim)])
    few = nn.Embedding(len(rows), table.embedding_dim, padding_idx=lessons.pad, _weight=rows)
    ids = (np.cumsum(used, dtype=np.int32) - 1)[lessons.tokens.ids]

    @contextlib.contextmanager
    def whole() -> Iterator[None]:
        with torch.no_grad():
            table.weight[kept] = few.weight[: len(kept)]
        model.set_input_embeddings(table)
        yield
        model.set_input_embeddings(few)

    model.set_input_embeddings(few)
    yield dataclasses.replace(lessons, tokens=dataclasses.replace(lessons.tokens, ids=ids)), whole
    with whole():
        pass
    model.set_input_embeddings(table)
