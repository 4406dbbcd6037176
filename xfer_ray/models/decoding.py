"""What a text-to-text model makes of a grid of inputs and one of targets, and the loss of its output layer in pieces.

As in states.py a row may hold several sequences: a target sees its own earlier tokens and the input beside it. Relative positions
are those within a sequence, since a sequence stands in one piece. (T5, Raffel et al. 2020; mT5, Xue et al. 2021.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xfer_ray.models.batches import NOBODY, Grid
from xfer_ray.models.states import attended, tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGITS = 2**26  # numbers of a piece of the output layer: a quarter of a GiB in fp32


def moved_on(model: PreTrainedModel, told: Grid) -> Grid:
    """What the decoder reads as it tells these targets: at each token the one before, and first of all its own start."""
    begun = np.roll(told.ids.reshape(-1), 1)
    begun[told.first] = model.config.decoder_start_token_id
    return replace(told, ids=np.where(told.owner == NOBODY, model.config.pad_token_id, begun.reshape(told.ids.shape)))


def states(model: PreTrainedModel, grid: Grid, told: Grid) -> Tensor:
    """The decoder's states, scaled for the output layer, as it reads `told`, targets moved on: (rows, width of told, hidden)."""
    earlier = torch.ones(told.ids.shape[1], told.ids.shape[1], dtype=torch.bool, device=model.device).tril()
    read = model.encoder(input_ids=tensor(model, grid.ids), attention_mask=attended(model, grid)).last_hidden_state
    found: Tensor = model.decoder(
        input_ids=tensor(model, told.ids),
        attention_mask=attended(model, told) & earlier,
        encoder_hidden_states=read,
        encoder_attention_mask=attended(model, told, grid),
        use_cache=False,
    ).last_hidden_state
    return found * scale(model)


def scale(model: PreTrainedModel) -> float:
    """By what the states are multiplied before the output layer: T5's own, where that layer is the table of embeddings."""
    config = model.config
    scaled = config.scale_decoder_outputs if config.model_type == "t5" else config.model_type == "umt5" and config.tie_word_embeddings
    return float(config.d_model**-0.5) if scaled else 1.0


def cross_entropy(model: PreTrainedModel, found: Tensor, wanted: Tensor) -> Tensor:
    """The loss summed over tokens, of their states (tokens, hidden) and ids (tokens,).

    A vocabulary of 250,000 pieces makes the scores the largest tensor of all: they are computed in pieces, and again backwards.
    """
    size = max(1, LOGITS // model.lm_head.out_features)
    if len(wanted) <= size:
        return _cross_entropy(model.lm_head, found, wanted)
    pieces = [
        checkpoint(_cross_entropy, model.lm_head, some, those, use_reentrant=False, preserve_rng_state=False)
        for some, those in zip(torch.split(found, size), torch.split(wanted, size), strict=True)
    ]
    return torch.stack(pieces).sum()


def _cross_entropy(head: nn.Module, found: Tensor, wanted: Tensor) -> Tensor:
    return nn.functional.cross_entropy(head(found).float(), wanted, reduction="sum")
