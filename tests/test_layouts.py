"""How a batch meets the device changes nothing but time: losses and gradients equal those of one example after another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_text_to_text as t5
import test_text_to_text_checkpoints as kinds
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoTokenizer, DistilBertConfig, DistilBertForMaskedLM, T5Config, T5ForConditionalGeneration, UMT5Config
from transformers import UMT5ForConditionalGeneration as UMT5

from xfer_ray.core import Model
from xfer_ray.errors import DeclarationError
from xfer_ray.models import batches, decoding, encoder, pairs, spans, states, text_to_text, training
from xfer_ray.models.lessons import Run
from xfer_ray.models.tokens import Tokens
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Example, Examples

TRAIN = tiny.examples(40, seed=3)
ASKED = Examples(tuple(Example(e.id, e.first, e.second, (e.second.split()[-1],), (e.second.rindex(e.second.split()[-1]),)) for e in TRAIN))
LAYOUTS = ("padded", "sorted", "packed")
SPANS = replace(tiny.TASK, name="spans", labels=())


# ------------------------------------------------------------------------------ grids

rows_of = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def _tokens(lengths: list[int]) -> Tokens:
    ids = np.arange(1, sum(lengths) + 1, dtype=np.int32)  # no two alike, and none is the padding
    return Tokens(ids, np.cumsum([0, *lengths]), np.array([length // 2 for length in lengths], dtype=np.int32))


@settings(deadline=None)
@given(rows_of, st.randoms())
def test_a_grid_holds_every_token_of_its_sequences_once(lengths, random):
    tokens = _tokens(lengths)
    rows = np.array(random.sample(range(len(lengths)), random.randint(1, len(lengths))))
    for layout in LAYOUTS:
        grid = batches.laid(tokens, rows, 0, layout)
        assert int(grid.mask.sum()) == tokens.lengths[rows].sum() == np.count_nonzero(grid.ids)
        for number, row in enumerate(rows):
            here = grid.row[number], slice(grid.column[number], grid.column[number] + tokens.lengths[row])
            assert grid.ids[here].tolist() == tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
            assert grid.positions[here].tolist() == list(range(tokens.lengths[row]))
            assert grid.segments[here].tolist() == [int(at >= tokens.seconds[row]) for at in range(tokens.lengths[row])]
            assert set(grid.owner[here]) == {number}
            assert grid.ids.reshape(-1)[grid.first[number]] == grid.ids[grid.row[number], grid.column[number]]


@settings(deadline=None)
@given(rows_of)
def test_packing_needs_few_rows(lengths):
    tokens = _tokens(lengths)
    grid = batches.packed(tokens, np.arange(len(lengths)), 0)
    filled = np.bincount(grid.row, tokens.lengths)
    assert len(grid.ids) <= len(lengths)
    assert len(grid.ids) < 2 or np.sort(filled)[:2].sum() > grid.ids.shape[1], "two rows would have fitted into one"


@settings(deadline=None)
@given(rows_of)
def test_targets_lie_in_the_rows_of_their_inputs(lengths):
    inputs, targets = _tokens(lengths), _tokens([1 + length % 5 for length in lengths])
    rows = np.random.default_rng(0).permutation(len(lengths))
    for layout in LAYOUTS:
        grid = batches.laid(inputs, rows, 0, layout)
        told = batches.beside(targets, rows, 0, grid)
        assert told.row.tolist() == grid.row.tolist()
        assert int(told.mask.sum()) == targets.lengths.sum()
        for number, row in enumerate(rows):
            here = told.ids[told.row[number], told.column[number] : told.column[number] + targets.lengths[row]]
            assert here.tolist() == targets.ids[targets.offsets[row] : targets.offsets[row + 1]].tolist()


# ------------------------------------------------------------------------------ encoders


@pytest.fixture(scope="module", params=["bert", "xlmr"])
def checkpoint(request, tmp_path_factory) -> Path:
    return getattr(tiny, request.param)(tmp_path_factory.mktemp(request.param))


def _run(folder, cache, task, recipe=tiny.RECIPE):
    with training.seeded(0):
        model = encoder.with_head(folder, task, recipe).double()
    return Run(model, AutoTokenizer.from_pretrained(folder), task, recipe, 0, tiny.context(folder, cache))


def _gradients(run, lessons, batch, size, layout):
    run.model.zero_grad()
    loss = training.gradient(replace(run, context=replace(run.context, layout=layout)), lessons, batch, size)
    return [loss, *(p.grad.clone() for p in run.model.parameters() if p.grad is not None)]


def _plain(run, examples, batch, loss_of):
    """The same from transformers' own forward pass, one example at a time."""
    run.model.zero_grad()
    total = 0.0
    for index in batch:
        item = examples[int(index)]
        read = run.tokenizer(item.first, item.second, return_tensors="pt")
        loss = loss_of(run.model(**read), item, read) / len(batch)
        loss.backward()
        total += float(loss.detach())
    return [torch.tensor(total, dtype=torch.float64), *(p.grad.clone() for p in run.model.parameters() if p.grad is not None)]


def _class_loss(output, item, read):
    return nn.functional.cross_entropy(output.logits, torch.tensor([tiny.LABELS.index(item.answers[0])]))


def _span_loss(output, item, read):
    tokens = read.tokens()
    at = len(tokens) - 2  # the last word of the second text stands before the last special token
    return sum(nn.functional.cross_entropy(side, torch.tensor([at])) for side in (output.start_logits, output.end_logits)) / 2


@pytest.mark.parametrize(("task", "head", "examples", "plain"), [(tiny.TASK, pairs, TRAIN, _class_loss), (SPANS, spans, ASKED, _span_loss)])
def test_an_encoders_loss_and_gradient_are_the_same_in_every_layout(checkpoint, tmp_path, task, head, examples, plain):
    run = _run(checkpoint, tmp_path, task, replace(tiny.RECIPE, max_length=48, max_query_length=20))
    lessons = head.lessons(run, examples)
    assert len(lessons.tokens) == len(examples)
    batch = np.random.default_rng(1).permutation(len(examples))[:23]
    expected = _plain(run, examples, batch, plain)
    for layout in LAYOUTS:
        for size in (5, 23):
            torch.testing.assert_close(_gradients(run, lessons, batch, size, layout), expected, atol=1e-6, rtol=1e-5, check_dtype=False)
    assert states.layout_of(run.model) == "packed"


def test_sequences_of_a_row_do_not_see_each_other(checkpoint, tmp_path):
    run = _run(checkpoint, tmp_path, tiny.TASK)
    tokens = pairs.lessons(run, TRAIN).tokens
    grid = batches.packed(tokens, np.arange(12), run.tokenizer.pad_token_id)
    assert len(grid.ids) < 8, "nothing is packed"
    other = replace(grid, ids=np.where(grid.owner == 3, run.tokenizer.unk_token_id, grid.ids))
    with torch.no_grad():
        run.model.eval()
        apart = (pairs.logits(run.model, grid) - pairs.logits(run.model, other)).abs().amax(1)
    assert apart[3] > 1e-3
    assert apart[np.arange(12) != 3].max() == 0


def test_packing_keeps_the_dropout_of_the_attention(checkpoint, tmp_path):
    """With dropout in the attention alone the scores vary, and around the same mean as transformers' own."""
    run = _run(checkpoint, tmp_path, tiny.TASK)
    model = run.model.train()
    for module in model.modules():
        if hasattr(module, "query"):
            module.dropout.p = 0.3
    tokens = pairs.lessons(run, TRAIN).tokens
    rows = np.arange(6)
    grids = [lay(tokens, rows, run.tokenizer.pad_token_id) for lay in (batches.packed, batches.padded)]
    assert len(grids[0].ids) < len(rows), "nothing is packed"
    with torch.no_grad(), training.seeded(0):
        ours, theirs = (torch.stack([pairs.logits(model, grid) for _ in range(400)]) for grid in grids)
    assert ours.std(0).min() > 1e-3
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.25, atol=0)
    error = (ours.var(0) / 400 + theirs.var(0) / 400).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()


def test_an_encoder_of_another_kind_is_sorted_and_learns(tmp_path):
    folder = tiny.bert(tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64)
    DistilBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    run = _run(folder, tmp_path / "cache", tiny.TASK)
    assert run.layout == "sorted"
    lessons = pairs.lessons(run, TRAIN)
    found = [_gradients(run, lessons, np.arange(20), size, layout) for size, layout in ((20, "padded"), (6, "sorted"))]
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-6)


# ------------------------------------------------------------------------------ text to text


def _text_model(folder: Path, kind: str) -> Path:
    size = AutoTokenizer.from_pretrained(kinds.made(folder / "size")).vocab_size
    if kind == "mt5":
        return kinds.made(folder / kind)
    if kind == "umt5":
        return kinds.made(folder / kind, UMT5Config(vocab_size=size, **kinds.SIZES), UMT5)
    return kinds.made(folder / kind, T5Config(vocab_size=size, **kinds.SIZES), T5ForConditionalGeneration)


@pytest.mark.parametrize("pieces", [decoding.LOGITS, 1000])
@pytest.mark.parametrize("kind", ["mt5", "t5", "umt5"])
def test_a_text_to_text_models_loss_and_gradient_are_the_same_in_every_layout(tmp_path, monkeypatch, kind, pieces):
    monkeypatch.setattr(decoding, "LOGITS", pieces)  # how many numbers of the output layer are computed at a time
    folder = _text_model(tmp_path, kind)
    recipe = Recipe(steps=3, learning_rate=1e-3, batch_size=8, max_length=40, dropout=0.0, max_target_length=12)
    model = text_to_text.loaded(folder, recipe).double().train()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    run = Run(model, tokenizer, t5.LABELS, recipe, 0, tiny.context(folder, tmp_path / "cache"))
    lessons = text_to_text.lessons(run, TRAIN)
    assert len(set(lessons.weights)) > 1, "targets of one length would prove little"
    batch = np.random.default_rng(1).permutation(len(TRAIN))[:23]

    model.zero_grad()
    total, count = 0.0, float(lessons.weights[batch].sum())
    for index in batch:
        asked, told = text_to_text.wording.question(t5.LABELS, TRAIN[index]), text_to_text.wording.answer(t5.LABELS, TRAIN[index])
        labels = tokenizer(told, return_tensors="pt").input_ids
        scores = model(**tokenizer(asked, return_tensors="pt"), labels=labels).logits[0]
        loss = nn.functional.cross_entropy(scores.double(), labels[0], reduction="sum") / count
        loss.backward()
        total += float(loss.detach())
    expected = [torch.tensor(total, dtype=torch.float64), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    for layout in LAYOUTS:
        for size in (5, 23):
            found = _gradients(run, lessons, batch, size, layout)
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5, check_dtype=False)


def test_a_layout_that_is_none_is_refused():
    with pytest.raises(DeclarationError, match="layout of model mine .*'packt'.*packed"):
        Model(name="mine", checkpoint="./x", recipe=tiny.RECIPE, layout="packt")
