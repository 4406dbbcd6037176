"""Steps of a fixed shape, called as a CPU does, learn what ordinary steps learn; a GPU plays the same ones."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import test_text_to_text as t5
import test_text_to_text_checkpoints as kinds
import tiny
import torch
from test_layouts import ASKED, SPANS, TRAIN, _tokens
from transformers import AutoTokenizer

from xfer_ray.keeping import Checkpoints
from xfer_ray.models import batches, captured, encoder, pairs, spans, states, text_to_text, training
from xfer_ray.recipe import Recipe
from xfer_ray.results import Results
from xfer_ray.storage import open_storage

RECIPE = Recipe(steps=30, learning_rate=2e-3, batch_size=12, max_length=48, max_query_length=20, dropout=0.0)  # the fourth batch is short
KINDS = ("bert", "xlmr", "windows", "mt5")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("captured")
    made = {"bert": tiny.bert(root / "bert"), "xlmr": tiny.xlmr(root / "xlmr"), "mt5": kinds.made(root / "mt5"), "cache": root / "cache"}
    return made | {"windows": made["bert"]}


@pytest.fixture
def fixed(monkeypatch):
    """Steps of a fixed shape on a CPU too; holds what took them."""
    monkeypatch.setattr(states, "layout_of", lambda model: "recorded")
    held = []
    made = captured.FixedSteps
    monkeypatch.setattr(captured, "FixedSteps", lambda *given: held.append(made(*given)) or held[-1])
    return held


def subject(folders, kind, recipe=RECIPE, device="cpu"):
    """A run and its lessons, from the same weights each time."""
    recipe = replace(recipe, max_target_length=12)
    task = {"windows": SPANS, "mt5": t5.LABELS}.get(kind, tiny.TASK)
    with training.seeded(0):
        model = text_to_text.loaded(folders[kind], recipe) if kind == "mt5" else encoder.with_head(folders[kind], task, recipe)
    context = tiny.context(folders[kind], folders["cache"])
    run = training.Run(model.to(device), AutoTokenizer.from_pretrained(folders[kind]), task, recipe, 0, context)
    head = {"windows": spans, "mt5": text_to_text}.get(kind, pairs)
    return run, head.lessons(run, ASKED if kind == "windows" else TRAIN)


def trained(run, lessons, seed=0):
    with training.seeded(seed):
        training.train(run, lessons)
    return {name: weights.detach().clone() for name, weights in run.model.state_dict().items()}


def apart(one, other, before):
    """How far two trained models are from each other, over how far one came from where it began."""
    far = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    return (far / sum(float((one[name] - before[name]).double().square().sum()) for name in one)) ** 0.5


# ------------------------------------------------------------------------------ shapes


def test_batches_of_a_run_have_few_shapes_and_little_is_filled_up():
    draw = np.random.default_rng(0)
    tokens = _tokens(np.clip(draw.lognormal(3.6, 0.45, 20_000), 6, 128).astype(int).tolist())  # as XNLI's, 41 on average
    shapes, cells, held = set(), 0, 0
    for start in range(0, len(tokens), 128):
        rows = np.arange(start, min(start + 128, len(tokens)))
        found = batches.in_few_shapes(batches.parts(batches.packed(tokens, rows, 0, 128), 0), 128)
        shapes.add(tuple(array.shape for array in found))
        cells, held = cells + found[0].size, held + int(tokens.lengths[rows].sum())
    assert len(shapes) <= 6
    assert held / cells > 0.9


def test_what_is_filled_up_belongs_to_nobody():
    tokens = _tokens([5, 9, 7, 30, 2] * 10)
    grid = batches.packed(tokens, np.arange(50), 0, 32)
    larger = batches.Grid(*batches.in_few_shapes(batches.parts(grid, 0), 60), packed=True)
    assert [batches.rounded(count) for count in (1, 15, 17, 31, 33, 41)] == [1, 15, 18, 32, 36, 44]
    assert len(larger.ids) == batches.rounded(len(grid.ids)) > len(grid.ids)
    assert len(larger.row) == len(larger.lengths) == 60
    assert int(larger.mask.sum()) == int(grid.mask.sum()) == tokens.lengths.sum()
    for name in ("ids", "segments", "positions", "owner"):
        assert (getattr(larger, name)[: len(grid.ids)] == getattr(grid, name)).all()
    assert (larger.owner[len(grid.ids) :] == batches.NOBODY).all()
    assert not larger.lengths[50:].any()


# ------------------------------------------------------------------------------ steps


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_the_gradient_of_a_fixed_shape_are_those_of_the_batch(folders, kind):
    run, lessons = subject(folders, kind)
    run.model.double()
    found = []

    def step(grid, asked, weight, rate):
        loss = lessons.loss(run.model, grid, *asked) / weight
        loss.backward()
        found.extend([loss.detach(), rate, *(p.grad.clone() for p in run.model.parameters() if p.grad is not None)])
        return loss

    batch = np.random.default_rng(1).permutation(len(lessons.tokens))[:7]
    optimizer = training.optimizer_of(run.model, run.recipe)
    captured.FixedSteps(run, lessons, optimizer, step)(batch, 0.5, 12)
    run.model.zero_grad()
    loss = training.gradient(run, lessons, batch, 7)
    assert found.pop(1) == 0.5
    expected = [loss, *(p.grad for p in run.model.parameters() if p.grad is not None)]
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-6, check_dtype=False)
    assert all(torch.isfinite(each).all() for each in found)


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_steps_of_a_fixed_shape_learn_what_others_learn(folders, fixed, monkeypatch, kind):
    run, lessons = subject(folders, kind)
    before = {name: weights.clone() for name, weights in run.model.state_dict().items()}
    ours = trained(run, lessons)
    (steps,) = fixed
    assert steps.played.calls == 0, "on a CPU steps are called"
    assert 1 <= len(steps.played.places) <= 6
    monkeypatch.setattr(states, "layout_of", lambda model: "packed")
    assert apart(ours, trained(*subject(folders, kind)), before) < 0.01
    assert len(fixed) == 1


def test_a_run_goes_on_from_its_checkpoint_with_the_same_steps(folders, fixed, tmp_path):
    class Killed(Exception):
        """As a worker that is lost."""

    def killed(step, steps):
        if step == 17:
            raise Killed

    recipe = replace(RECIPE, dropout=0.1)
    whole = trained(*subject(folders, "bert", recipe))
    run, lessons = subject(folders, "bert", recipe)
    keeper = Checkpoints(Results(open_storage(str(tmp_path)), "mine"), "tiny", tmp_path / "scratch", seconds=0.0)
    with pytest.raises(Killed):
        trained(replace(run, context=replace(run.context, keeper=keeper, report=killed)), lessons)
    run, lessons = subject(folders, "bert", recipe)
    went_on = trained(replace(run, context=replace(run.context, keeper=keeper)), lessons, seed=9)
    assert len(fixed) == 3
    assert all(torch.equal(whole[name], went_on[name]) for name in whole)


def test_what_was_recorded_is_given_back_with_the_run(folders, fixed):
    """A GPU's memory must be free for the evaluation, and for other trials, without a search for cycles."""
    run, lessons = subject(folders, "bert", replace(RECIPE, steps=2))
    gc.disable()
    try:
        trained(run, lessons)
        held = weakref.ref(fixed.pop().played)
        assert held() is None
    finally:
        gc.enable()


def test_a_seed_decides_what_dropout_leaves_out(folders, fixed):
    recipe = replace(RECIPE, dropout=0.3, steps=5)
    one, again, other = (trained(*subject(folders, "bert", recipe), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_of_several_micro_batches_is_left_to_ordinary_steps(folders, fixed, monkeypatch):
    run, lessons = subject(folders, "bert")
    small = trained(replace(run, context=replace(run.context, micro_batch=5)), lessons)
    assert not fixed[0].played.places
    monkeypatch.setattr(states, "layout_of", lambda model: "packed")
    run, lessons = subject(folders, "bert")
    ordinary = trained(replace(run, context=replace(run.context, micro_batch=5)), lessons)
    assert all(torch.equal(small[name], ordinary[name]) for name in small)


def test_a_step_that_runs_out_of_memory_is_taken_in_micro_batches(folders, fixed, monkeypatch):
    real = pairs.logits

    def logits(model, grid):
        if len(grid.row) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(model, grid)

    run, lessons = subject(folders, "bert")
    monkeypatch.setattr(pairs, "logits", logits)
    small = trained(run, lessons)
    monkeypatch.setattr(pairs, "logits", real)
    run, lessons = subject(folders, "bert")
    ordinary = trained(replace(run, context=replace(run.context, micro_batch=6)), lessons)
    assert all(torch.equal(small[name], ordinary[name]) for name in small)


def test_a_gradient_is_not_counted_twice_where_the_optimizer_was_out_of_memory(folders, fixed, monkeypatch):
    real, calls = torch.optim.AdamW.step, []

    def step(optimizer):
        calls.append(len(calls))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    tight = trained(*subject(folders, "bert"))
    assert len(calls) == RECIPE.steps + 1
    monkeypatch.setattr(states, "layout_of", lambda model: "packed")
    ordinary = trained(*subject(folders, "bert"))
    assert all(torch.equal(tight[name], ordinary[name]) for name in tight)


def test_a_model_that_is_reset_trains_as_a_new_one_and_stays_where_it_was(folders):
    run, lessons = subject(folders, "bert")
    weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    places = {name: tensor.data_ptr() for name, tensor in run.model.state_dict().items()}
    optimizer = training.optimizer_of(run.model, run.recipe)
    plan = list(batches.plan(lessons.tokens.lengths, replace(RECIPE, steps=5), 0))

    def learned():
        for batch in plan:
            training.gradient(run, lessons, batch, 12)
            training.update(optimizer, run.recipe, 1e-3)
        return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}

    first = learned()
    captured.reset(run.model, optimizer, weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in run.model.state_dict().items())
    again = learned()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert places == {name: tensor.data_ptr() for name, tensor in run.model.state_dict().items()}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU records steps")
def test_steps_that_are_recorded_learn_what_steps_that_are_called_learn(folders, monkeypatch):
    recipe = replace(RECIPE, dropout=0.1, precision="fp32")
    run, lessons = subject(folders, "bert", recipe, "cuda")
    before = {name: weights.clone() for name, weights in run.model.state_dict().items()}
    played = trained(run, lessons)
    monkeypatch.setattr(captured, "WARM_UP", RECIPE.steps)
    called = trained(*subject(folders, "bert", recipe, "cuda"))
    assert apart(played, called, before) < 0.01
