"""What pre-training on rows of text teaches: masked tokens (Devlin et al. 2019), or corrupted spans (Raffel et al. 2020).

Both build whole batches from blocks of tokens with numpy, and a module that gives the loss of each row, summed over its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from xfer_ray.errors import DeclarationError, demand
from xfer_ray.models.streams import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MASKED = 0.15  # of the tokens; Devlin et al. 2019, section 3.1
KEPT, RANDOM = 0.1, 0.1  # of the masked ones: left as they are, or replaced by any token; likewise
NOISE = 0.15  # of the tokens are in corrupted spans; Raffel et al. 2020, section 3.1.4
SPAN = 3.0  # mean length of a span, likewise
SENTINELS = 100  # <extra_id_0> ... <extra_id_99>
NOTHING = -100  # the label of a token that is not predicted

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Rows of token ids, (rows, length), with a label per token to predict, (rows, any), and the language of each row."""

    inputs: Ids
    labels: Ids
    languages: Ids


class Masking:
    """Rows `[CLS] block [SEP]`; of the block's tokens 15 % are predicted, most of them from [MASK]."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_length: int) -> None:
        """`max_length` counts the tokens of a row, special ones included."""
        first, last, mask = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id
        demand(None not in (first, last, mask), "objective 'mlm' needs a tokenizer with the tokens [CLS], [SEP] and [MASK], or their like")
        self._first, self._last, self._mask = first, last, mask
        self._special = np.array(sorted(tokenizer.all_special_ids))
        self._words = np.setdiff1d(np.arange(len(tokenizer)), self._special)
        self.length, self.between = max_length - 2, (last,)

    def batch(self, blocks: Ids, languages: Ids, random: np.random.Generator) -> Batch:
        """Mask blocks of `length` tokens."""
        ids = np.pad(blocks, ((0, 0), (1, 1)), constant_values=((0, 0), (self._first, self._last)))
        chosen = (random.random(ids.shape) < MASKED) & ~np.isin(ids, self._special)
        labels = np.where(chosen, ids, NOTHING)
        lot = random.random(ids.shape)
        other = random.choice(self._words, ids.shape)
        told = np.where(lot < RANDOM, other, np.where(lot < RANDOM + KEPT, ids, self._mask))
        return Batch(np.where(chosen, told, ids), labels, languages)


class Spans:
    """Inputs of `max_length` tokens in which sentinels stand for spans, and targets that tell them, as T5 is pre-trained."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_length: int) -> None:
        """`max_length` counts the tokens of an input, sentinels and `</s>` included."""
        names = [f"<extra_id_{number}>" for number in range(SENTINELS)]
        sentinels = tokenizer.convert_tokens_to_ids(names)
        absent = {None, tokenizer.unk_token_id}.intersection(sentinels)
        demand(not absent, "objective 'span_corruption' needs a tokenizer with the sentinels <extra_id_0> to <extra_id_99>")
        self._sentinels, self._end = sentinels, tokenizer.eos_token_id
        self.length, self.between = raw_length(max_length), ()
        spans = _spans(self.length)[1]
        demand(
            spans <= SENTINELS,
            f"max_length {max_length} gives {spans} spans a row, and there are {SENTINELS} sentinels; give a smaller one",
        )

    def batch(self, blocks: Ids, languages: Ids, random: np.random.Generator) -> Batch:
        """Corrupt blocks of `length` tokens; every row has as many spans, so all are of one length."""
        rows = [corrupted(block, noise_mask(len(block), random), self._sentinels, self._end) for block in blocks]
        return Batch(np.stack([one for one, _ in rows]), np.stack([other for _, other in rows]), languages)


def corrupted(ids: Ids, noise: Mask, sentinels: Sequence[int], end: int) -> tuple[Ids, Ids]:
    """The input and the target of span corruption (Raffel et al. 2020, figure 2); `noise` is true on the tokens to predict.

    Thank you for inviting me to your party last week
      -> Thank you <extra_id_0> me to your party <extra_id_1> week </s>
      -> <extra_id_0> for inviting <extra_id_1> last <extra_id_2> </s>
    """
    return np.append(_marked(ids, noise, sentinels), end), np.append(_marked(ids, ~noise, sentinels), end)


def _marked(ids: Ids, gone: Mask, sentinels: Sequence[int]) -> Ids:
    """The tokens with a sentinel, the next one each time, in place of every span that is gone."""
    first = gone & ~np.concatenate([[False], gone[:-1]])
    marked = ids.copy()
    marked[first] = np.asarray(sentinels)[: int(first.sum())]
    kept: Ids = marked[~gone | first]
    return kept


def noise_mask(length: int, random: np.random.Generator) -> Mask:
    """A random choice of spans: text and noise take turns, text first, so that the last token is noise, as in T5's own code."""
    noisy, spans = _spans(length)
    lengths = np.stack([_segments(length - noisy, spans, random), _segments(noisy, spans, random)], axis=1).reshape(-1)
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)


def _spans(length: int) -> tuple[int, int]:
    """How many tokens of so many are noise, and in how many spans."""
    noisy = min(max(round(length * NOISE), 1), length - 1)
    return noisy, max(round(noisy / SPAN), 1)


def _segments(items: int, count: int, random: np.random.Generator) -> Ids:
    """So many items in `count` segments of at least one, all ways alike."""
    cuts = np.sort(random.choice(items - 1, count - 1, replace=False)) + 1
    return np.diff([0, *cuts, items])


def raw_length(max_length: int) -> int:
    """The most tokens of text whose corrupted input, sentinels and `</s>` included, is not longer than this: 512 -> 568."""
    length = max_length
    while True:
        noisy, spans = _spans(length + 1)
        if length + 1 - noisy + spans + 1 > max_length:
            return length
        length += 1


# ------------------------------------------------------------------------------ losses


class MaskedLoss(nn.Module):
    """A masked language model and its loss; the head sees only the tokens that are predicted."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, summed over its tokens: (rows,)."""
        wanted = labels != NOTHING
        head = getattr(self.model, "cls", None) or getattr(self.model, "lm_head", None)
        if head is None:
            raise DeclarationError(f"objective 'mlm' does not know the head of {type(self.model).__name__}; possible: bert, xlm-roberta")
        hidden = self.model.base_model(inputs, attention_mask=torch.ones_like(inputs)).last_hidden_state  # (rows, length, width)
        each = nn.functional.cross_entropy(head(hidden[wanted]).float(), labels[wanted], reduction="none")
        rows = wanted.nonzero()[:, 0]
        return torch.zeros(len(inputs), device=inputs.device).index_add(0, rows, each)


class SpansLoss(nn.Module):
    """A text-to-text model and its loss."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, summed over its tokens: (rows,)."""
        logits = self.model(input_ids=inputs, labels=labels).logits  # (rows, length, pieces)
        return nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none").sum(1)
