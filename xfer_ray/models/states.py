"""What an encoder makes of a grid of tokens, whether a row holds one sequence or several.

Packing changes no result: a token attends to those of its own sequence alone, its position is that in its sequence, and what is
read from the states belongs to a sequence. And where only the first token of each is read, as in classification, the last
layer computes that one only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xfer_ray.core import Layout
from xfer_ray.models.batches import Grid

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What is built of BERT's layers: `embeddings`, and an `encoder` whose layers attend, project and feed forward by the same names.
KNOWN = ("bert", "roberta", "xlm-roberta")


def layout_of(model: PreTrainedModel) -> Layout:
    """How a batch is laid out best: packed where the model is known, or built as T5 is; else sorted, which asks nothing of it."""
    return "packed" if model.config.model_type in KNOWN or model.config.is_encoder_decoder else "sorted"


def are_ours(model: PreTrainedModel, grid: Grid) -> bool:
    """Whether the functions below compute a grid: one that is packed, and every one that is only answered.

    Training in the other layouts is left to the model's own forward pass, which is the reference, down to what dropout leaves out.
    """
    return model.config.model_type in KNOWN and not model.config.is_decoder and (grid.packed or not model.training)


def tensor(model: PreTrainedModel, array: Any) -> Tensor:  # noqa: ANN401 - any numpy array, or a tensor
    """On the model's device; a tensor is there already."""
    return array if isinstance(array, Tensor) else torch.from_numpy(array).to(model.device)


def attended(model: PreTrainedModel, grid: Grid, others: Grid | None = None) -> Tensor:
    """Which token may look at which: (rows, 1, width, width of the others), or (rows, 1, 1, width) where rows are sequences."""
    looked_at = tensor(model, (others or grid).owner)
    if not grid.packed:
        return (looked_at >= 0)[:, None, None, :]
    return tensor(model, grid.owner)[:, None, :, None] == looked_at[:, None, None, :]


def embedded(model: PreTrainedModel, grid: Grid) -> Tensor:
    """The tokens before the first layer: (rows, width, hidden)."""
    base, positions = model.base_model, grid.positions
    if model.config.model_type != "bert":  # RoBERTa and XLM-R count positions from the padding id on
        positions = positions + model.config.pad_token_id + 1
    more = {"token_type_ids": tensor(model, grid.segments)} if model.config.type_vocab_size > 1 else {}
    states: Tensor = base.embeddings(input_ids=tensor(model, grid.ids), position_ids=tensor(model, positions), **more)
    return states


def all_states(model: PreTrainedModel, grid: Grid) -> Tensor:
    """The states of all tokens after the last layer: (rows, width, hidden)."""
    states: Tensor = model.base_model.encoder(embedded(model, grid), attention_mask=attended(model, grid)).last_hidden_state
    return states


def first_states(model: PreTrainedModel, grid: Grid) -> Tensor:
    """The state of the first token of each sequence after the last layer: (sequences, hidden)."""
    states, mask = embedded(model, grid), attended(model, grid)
    *layers, last = model.base_model.encoder.layer
    for layer in layers:
        states = layer(states, mask)
    row, column = tensor(model, grid.row), tensor(model, grid.column)
    first = states[row, column]
    seen = mask[row, 0, column if grid.packed else 0][:, None, None]  # (sequences, 1, 1, width)
    told = _attention(last.attention.self, first[:, None], states, row, seen)
    between = last.attention.output(told[:, 0], first)
    output: Tensor = last.output(last.intermediate(between), between)
    return output


def _attention(attention: nn.Module, asking: Tensor, states: Tensor, row: Tensor, seen: Tensor) -> Tensor:
    """What one token of each sequence, (sequences, 1, hidden), learns from the row it stands in."""
    heads: int = attention.num_attention_heads  # type: ignore[assignment]

    def split(projection: Any, read: Tensor) -> Tensor:  # noqa: ANN401 - a module
        projected: Tensor = projection(read)
        return projected.view(*read.shape[:-1], heads, -1).transpose(1, 2)  # (rows, heads, tokens, head)

    query, key, value = split(attention.query, asking), split(attention.key, states), split(attention.value, states)
    dropout = float(attention.dropout.p) if attention.training else 0.0  # type: ignore[union-attr, arg-type]
    found = nn.functional.scaled_dot_product_attention(query, key[row], value[row], attn_mask=seen, dropout_p=dropout)
    return found.transpose(1, 2).flatten(-2)


def by_sequence(model: PreTrainedModel, grid: Grid, tokens: Tensor, filler: float) -> Tensor:
    """What belongs to each token of a grid, (rows, width, …), in a row for each sequence: (sequences, width, …)."""
    if not grid.packed:
        return tokens
    owner, positions = tensor(model, grid.owner), tensor(model, grid.positions)
    nobody = len(grid.row)  # one row more, for what is padding
    apart = tokens.new_full((nobody + 1, grid.ids.shape[1], *tokens.shape[2:]), filler)
    return apart.index_put((owner.where(owner >= 0, nobody), positions), tokens)[:nobody]
