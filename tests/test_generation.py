"""Greedy decoding in which ended rows leave the batch writes what transformers' `generate` writes, token for token."""

import numpy as np
import pytest
import test_layouts
import test_text_to_text as t5
import tiny
import torch
from transformers import AutoTokenizer, DynamicCache

from xfer_ray.models import batches, generation, text_to_text
from xfer_ray.models.tokens import encoded_texts

LONGEST, NEVER = 12, -1
TEXTS = [f"{e.first} or {e.second}" for e in tiny.examples(24)]


@pytest.fixture(params=["mt5", "t5", "umt5"])
def asked(request, tmp_path):
    """A model in fp64, where a sum in another order moves no choice, with an output layer of its own; and rows of uneven lengths."""
    folder = test_layouts._text_model(tmp_path, request.param)
    model = text_to_text.loaded(folder, t5.RECIPE).double().eval()
    torch.manual_seed(6)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape, dtype=torch.float64))
    return model, encoded_texts(AutoTokenizer.from_pretrained(folder), TEXTS, 64, tmp_path / "cache")[0]


def _theirs(model, tokens, end):
    """Each row by itself, without the token that starts the decoder."""
    return [
        model.generate(ids[None], max_new_tokens=LONGEST, do_sample=False, eos_token_id=end)[0, 1:].tolist()
        for ids in (torch.tensor(row) for row in np.split(tokens.ids.astype(np.int64), tokens.offsets[1:-1]))
    ]


def _ours(model, tokens, rows, end):
    with torch.inference_mode():
        ids = generation.greedy(model, batches.padded(tokens, np.array(rows), 0), end, LONGEST).tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in ids]


def test_it_equals_generate_with_rows_that_end_at_once_later_and_never(asked):
    model, tokens = asked
    free = _ours(model, tokens, range(24), NEVER)
    assert free == _theirs(model, tokens, NEVER)
    # The end token is the one of those begun with at which rows end at the most different lengths.
    ended = {end: {row.index(end) if end in row else LONGEST for row in free} for end in sorted({row[0] for row in free})}
    end = max(ended, key=lambda token: len(ended[token]))
    assert {0, LONGEST} < ended[end]
    expected = _theirs(model, tokens, end)
    assert _ours(model, tokens, range(24), end) == expected
    assert [_ours(model, tokens, [row], end)[0] for row in range(24)] == expected


def test_rows_that_have_ended_are_computed_no_more_and_when_all_have_nothing_is(asked, monkeypatch):
    model, tokens = asked
    sizes, update = [], DynamicCache.update
    monkeypatch.setattr(DynamicCache, "update", lambda self, keys, *rest: sizes.append(len(keys)) or update(self, keys, *rest))
    free = _ours(model, tokens, range(24), NEVER)
    end = free[0][0]
    left = [sum(end not in row[:column] for row in free) for column in range(LONGEST)]
    sizes.clear()
    _ours(model, tokens, range(24), end)
    assert sorted(set(sizes)) == sorted({count for count in left if count})
    ending = [row for row in range(24) if free[row][0] == end]
    sizes.clear()
    assert _ours(model, tokens, ending, end) == [[end]] * len(ending)
    assert len(sizes) == 2 * len(model.decoder.block), "one step: what was written and what was read, of each layer"


def test_scores_after_a_beginning_are_those_of_the_model(asked):
    model, tokens = asked
    grid, begun, choices = batches.padded(tokens, np.arange(24), 0), [7, 4], [3, 9, 5]
    with torch.inference_mode():
        found = generation.scores(model, grid, begun, choices)
        told = torch.tensor([[model.config.decoder_start_token_id, *begun]]).expand(24, -1)
        inputs = {"input_ids": torch.from_numpy(grid.ids), "attention_mask": torch.from_numpy(grid.mask)}
        torch.testing.assert_close(found, model(**inputs, decoder_input_ids=told).logits[:, -1, choices])
