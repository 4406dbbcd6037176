"""Steps of a fixed shape, called as a CPU does, learn what ordinary steps learn; a GPU plays the same ones."""

import contextlib
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
from xfer_ray.models import batches, captured, encoder, memory, pairs, seats, spans, states, text_to_text, training
from xfer_ray.models.lessons import Run
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
    run = Run(model.to(device), AutoTokenizer.from_pretrained(folders[kind]), task, recipe, 0, context)
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
    assert not any(place.recorded for place in steps.played.places.values()), "on a CPU steps are called"
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


# ------------------------------------------------------------------------------ what a warm worker keeps


@contextlib.contextmanager
def seated(model, optimizer, at):
    """Let a model and its optimizer have their tensors in other places for a while."""
    tensors = [*model.parameters(), *model.buffers()]
    states = [state for parameter, state in optimizer.state.items()]
    own = [tensor.data for tensor in tensors], [dict(state) for state in states]
    for here in (at, own):
        for tensor, place in zip(tensors, here[0], strict=True):
            tensor.data = place
        for state, places in zip(states, here[1], strict=True):
            state.update(places)
        if here is at:
            yield


@pytest.fixture
def recorded(monkeypatch, fixed):
    """Steps that are recorded and played on a CPU too; holds what took them.

    A recording knows the places of tensors alone: here it is the function of the run that recorded, on what lies there now.
    """

    class Played(captured.Captured):
        def __init__(self, device):
            super().__init__(device)
            self.records = True
            self.recordings = self.replays = 0

        def _record(self, compute, place):
            self.recordings += 1
            (steps,) = (steps for steps in fixed if steps.compute is compute)
            model, optimizer = steps.run.model, steps.optimizer
            found = torch.zeros(2)
            tensors = [tensor.data for tensor in (*model.parameters(), *model.buffers())]
            places = tensors, [dict(state) for state in optimizer.state.values()]
            few = model.get_input_embeddings()

            class Graph:
                def replay(graph):
                    self.replays += 1
                    now = model.get_input_embeddings()
                    model.set_input_embeddings(few)
                    with seated(model, optimizer, places):
                        found.copy_(compute(place.views))
                    model.set_input_embeddings(now)

            place.recorded = Graph(), found

    monkeypatch.setattr(captured, "Captured", Played)
    monkeypatch.setattr(captured, "_capturable", lambda optimizer: None)  # which a CPU's AdamW is not
    yield fixed
    seats.forget()


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_run_plays_what_an_earlier_one_recorded(folders, recorded, monkeypatch, kind):
    recipe = replace(RECIPE, dropout=0.1)
    first, *_ = subject(folders, kind, recipe)
    told = trained(*subject(folders, kind, recipe), seed=1)
    seats.forget()
    played = [(run, trained(run, lessons, seed)) for seed in (0, 1, 1) for run, lessons in [subject(folders, kind, recipe)]]
    assert recorded[1].played is recorded[2].played is recorded[3].played
    assert recorded[1].played.recordings == len(recorded[1].played.places), "nothing was recorded twice"
    assert recorded[1].played.replays > 2 * RECIPE.steps
    for run, learned in played:
        now = run.model.state_dict()
        assert all(torch.equal(now[name], learned[name]) for name in learned), "a model keeps what it learned"
    assert apart(played[1][1], told, first.model.state_dict()) < 1e-3
    assert all(torch.equal(played[1][1][name], played[2][1][name]) for name in told)
    assert apart(played[0][1], told, first.model.state_dict()) > 0.05


def test_all_that_a_model_and_its_optimizer_hold_has_its_seat():
    def held():
        module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        optimizer = torch.optim.AdamW(module.parameters())
        module(torch.rand(4, 3)).sum().backward()
        optimizer.step()
        return module, optimizer

    def places(module, optimizer):
        tensors = [*module.parameters(), *module.buffers(), *(each for state in optimizer.state.values() for each in state.values())]
        return [tensor.data_ptr() for tensor in tensors], [tensor.clone() for tensor in tensors]

    (first, spent), (second, optimizer) = held(), held()
    (begun, _), (_, own) = places(first, spent), places(second, optimizer)
    seats.leave("alike", first, spent, played := object())
    assert seats.taken("alike", second, optimizer) is played
    at, now = places(second, optimizer)
    assert len(at) == 4 + 3 + 12
    assert at == begun
    assert all(torch.equal(one, other) for one, other in zip(own, now, strict=True))
    assert seats.taken("alike", *held()) is None, "what was taken is the taker's"


def test_a_run_that_is_not_alike_plays_nothing_and_nothing_is_kept_for_it(folders, recorded):
    trained(*subject(folders, "bert"))
    (kept,) = seats._kept.values()
    held = weakref.ref(kept.played)
    recorded.clear()
    del kept
    gc.collect()
    assert held() is not None
    trained(*subject(folders, "bert", replace(RECIPE, clip_norm=0.5)))
    assert recorded[0].played is not held()
    recorded.clear()
    gc.collect()
    assert held() is None
    run, lessons = subject(folders, "bert")
    trained(replace(run, context=replace(run.context, layout="packed")), lessons)
    assert not seats._kept, "a run that records nothing has the memory to itself"


def test_a_source_with_other_words_plays_what_the_first_recorded(folders, recorded):
    run, lessons = subject(folders, "bert")
    trained(run, lessons)
    few = pairs.lessons(run, TRAIN[:4])
    assert len(np.unique(few.tokens.ids)) < len(np.unique(lessons.tokens.ids))
    run, _ = subject(folders, "bert")
    ours = trained(run, few)
    assert recorded[0].played is recorded[1].played
    seats.forget()
    before, _ = subject(folders, "bert")
    run, _ = subject(folders, "bert")
    assert apart(ours, trained(run, few), before.model.state_dict()) < 1e-3


def test_a_run_goes_on_from_its_checkpoint_where_another_sat(folders, recorded, tmp_path):
    class Killed(Exception):
        """As a worker that is lost."""

    def killed(step, steps):
        if step == 17:
            raise Killed

    whole = trained(*subject(folders, "bert"))
    seats.forget()
    run, lessons = subject(folders, "bert")
    keeper = Checkpoints(Results(open_storage(str(tmp_path)), "mine"), "tiny", tmp_path / "scratch", seconds=0.0)
    with pytest.raises(Killed):
        trained(replace(run, context=replace(run.context, keeper=keeper, report=killed)), lessons)
    assert not seats._kept
    trained(*subject(folders, "bert"), seed=3)
    run, lessons = subject(folders, "bert")
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    went_on = trained(replace(run, context=replace(run.context, keeper=keeper)), lessons)
    assert recorded[-1].played is recorded[-2].played
    assert apart(went_on, whole, before) < 1e-3


def test_what_is_kept_is_given_back_when_memory_is_short(folders, recorded):
    trained(*subject(folders, "bert", replace(RECIPE, steps=2)))
    assert seats._kept
    with memory.Room():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert not seats._kept


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU records steps")
def test_steps_that_are_recorded_learn_what_steps_that_are_called_learn(folders, monkeypatch):
    recipe = replace(RECIPE, dropout=0.1, precision="fp32")
    run, lessons = subject(folders, "bert", recipe, "cuda")
    before = {name: weights.clone() for name, weights in run.model.state_dict().items()}
    played = trained(run, lessons)
    monkeypatch.setattr(captured, "WARM_UP", RECIPE.steps)
    called = trained(*subject(folders, "bert", recipe, "cuda"))
    assert apart(played, called, before) < 0.01
