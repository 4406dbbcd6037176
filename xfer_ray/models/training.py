"""The training loop: gradients over a batch plan, an optimizer, a schedule, checkpoints on the way.

Equal seeds give equal weights bit for bit on a CPU, with the same versions and the same number of threads: a sum over
more threads rounds differently. On a GPU they give the same data in the same order.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.optimization import Adafactor

from xfer_ray.errors import XferRayError, demand
from xfer_ray.models import captured, memory, resume, seats, states
from xfer_ray.models.batches import PACKS, Grid, Rows, laid, micro_batches, plan, total_steps
from xfer_ray.models.lessons import Lessons, Run
from xfer_ray.models.seen import only_seen
from xfer_ray.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)
# How many tokens go through a model at once, on a GPU and on a CPU.
TRAINING_BUDGET = {"cuda": 2**15, "cpu": 2**12}
ANSWERING_BUDGET = {"cuda": 2**16, "cpu": 2**11}
CHECK_EVERY = 20  # steps between two looks at the losses: each look waits for the GPU


@dataclass(frozen=True)
class Trained:
    """How a run went: its steps, the one whose weights the model has now, its micro-batch, and the curve of the steps scored."""

    steps: int
    step: int
    micro_batch: int
    curve: tuple[tuple[int, float], ...] = ()


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` within the block, and leave the generators of a warm worker as they were."""
    with torch.random.fork_rng(devices=[0] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield


def micro_batch_of(run: Run, lessons: Lessons) -> int:
    """How many rows go through the model at once in training: as declared, else what the token budget holds of them."""
    recipe, lengths = run.recipe, lessons.tokens.lengths
    mean = max(1.0, float(lengths.mean()))
    batch = recipe.batch_size or max(1, int((recipe.batch_tokens or 0) / mean))
    length = mean if run.layout in PACKS else float(lengths.max())
    return run.context.micro_batch or min(batch, max(1, int(TRAINING_BUDGET[run.model.device.type] / length)))


def train(run: Run, lessons: Lessons, evaluate: Callable[[], float] | None = None) -> Trained:
    """Train in place over the whole plan, under the caller's random state, and keep the step that the recipe asks for.

    Goes on from the newest checkpoint that `run.context.keeper` holds. With `select_every`, `evaluate` scores the model as it
    stands; the model ends with the weights of the best score, the earliest of equals.
    """
    model, recipe, keeper = run.model, run.recipe, run.context.keeper
    steps = total_steps(len(lessons.tokens), recipe)
    every = recipe.select_every if evaluate else None
    demand(every is None or keeper is not None, "a recipe with select_every needs a keeper of checkpoints in its context")
    demand(
        every is None or every <= steps,
        f"select_every {every} lies beyond the last of {steps} steps, so no checkpoint would be scored",
    )
    found = resume.weights(model, keeper)
    curve = list(found.curve)
    with only_seen(model, lessons, recipe, alike=run.layout == "recorded") as (seen, whole):
        optimizer = optimizer_of(model, recipe)
        resume.state(optimizer, found)
        model.train()
        losses, rows = _Losses(recipe, steps), 0
        size = micro_batch_of(run, lessons)
        size = min(size, found.state.get("micro_batch", size))  # what fitted before
        fixed = _fixed(run, seen, optimizer)
        take = _taken(run, seen, optimizer, fixed)
        memory.observe(run.context, afresh=True)
        for step, batch in enumerate(plan(seen.tokens.lengths, recipe, run.seed), start=1):
            if step <= found.step:
                continue
            rows += len(batch)
            run.context.observe("training_examples", len(batch))
            run.context.observe("training_tokens", int(seen.tokens.lengths[batch].sum()))
            looked_at, size = take(batch, learning_rate(recipe, step - 1, steps), size)
            losses.add(step, looked_at)
            candidate = every is not None and (step % every == 0 or step == steps)
            if keeper and (candidate or keeper.due()):
                losses.check(step)
                with whole():
                    if candidate and evaluate:
                        curve.append((step, evaluate()))
                        model.train()
                    keeper.save(step, resume.writer(model, optimizer, curve, size))
                keeper.prune({step, resume.best_step(curve) if curve else step})
            if step % CHECK_EVERY == 0 or step == steps:
                memory.observe(run.context)
            run.context.report(step, steps)
        if fixed:
            fixed.leave()
    log.info("%d steps on %d rows, %.1f rows a step", steps, len(lessons.tokens), rows / max(1, steps - found.step))
    best = resume.best_step(curve) if curve else steps
    if best != steps and keeper:
        resume.load(model, keeper.fetch(best))
    return Trained(steps, best, size, tuple(curve))


def _fixed(run: Run, lessons: Lessons, optimizer: torch.optim.Optimizer) -> captured.FixedSteps | None:
    """Steps of a fixed shape, where they can be taken; where not, what an earlier run kept for them is given back."""

    def step(grid: Grid, asked: Sequence[Tensor], weight: Tensor, rate: Tensor) -> Tensor:
        with autocast(run.model, run.recipe):
            summed = lessons.loss(run.model, grid, *asked)
        loss = summed / weight
        loss.backward()  # type: ignore[no-untyped-call]
        return torch.stack([loss.detach(), update(optimizer, run.recipe, rate)])

    if captured.serves(run, lessons):
        return captured.FixedSteps(run, lessons, optimizer, step)
    seats.forget()
    return None


def _taken(
    run: Run, lessons: Lessons, optimizer: torch.optim.Optimizer, fixed: captured.FixedSteps | None
) -> Callable[[Rows, float, int], tuple[Tensor, int]]:
    """What takes a step on a batch, at a learning rate, in micro-batches of at most so many rows.

    Gives the loss and the norm of its gradient, (2,), and the size of the micro-batches that fitted.
    """

    def take(batch: Rows, rate: float, size: int) -> tuple[Tensor, int]:
        found = fixed(batch, rate, size) if fixed else None
        if found is not None:
            return found, size
        loss, size = fitting_gradient(run, lessons, batch, size)
        with memory.Room() as room:
            return torch.stack([loss, update(optimizer, run.recipe, rate)]), size
        raise room.error("the state of the optimizer", "optimizer='adafactor' needs less")

    return take


def gradient(run: Run, lessons: Lessons, batch: Rows, micro_batch: int) -> Tensor:
    """Add the gradient of the mean loss over the batch, one micro-batch after another; returns that loss."""
    model, lengths = run.model, lessons.tokens.lengths
    total = torch.zeros((), device=model.device)
    weight = float(lessons.weights[batch].sum())
    for rows in micro_batches(batch, lengths, micro_batch, run.layout):
        with autocast(model, run.recipe):
            summed = lessons.summed(model, laid(lessons.tokens, rows, lessons.pad, run.layout), rows)
        loss = summed / weight
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def fitting_gradient(run: Run, lessons: Lessons, batch: Rows, size: int) -> tuple[Tensor, int]:
    """`gradient` with micro-batches halved until one fits the memory: the same batch and step; returns the loss and what fitted."""
    longest = int(lessons.tokens.lengths[batch].max())
    hint = f"a smaller max_length (now {run.recipe.max_length}) helps too"
    compute = functools.partial(gradient, run, lessons, batch)
    return memory.fitting(run.model, size, compute, f"one row of {longest} tokens and its gradient", hint)


def budget(model: PreTrainedModel) -> int:
    """How many tokens go through the model at once when it answers."""
    return ANSWERING_BUDGET[model.device.type]


def inputs(model: PreTrainedModel, grid: Grid) -> dict[str, Tensor]:
    """What an encoder reads: ids, mask, and segments where it tells them apart; each (rows, width)."""
    arrays = {"input_ids": grid.ids, "attention_mask": grid.mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        arrays["token_type_ids"] = grid.segments
    return {name: states.tensor(model, array) for name, array in arrays.items()}


def autocast(model: PreTrainedModel, recipe: Recipe) -> torch.autocast:
    """bf16 over fp32 weights where the recipe says so and there is a GPU."""
    kind = model.device.type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=recipe.precision == "bf16" and kind == "cuda")


def device_name(model: PreTrainedModel) -> str:
    """How the scores name the device: "cpu", or the GPU's own name."""
    return "cpu" if model.device.type == "cpu" else torch.cuda.get_device_name(model.device)


def update(optimizer: torch.optim.Optimizer, recipe: Recipe, rate: float | Tensor) -> Tensor:
    """One step of the optimizer along the gradient, which is cleared; returns the gradient's norm before clipping."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if recipe.clip_norm > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, recipe.clip_norm, norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return norm


def learning_rate(recipe: Recipe, done: int, steps: int) -> float:
    """The rate after `done` of `steps` steps: up during warm-up, then constant or down to 0 in a line."""
    if done < recipe.warmup_steps:
        return recipe.learning_rate * done / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (steps - done) / max(1, steps - recipe.warmup_steps)


def optimizer_of(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Fused AdamW, whose biases and normalization weights, the vectors, do not decay; or Adafactor with the recipe's rate as it is.

    Adafactor as Mesh TensorFlow has it: no first moment, decay exponent 0.8, update clipped at 1.0 (Shazeer and Stern 2018).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "adafactor":
        adafactor: torch.optim.Optimizer = Adafactor(
            parameters, lr=recipe.learning_rate, scale_parameter=recipe.scale_parameter, relative_step=False
        )
        return adafactor
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=recipe.adam_epsilon, fused=True)


class _Losses:
    """Losses and gradient norms that nobody has looked at yet: a look waits for the GPU."""

    def __init__(self, recipe: Recipe, steps: int) -> None:
        self.recipe, self.steps = recipe, steps
        self.unchecked: list[Tensor] = []

    def add(self, step: int, pair: Tensor) -> None:
        """A loss and a norm, which may stand where the next ones will."""
        self.unchecked.append(pair.clone())
        if len(self.unchecked) == CHECK_EVERY or step == self.steps:
            self.check(step)

    def check(self, step: int) -> None:
        """Refuse what is not finite among the steps up to this one."""
        if not self.unchecked:
            return
        pairs = torch.stack(self.unchecked)  # (steps, 2)
        self.unchecked.clear()
        bad = (~torch.isfinite(pairs)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            what, at = ("loss", "gradient norm")[column], step - len(pairs) + row + 1
            raise XferRayError(
                f"{what} is {pairs[row, column].item()} at step {at} of {self.steps}; "
                f"a lower learning_rate (now {self.recipe.learning_rate:g}), warmup_steps or precision='fp32' "
                f"(now {self.recipe.precision!r}) may help" + (", unless the checkpoint's own weights are not finite" if at == 1 else "")
            )
