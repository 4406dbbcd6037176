"""The loop of pre-training: an optimizer, a schedule, the loss of each language, checkpoints on the way, one worker or several.

The batch of a step, and what dropout leaves out of it, depend on the seed and the step alone, so that a run that was killed goes
on as if nothing had happened. With several workers each builds the same batch and learns from its part of the rows.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_model, save_model
from torch import distributed, nn

from xfer_ray.contract import Keeper
from xfer_ray.errors import XferRayError, demand
from xfer_ray.models import memory
from xfer_ray.recipe import Pretraining

WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
POINTS = 200  # at most so many on the curve of the losses
_WEIGHTS, _STATE = "model.safetensors", "state.pt"

Told = TypeVar("Told")


class Taken(NamedTuple):
    """A batch: by row how many tokens are predicted and which language it is; `part(rows)` is what the module is given."""

    counts: npt.NDArray[np.int64]
    languages: npt.NDArray[np.int64]
    part: Callable[[slice], tuple[Any, ...]]


class Course(Protocol):
    """What is taught: a module that gives the loss of each row, and its batches."""

    languages: tuple[str, ...]

    @property
    def module(self) -> nn.Module:
        """What learns."""

    def take(self, step: int) -> Taken:
        """The batch of a step, counted from 1; steps come in order."""

    def state(self) -> dict[str, Any]:
        """What it takes to go on from here."""

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Go on after this step."""


class Point(NamedTuple):
    """The mean loss of a language, in nats per predicted token, since its last point; `tokens` of it were read so far."""

    step: int
    language: str
    loss: float
    tokens: int


def _nothing(points: list[Point]) -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """What a run reports to: every step, every point of the losses; who keeps its checkpoints; and who hears that it is alive."""

    report: Callable[[int, int], None]
    watch: Callable[[list[Point]], None] = _nothing
    keeper: Keeper | None = None
    alive: Callable[[], None] = lambda: None


@dataclass
class _Curve:
    """Losses by language: summed since the last point, and all points so far."""

    languages: tuple[str, ...]
    tokens_per_row: int
    points: list[Point] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sums, self.counts, self.rows = (np.zeros(len(self.languages)) for _ in range(3))

    def add(self, taken: Taken, losses: npt.NDArray[np.float64]) -> None:
        np.add.at(self.sums, taken.languages, losses)
        np.add.at(self.counts, taken.languages, taken.counts)
        np.add.at(self.rows, taken.languages, 1)

    def close(self, step: int) -> list[Point]:
        """A point for every language that was read since the last one."""
        read = [index for index in range(len(self.languages)) if self.counts[index]]
        new = [Point(step, self.languages[i], float(self.sums[i] / self.counts[i]), int(self.rows[i]) * self.tokens_per_row) for i in read]
        self.points += new
        self.sums[:], self.counts[:] = 0, 0
        return new

    def state(self) -> str:
        return json.dumps([self.points, self.sums.tolist(), self.counts.tolist(), self.rows.tolist()])

    def restore(self, state: str) -> None:
        points, *sums = json.loads(state)
        self.points = [Point(*point) for point in points]
        self.sums, self.counts, self.rows = (np.array(one, dtype=np.float64) for one in sums)


def rank() -> int:
    """Which of the workers this is; 0 if it is the only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def workers() -> int:
    """How many workers train this model together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def shared(tell: Callable[[], Told]) -> Told:
    """What the first of the workers tells; the others are not asked."""
    if workers() == 1:
        return tell()
    held: list[Any] = [tell() if rank() == 0 else None]
    distributed.broadcast_object_list(held, src=0)
    told: Told = held[0]
    return told


def train(course: Course, pretraining: Pretraining, hooks: Hooks, extra: Callable[[Path], None]) -> list[Point]:
    """Train in place, from the newest checkpoint on; returns the losses. `extra` adds its files to each checkpoint."""
    steps, count = pretraining.total_steps, workers()
    demand(
        pretraining.batch_size % count == 0 or pretraining.objective == "mlm+rtd",
        f"batch_size {pretraining.batch_size} of a Pretraining is not divisible by {count} workers",
    )
    curve = _Curve(course.languages, pretraining.max_length)
    optimizer = _optimizer(course.module, pretraining)
    done = _resume(course, optimizer, curve, hooks.keeper)
    module = nn.parallel.DistributedDataParallel(course.module) if count > 1 else course.module
    module.train()
    micro = pretraining.micro_batch or pretraining.batch_size
    for step in range(done + 1, steps + 1):
        taken = course.take(step)
        losses, micro = _fitting(module, taken, pretraining, step, micro)
        with memory.Room() as room:
            _update(optimizer, course.module, pretraining, _rate(pretraining, step - 1))
        if room.said:
            raise room.error("the state of the optimizer", "optimizer='adafactor' needs less")
        curve.add(taken, losses)
        if not np.isfinite(losses).all():
            raise XferRayError(
                f"loss is {losses.sum()} at step {step} of {steps}; a lower learning_rate (now {pretraining.learning_rate:g}) may help"
            )
        if step % max(1, steps // POINTS) == 0 or step == steps:
            hooks.watch(curve.close(step))
        if hooks.keeper and rank() == 0 and step < steps and hooks.keeper.due():
            hooks.keeper.save(step, lambda folder: _write(folder, course, optimizer, curve, extra))
            hooks.keeper.prune({step})
        hooks.report(step, steps)
    return curve.points


def _fitting(module: nn.Module, taken: Taken, pretraining: Pretraining, step: int, micro: int) -> tuple[npt.NDArray[np.float64], int]:
    """The loss of each row of a step, whose gradient is added by micro-batches of at most so many rows, or of the fewer that fit."""
    micro = min(micro, len(taken.counts) // workers() or 1)
    compute = functools.partial(_gradient, module, taken, pretraining, step)
    if workers() > 1:  # they wait for each other within a gradient, and so cannot begin it again
        return compute(micro), micro
    hint = f"a smaller max_length (now {pretraining.max_length}) of the Pretraining helps too"
    return memory.fitting(module, micro, compute, "a single row and its gradient", hint)


def _gradient(module: nn.Module, taken: Taken, pretraining: Pretraining, step: int, micro: int) -> npt.NDArray[np.float64]:
    """Add the gradient of the mean loss over the predicted tokens of the whole batch; returns the loss of each row."""
    if pretraining.objective != "mlm+rtd":
        torch.manual_seed(hash((pretraining.seed, step, rank())) % 2**63)  # integers hash to the same in every process
    weight, rows = max(1, int(taken.counts.sum())), len(taken.counts)
    share = rows // workers() or 1
    first, last = rank() * share, (rank() + 1) * share
    kind = next(module.parameters()).device
    found = torch.zeros(rows, device=kind)
    for start in range(first, last, micro):
        part = slice(start, min(start + micro, last))
        ends = part.stop == last
        quiet = module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) and not ends else contextlib.nullcontext()
        with quiet:
            with torch.autocast(kind.type, torch.bfloat16, enabled=pretraining.precision == "bf16" and kind.type == "cuda"):
                losses = module(*taken.part(part))
            (losses.sum() * (workers() / weight)).backward()
        found[part] = losses.detach().float()
    if workers() > 1:
        distributed.all_reduce(found)
    return found.cpu().double().numpy()


def _optimizer(module: nn.Module, pretraining: Pretraining) -> torch.optim.Optimizer:
    """AdamW; or Adafactor as Mesh TensorFlow has it, its step multiplied by the norm of each tensor."""
    from transformers.optimization import Adafactor

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if pretraining.optimizer == "adafactor":
        adafactor: torch.optim.Optimizer = Adafactor(parameters, lr=pretraining.learning_rate, scale_parameter=True, relative_step=False)
        return adafactor
    return torch.optim.AdamW(parameters, lr=pretraining.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)


def _update(optimizer: torch.optim.Optimizer, module: nn.Module, pretraining: Pretraining, rate: float) -> None:
    if pretraining.optimizer == "adamw":  # Adafactor clips its own step
        nn.utils.clip_grad_norm_(module.parameters(), CLIP_NORM)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def _rate(pretraining: Pretraining, done: int) -> float:
    """The learning rate after so many steps."""
    steps, warmup = pretraining.total_steps, pretraining.warmup_steps
    if pretraining.schedule == "inverse_square_root":  # constant at first, as T5 has it
        return pretraining.learning_rate * math.sqrt(max(1, warmup) / max(done + 1, warmup, 1))
    return pretraining.learning_rate * min((done + 1) / max(1, warmup), (steps - done) / max(1, steps - warmup))


def _write(folder: Path, course: Course, optimizer: torch.optim.Optimizer, curve: _Curve, extra: Callable[[Path], None]) -> None:
    save_model(course.module, str(folder / _WEIGHTS))
    state = {
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "curve": curve.state(),
        "course": _tensors(course.state()),
    }
    torch.save(state, folder / _STATE)
    extra(folder)


def _tensors(state: Any) -> Any:  # noqa: ANN401 - a tree of plain values
    if isinstance(state, dict):
        return {key: _tensors(value) for key, value in state.items()}
    return torch.from_numpy(state) if isinstance(state, np.ndarray) else state


def _resume(course: Course, optimizer: torch.optim.Optimizer, curve: _Curve, keeper: Keeper | None) -> int:
    """Take up the newest checkpoint; returns its step, 0 if there is none."""
    step = keeper.latest() if keeper else None
    if keeper is None or step is None:
        return 0
    folder = keeper.fetch(step)
    device = next(course.module.parameters()).device
    load_model(course.module, str(folder / _WEIGHTS), device=str(device))
    state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    curve.restore(state["curve"])
    course.restore(step, state["course"])
    return step
