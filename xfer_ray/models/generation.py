"""What a text-to-text model writes for a grid of inputs, one token after another.

The encoder reads once, and each row keeps its keys and values of what was read and written. A row that has ended leaves the
batch, so that one answer without an end, as models write when they have learned little, does not keep all others going.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from xfer_ray.models.batches import Grid
from xfer_ray.models.decoding import scale
from xfer_ray.models.states import attended, tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel


def greedy(model: PreTrainedModel, grid: Grid, end: int, longest: int) -> Tensor:
    """The likeliest token after those before, up to `end`, for each row: (rows, at most `longest`), filled up with `end`."""
    read, seen = _read(model, grid), attended(model, grid)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    rows = torch.arange(len(read), device=model.device)  # those that have not ended
    last = torch.full((len(read), 1), model.config.decoder_start_token_id, device=model.device)
    written = torch.full((len(read), longest), end, device=model.device)
    for column in range(longest):
        last = model.lm_head(_last_states(model, last, read, seen, cache)).argmax(-1, keepdim=True)
        written[rows, column] = last[:, 0]
        going = (last[:, 0] != end).nonzero()[:, 0]
        if len(going) == 0:
            return written[:, : column + 1]
        if len(going) < len(rows):
            rows, last, read, seen = rows[going], last[going], read[going], seen[going]
            cache.batch_select_indices(going)
    return written


def scores(model: PreTrainedModel, grid: Grid, begun: Sequence[int], choices: Sequence[int]) -> Tensor:
    """The model's scores for each of the tokens `choices` after an answer has `begun` so: (rows, choices)."""
    read, seen = _read(model, grid), attended(model, grid)
    begin = torch.tensor([[model.config.decoder_start_token_id, *begun]], device=model.device).expand(len(read), -1)
    found: Tensor = _last_states(model, begin, read, seen) @ model.lm_head.weight[choices].T
    return found


def _read(model: PreTrainedModel, grid: Grid) -> Tensor:
    read: Tensor = model.encoder(input_ids=tensor(model, grid.ids), attention_mask=attended(model, grid)).last_hidden_state
    return read


def _last_states(model: PreTrainedModel, ids: Tensor, read: Tensor, seen: Tensor, cache: EncoderDecoderCache | None = None) -> Tensor:
    """The decoder's state at the last of these tokens, scaled for the output layer: (rows, hidden)."""
    found: Tensor = model.decoder(
        input_ids=ids,
        encoder_hidden_states=read,
        encoder_attention_mask=seen,
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    return found[:, -1] * scale(model)
