"""The batch plan and the layouts, without a model; and the learning rate against transformers' own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from xfer_ray.models import batches, training
from xfer_ray.models.tokens import Tokens
from xfer_ray.recipe import Recipe

counts = st.integers(1, 200)
lengths_of = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(lambda lengths: np.array(lengths, dtype=np.int64))


def _lengths(examples: int) -> np.ndarray:
    return np.ones(examples, dtype=np.int64)


def _recipe(batch_size: int, **fields) -> Recipe:
    return Recipe(learning_rate=1e-3, batch_size=batch_size, **fields)


@settings(deadline=None)
@given(counts, st.integers(1, 70), st.integers(1, 3), st.integers(0, 9))
def test_each_epoch_holds_each_example_once_and_the_last_batch_may_be_short(examples, batch_size, epochs, seed):
    recipe = _recipe(batch_size, epochs=epochs)
    plan = list(batches.plan(_lengths(examples), recipe, seed))
    per_epoch = -(-examples // batch_size)
    assert len(plan) == batches.total_steps(examples, recipe) == epochs * per_epoch
    for epoch in range(epochs):
        mine = plan[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert [len(batch) for batch in mine[:-1]] == [batch_size] * (per_epoch - 1)
        assert sorted(np.concatenate(mine).tolist()) == list(range(examples))


@settings(deadline=None)
@given(counts, st.integers(1, 70), st.integers(1, 30))
def test_steps_begin_the_plan_that_epochs_finish(examples, batch_size, steps):
    some = list(batches.plan(_lengths(examples), _recipe(batch_size, steps=steps), 4))
    longer = list(batches.plan(_lengths(examples), _recipe(batch_size, epochs=steps), 4))
    assert len(some) == steps
    assert all(np.array_equal(a, b) for a, b in zip(some, longer[:steps], strict=True))


def test_a_seed_is_an_order_and_every_epoch_has_its_own():
    recipe = _recipe(50, epochs=2)
    first, second = batches.plan(_lengths(50), recipe, 7)
    assert [batch.tolist() for batch in batches.plan(_lengths(50), recipe, 7)] == [first.tolist(), second.tolist()]
    assert first.tolist() != second.tolist()
    assert first.tolist() != next(batches.plan(_lengths(50), recipe, 8)).tolist()


@settings(deadline=None)
@given(lengths_of, st.integers(1, 70))
def test_micro_batches_are_the_batch_sorted_and_cut(lengths, size):
    batch = np.random.default_rng(0).permutation(len(lengths))
    parts = batches.micro_batches(batch, lengths, size)
    assert sorted(np.concatenate(parts).tolist()) == sorted(batch.tolist())
    assert all(len(part) == size for part in parts[:-1])
    assert len(parts[-1]) <= size
    if len(parts) > 1:
        assert np.all(np.diff(lengths[np.concatenate(parts)]) >= 0)
    else:
        assert parts[0].tolist() == batch.tolist()


@settings(deadline=None)
@given(lengths_of, st.integers(1, 200))
def test_groups_hold_every_row_once_and_keep_the_token_budget(lengths, budget):
    groups = list(batches.by_length(lengths, budget))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    assert all(len(rows) * lengths[rows].max() <= budget or len(rows) == 1 for rows in groups)


def test_rows_are_padded_on_the_right_and_segments_begin_at_the_second_text():
    tokens = Tokens(
        ids=np.array([5, 6, 7, 8, 9, 4], dtype=np.int32), offsets=np.array([0, 2, 5, 6]), seconds=np.array([1, 2, 1], dtype=np.int32)
    )
    grid = batches.padded(tokens, np.array([1, 0, 2]), 3)
    assert grid.ids.tolist() == [[7, 8, 9], [5, 6, 3], [4, 3, 3]]
    assert grid.mask.tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert grid.segments.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]  # the row of one token has no second text


@pytest.mark.parametrize("warmup_steps", [0, 7])
@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_learning_rate_equals_that_of_transformers(schedule, warmup_steps):
    recipe = _recipe(8, steps=30, schedule=schedule, warmup_steps=warmup_steps)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    linear = schedule == "linear"
    theirs = (
        get_linear_schedule_with_warmup(optimizer, warmup_steps, 30)
        if linear
        else get_constant_schedule_with_warmup(optimizer, warmup_steps)
    )
    for done in range(30):
        assert training.learning_rate(recipe, done, 30) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        theirs.step()


@settings(deadline=None)
@given(lengths_of, st.integers(40, 120), st.integers(1, 20), st.integers(0, 9))
def test_a_batch_in_tokens_holds_the_next_rows_of_the_permutation_that_fit(lengths, tokens, steps, seed):
    recipe = Recipe(learning_rate=1e-3, batch_tokens=tokens, steps=steps, max_length=40)
    plan = list(batches.plan(lengths, recipe, seed))
    assert len(plan) == steps
    sums = [int(lengths[batch].sum()) for batch in plan]
    assert max(sums) <= tokens
    order = np.random.default_rng((seed, 0)).permutation(len(lengths))
    joined = np.concatenate(plan)[: len(lengths)]
    assert joined.tolist() == order[: len(joined)].tolist()
    done = 0
    for batch, held in zip(plan, sums, strict=True):
        done += len(batch)
        if done >= len(lengths):
            break
        assert held + int(lengths[order[done]]) > tokens  # one more would not have fitted
