"""Running out of memory, played on a CPU: a model call with more than so many rows raises what PyTorch raises on a GPU."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from xfer_ray.errors import SetupError
from xfer_ray.keeping import Checkpoints
from xfer_ray.models import encoder, pairs
from xfer_ray.results import Results
from xfer_ray.storage import open_storage

TRAIN, HELD_OUT = tiny.examples(150), tiny.examples(60, seed=9)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def small_device(monkeypatch):
    """A device that holds so many rows; counts the calls that were too much for it."""
    calls = []

    def hold(most: int, *, training: bool) -> list[int]:
        original = pairs.logits

        def logits(model, grid):
            if model.training == training and len(grid.row) > most:
                calls.append(len(grid.row))
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB left.")
            return original(model, grid)

        monkeypatch.setattr(pairs, "logits", logits)
        return calls

    return hold


def _tuned(checkpoint: Path, cache: Path, micro_batch: int | None = None):
    return encoder.fine_tune(tiny.TASK, TRAIN, None, tiny.RECIPE, 0, tiny.context(checkpoint, cache, micro_batch))


@pytest.mark.fault("F27", injected="a model call with more than five rows raises torch.OutOfMemoryError")
def test_training_halves_its_micro_batches_and_learns_the_same(checkpoint, tmp_path, small_device):
    whole = _tuned(checkpoint, tmp_path, micro_batch=4)
    calls = small_device(5, training=True)
    tight = _tuned(checkpoint, tmp_path, micro_batch=16)
    assert calls == [16, 8]  # what fitted once is kept
    assert (tight.micro_batch, tight.step) == (4, whole.step)
    tight.save(tmp_path / "tight")
    whole.save(tmp_path / "whole")
    assert (tmp_path / "tight/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


class Killed(Exception):
    """As a worker that is lost."""


def test_a_run_that_goes_on_starts_with_the_micro_batch_that_fitted(checkpoint, tmp_path, small_device):
    def killed(step: int, steps: int) -> None:
        if step == 5:
            raise Killed

    calls = small_device(5, training=True)
    keeper = Checkpoints(Results(open_storage(str(tmp_path / "results")), "mine"), "tiny", tmp_path, seconds=0.0)
    context = replace(tiny.context(checkpoint, tmp_path, 16), keeper=keeper)
    with pytest.raises(Killed):
        encoder.fine_tune(tiny.TASK, TRAIN, None, tiny.RECIPE, 0, replace(context, report=killed))
    assert calls == [16, 8]
    assert encoder.fine_tune(tiny.TASK, TRAIN, None, tiny.RECIPE, 0, context).micro_batch == 4
    assert calls == [16, 8]


def test_an_evaluation_halves_its_groups_and_answers_the_same(checkpoint, tmp_path, small_device):
    fine_tuned = _tuned(checkpoint, tmp_path)
    answers = fine_tuned(HELD_OUT)
    calls = small_device(7, training=False)
    assert fine_tuned(HELD_OUT) == answers
    assert calls
    assert min(calls) > 7


@pytest.mark.fault("F27", injected="every model call raises torch.OutOfMemoryError")
@pytest.mark.parametrize("training", [True, False])
def test_what_cannot_be_made_smaller_is_told(checkpoint, tmp_path, small_device, training):
    small_device(0, training=training)
    with pytest.raises(SetupError, match=r"the memory of the device: CUDA out of memory; the trial needs more memory, a larger share"):
        _tuned(checkpoint, tmp_path)(HELD_OUT)


def test_the_optimizer_may_be_what_does_not_fit(checkpoint, tmp_path, monkeypatch):
    def step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(
        SetupError, match="the state of the optimizer does not fit the memory of the device: CUDA out of memory; .*adafactor"
    ):
        _tuned(checkpoint, tmp_path)
