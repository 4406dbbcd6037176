"""Steps of a fixed shape: a GPU records one and plays it again, so that it never waits to be told the next of a thousand kernels.

Batches of alike size are filled up to one of a few shapes (batches.py). For each shape there is one place on the device, into
which a step's arrays are copied whole, and one recording of everything from there to the updated weights. Only the recording
needs a GPU: the same steps can be called, and then give the same. What was recorded serves later runs of the process (seats.py).
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xfer_ray.models import seats
from xfer_ray.models.batches import Grid, Rows, in_few_shapes, packed, parts, width_for
from xfer_ray.models.memory import Room

if TYPE_CHECKING:
    from xfer_ray.models.lessons import Lessons, Run

log = logging.getLogger(__name__)
WARM_UP = 3  # steps that are called before any is recorded: what happens once only is behind them then
_GRID = ("ids", "segments", "positions", "owner", "row", "column", "lengths")  # the arrays of a grid

Arrays = Sequence[NDArray[Any]]
Compute = Callable[[Sequence[Tensor]], Tensor]


@dataclass
class _Place:
    """Where the arrays of one shape lie on the device, and what was recorded there: a graph and what it leaves."""

    whole: Tensor
    views: list[Tensor]
    recorded: tuple[torch.cuda.CUDAGraph, Tensor] | None = None


class Captured:
    """A function of arrays that is recorded once for each shape of them and then played; on a CPU it is called.

    What it computes must depend on the arrays, on tensors that stay where they are, and on the default random generator
    of the device, which goes on from replay to replay as it would from call to call. The function is given with each call, so
    that what was recorded outlives it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.places: dict[tuple[object, ...], _Place] = {}
        self.calls = 0
        self.records = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if self.records else None  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle() if self.records else None

    def __call__(self, compute: Compute, arrays: Arrays) -> Tensor:
        """What is computed of these arrays, of 8 bytes a number; it stands there until the next call."""
        key = tuple((array.shape, array.dtype) for array in arrays)
        if key not in self.places:
            self.places[key] = _place(arrays, self.device)
        place = self.places[key]
        if self.stream is None:
            _fill(place, arrays)
            return self._played(compute, place)
        around = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(around)
        with torch.cuda.stream(self.stream):
            _fill(place, arrays)
            found = self._played(compute, place)
        around.wait_stream(self.stream)
        return found

    def _played(self, compute: Compute, place: _Place) -> Tensor:
        self.calls += 1
        if self.records and self.calls > WARM_UP and place.recorded is None:
            self._record(compute, place)
        if place.recorded is None:
            return compute(place.views)
        graph, found = place.recorded
        graph.replay()
        return found

    def _record(self, compute: Compute, place: _Place) -> None:
        """Record, which computes nothing; what cannot be recorded is called from now on."""
        graph = torch.cuda.CUDAGraph()
        random = torch.cuda.get_rng_state(self.device)
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                found = compute(place.views)
            place.recorded = graph, found
        except RuntimeError as error:  # no memory for it, or something that waits for the GPU
            self.records = False
            said = str(error).splitlines()[0]
            log.warning("steps on this GPU cannot be recorded and are slower for it (%s); a model with layout='packed' records none", said)
            _begin_anew(self.device, random)


def _begin_anew(device: torch.device, random: Tensor) -> None:
    """A recording that broke off leaves the random generator waiting for its end: another takes its place, and goes on from there."""
    default = torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    default.graphsafe_set_state(torch.Generator(device).graphsafe_get_state())
    torch.cuda.set_rng_state(random, device)


def _place(arrays: Arrays, device: torch.device) -> _Place:
    sizes = [array.size for array in arrays]
    whole = torch.zeros(sum(sizes), dtype=torch.int64, device=device)
    pieces = zip(torch.split(whole, sizes), arrays, strict=True)
    return _Place(whole, [piece.view(torch.from_numpy(array).dtype).view(array.shape) for piece, array in pieces])


def _fill(place: _Place, arrays: Arrays) -> None:
    """One copy to the device, which nobody waits for: PyTorch keeps its pinned memory until it is over."""
    whole = torch.from_numpy(np.concatenate([np.ascontiguousarray(array).reshape(-1).view(np.int64) for array in arrays]))
    place.whole.copy_(whole.pin_memory() if place.whole.is_cuda else whole, non_blocking=True)


# ------------------------------------------------------------------------------ training

# What a step computes of a grid, of what is asked of it, of the weight of the batch and of the learning rate: loss and norm.
Step = Callable[[Grid, Sequence[Tensor], Tensor, Tensor], Tensor]


class FixedSteps:
    """Steps of training in few shapes; gives the loss and the norm of each, (2,), or None where a step must be taken otherwise."""

    def __init__(self, run: Run, lessons: Lessons, optimizer: torch.optim.Optimizer, step: Step) -> None:
        self.run, self.lessons, self.optimizer = run, lessons, optimizer
        self.compute = functools.partial(_computed, run.model, step)
        self.width = math.ceil(width_for(lessons.tokens.lengths) / 64) * 64  # so that trials of one recipe have the same
        self.played: Captured | None = seats.taken(self._alike(), run.model, optimizer) or Captured(run.model.device)
        if self.played.records:
            _capturable(optimizer)

    def __call__(self, batch: Rows, rate: float, size: int) -> Tensor | None:
        """A step on a batch that goes through the model at once, as `size` rows may; once that was too much, not again."""
        if self.played is None or size < (self.run.recipe.batch_size or len(batch)):
            return None
        with Room() as room:
            return self.played(self.compute, self.arrays(batch, rate))
        log.warning("out of memory (%s); going on with steps of the shape that each batch has", room.said)
        self.played = None
        self.run.model.zero_grad()
        return None

    def leave(self) -> None:
        """After the last step: what was recorded is kept for the next run like this one."""
        if self.played is not None and self.played.records:
            seats.leave(self._alike(), self.run.model, self.optimizer, self.played)

    def _alike(self) -> Hashable:
        """What a recording depends on beside the arrays of a step: all that makes the computation and the size of each tensor."""
        model = self.run.model
        table = tuple(model.get_input_embeddings().weight.shape)
        return type(model), model.config.to_json_string(), table, model.device, self.run.recipe, self.lessons.loss.__code__

    def arrays(self, batch: Rows, rate: float) -> Arrays:
        """All that a step reads: a grid, what is asked of it, and two numbers."""
        lessons = self.lessons
        assert lessons.asked is not None
        grid = packed(lessons.tokens, batch, lessons.pad, self.width)
        found = (*parts(grid, lessons.pad), *lessons.asked(grid, batch))
        numbers = np.array([lessons.weights[batch].sum(), rate])
        return [*in_few_shapes(found, self.run.recipe.batch_size or 0), numbers]


def _capturable(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["capturable"] = True


def _computed(model: nn.Module, step: Step, arrays: Sequence[Tensor]) -> Tensor:
    fields: Any = dict(zip(_GRID, arrays, strict=False))  # a grid of tensors
    weight, rate = arrays[-1].float().unbind()
    model.zero_grad()  # of what a recording that failed left behind
    return step(Grid(**fields, packed=True), arrays[len(_GRID) : -1], weight, rate)


def serves(run: Run, lessons: Lessons) -> bool:
    """Whether steps of a fixed shape are asked for and can be taken, with what is asked told as arrays and AdamW."""
    return run.layout == "recorded" and lessons.asked is not None and run.recipe.optimizer == "adamw"
