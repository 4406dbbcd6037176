"""Starts that imitate what trained models have learned (Trockman and Kolter 2023), for models too small to find it in minutes.

A random start learns which words are frequent and no more: that one token equals another, or that a text can be copied, does
not emerge in the first few thousand steps. From these it is there before the first step, and training mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedModel
    from transformers.models.t5.modeling_t5 import T5Attention

# Chosen by trial on small models of four heads and 96 or 128 dimensions.
DEVIATIONS = {"word_embeddings": 0.08, "position_embeddings": 0.02, "token_type_embeddings": 0.04}
QUERY_SCALES = (1.0, 0.7)  # in the first layer, and above
BEFORE, OTHERWISE = 6.0, 0.1  # the bias toward the token before, and what is left of all other biases
LIKENESS, SUCCESSION, COPY = 0.4, 0.45, 2.0  # scales of what heads compare, and of what is copied


def bert(model: BertModel) -> None:
    """A token attends to its likes, so that sentences can be compared from the first step."""
    for table, deviation in DEVIATIONS.items():
        nn.init.normal_(getattr(model.embeddings, table).weight, std=deviation)
    first, above = QUERY_SCALES
    for depth, layer in enumerate(model.encoder.layer):
        attention = layer.attention.self
        nn.init.orthogonal_(attention.query.weight, gain=above if depth else first)
        with torch.no_grad():
            attention.key.weight.copy_(attention.query.weight)


@torch.no_grad()
def text_to_text(model: PreTrainedModel) -> None:
    """A decoder that has written a token looks for where that token stands in the input, and says what follows it there.

    In each layer the first head carries what stands before a token to it; two more heads of the encoder find a token's likes; the
    decoder compares the token that it wrote last with those that stand before the input's, and copies what it finds. The output
    begins as the input's embeddings are, and parts from them unless the two are tied.
    """
    width, head = model.config.d_model, model.config.d_kv
    if model.lm_head.weight is not model.shared.weight:
        model.lm_head.weight.copy_(model.shared.weight * width**-0.5)
    carried, left = _rows(head, width), _rows(head, width)  # what is read of the token before, and where it is left
    for stack in (model.encoder, model.decoder):
        _look_before(stack.block[0].layer[0].SelfAttention)
        for block in stack.block:
            attention = block.layer[0].SelfAttention
            attention.q.weight[:head] *= OTHERWISE
            attention.k.weight[:head] *= OTHERWISE
            attention.v.weight[:head] = carried
            attention.o.weight[:, :head] = left.T
            if stack is model.encoder:
                _find_likes(attention, head)
            else:
                _find_successors(block.layer[1].EncDecAttention, carried, left)


def _rows(count: int, width: int) -> Tensor:
    """Orthonormal rows of random direction, (count, width)."""
    return nn.init.orthogonal_(torch.empty(count, width))


def _look_before(attention: T5Attention) -> None:
    """The first head attends to the token before; the table of biases serves all layers of a stack."""
    before = attention._relative_position_bucket(
        torch.tensor([[-1]]),
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    ).item()
    table = attention.relative_attention_bias.weight  # (buckets, heads)
    table *= OTHERWISE
    table[int(before), 0] = BEFORE


def _find_likes(attention: T5Attention, head: int) -> None:
    """The second and the third head attend to tokens that are like this one."""
    for start in range(head, min(3 * head, len(attention.q.weight)), head):
        alike = LIKENESS * _rows(head, attention.q.weight.shape[1])
        attention.q.weight[start : start + head] = alike
        attention.k.weight[start : start + head] = alike


def _find_successors(attention: T5Attention, carried: Tensor, left: Tensor) -> None:
    """All heads attend to the tokens of the input that follow the one that was written last, and copy them."""
    heads = len(attention.q.weight) // len(carried)
    attention.q.weight.copy_(SUCCESSION * carried.repeat(heads, 1))
    attention.k.weight.copy_(SUCCESSION * left.repeat(heads, 1))
    nn.init.orthogonal_(attention.v.weight)
    attention.o.weight.copy_(COPY * attention.v.weight.T)
