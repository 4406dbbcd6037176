"""The training loop: gradients over a batch plan, AdamW, a schedule; and the same model's answers.

Equal seeds give equal weights bit for bit on a CPU, with the same versions and the same number of threads: a sum over
more threads rounds differently. On a GPU they give the same data in the same order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xfer_ray.core import Recipe
from xfer_ray.errors import XferRayError
from xfer_ray.models.batches import Grid, Rows, by_length, micro_batches, padded, plan, total_steps
from xfer_ray.models.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How many padded tokens go through a model at once: in training on a GPU, in evaluation on a GPU, in evaluation on a CPU.
TRAINING_BUDGET = 2**15
GPU_BUDGET = 2**16
CPU_BUDGET = 2**12
CHECK_EVERY = 20  # steps between two looks at the losses: each look waits for the GPU


@dataclass(frozen=True)
class Lessons:
    """What is learned: tokens, the class of each row, and the id that pads them."""

    tokens: Tokens
    classes: NDArray[np.int64]
    pad: int


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` within the block, and leave the generators of a warm worker as they were."""
    with torch.random.fork_rng(devices=[0] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield


def auto_micro_batch(recipe: Recipe) -> int:
    """A quarter of the batch on a CPU; on a GPU the whole batch, or what part of it the token budget holds."""
    if device().type == "cpu":
        return math.ceil(recipe.batch_size / 4)
    return min(recipe.batch_size, max(1, TRAINING_BUDGET // recipe.max_length))


def train(
    model: PreTrainedModel, lessons: Lessons, recipe: Recipe, seed: int, *, micro_batch: int, report: Callable[[int, int], None]
) -> int:
    """Train in place over the whole plan, under the caller's random state; returns the number of steps."""
    steps = total_steps(len(lessons.tokens), recipe)
    model.train()
    with _only_seen(model, lessons, recipe) as seen:
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = adamw(parameters, recipe)
        unchecked: list[Tensor] = []
        for step, batch in enumerate(plan(len(seen.tokens), recipe, seed), start=1):
            loss = gradient(model, seen, batch, recipe, micro_batch)
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            if recipe.clip_norm > 0:
                torch.nn.utils.clip_grads_with_norm_(parameters, recipe.clip_norm, norm)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step - 1, steps)
            optimizer.step()
            optimizer.zero_grad()
            unchecked.append(torch.stack([loss, norm]))
            if len(unchecked) == CHECK_EVERY or step == steps:
                _refuse_nonfinite(torch.stack(unchecked), step, steps, recipe)
                unchecked.clear()
            report(step, steps)
    return steps


def gradient(model: PreTrainedModel, lessons: Lessons, batch: Rows, recipe: Recipe, micro_batch: int) -> Tensor:
    """Add the gradient of the mean loss over the batch, one micro-batch after another; returns that loss."""
    total = torch.zeros((), device=model.device)
    for rows in micro_batches(batch, lessons.tokens.lengths, micro_batch):
        classes = torch.from_numpy(lessons.classes[rows]).to(model.device)
        with _autocast(model, recipe):
            scores = logits(model, padded(lessons.tokens, rows, lessons.pad))
        loss = nn.functional.cross_entropy(scores.float(), classes, reduction="sum") / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def best_classes(model: PreTrainedModel, tokens: Tokens, pad: int, recipe: Recipe) -> NDArray[np.int64]:
    """The likeliest class of each row, in order; computed longest first so that little is padding."""
    best = np.empty(len(tokens), dtype=np.int64)
    model.eval()
    with torch.inference_mode(), _autocast(model, recipe):
        for rows in by_length(tokens.lengths, CPU_BUDGET if model.device.type == "cpu" else GPU_BUDGET):
            best[rows] = logits(model, padded(tokens, rows, pad)).argmax(-1).cpu().numpy()
    return best


def logits(model: PreTrainedModel, grid: Grid) -> Tensor:
    """The model's scores for each row and class: (rows, classes)."""
    inputs = {"input_ids": grid.ids, "attention_mask": grid.mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = grid.segments
    output: Tensor = model(**{name: torch.from_numpy(array).to(model.device) for name, array in inputs.items()}).logits
    return output


def learning_rate(recipe: Recipe, done: int, steps: int) -> float:
    """The rate after `done` of `steps` steps: up during warm-up, then constant or down to 0 in a line."""
    if done < recipe.warmup_steps:
        return recipe.learning_rate * done / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (steps - done) / max(1, steps - recipe.warmup_steps)


def adamw(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """Fused AdamW; biases and normalization weights, which are the vectors, do not decay."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=recipe.adam_epsilon, fused=True)


@contextlib.contextmanager
def _only_seen(model: PreTrainedModel, lessons: Lessons, recipe: Recipe) -> Iterator[Lessons]:
    """Train the embedding rows that the lessons use and leave the rest of the vocabulary out of every step.

    One language uses a fraction of a multilingual vocabulary, and without weight decay AdamW never moves an unused row.
    """
    if recipe.weight_decay > 0:
        yield lessons
        return
    whole = model.get_input_embeddings()
    used = np.zeros(whole.num_embeddings, dtype=bool)
    used[lessons.tokens.ids] = True
    used[: lessons.pad + 1] = True  # so that the padding keeps its id, from which XLM-R counts positions
    kept = torch.from_numpy(np.flatnonzero(used)).to(whole.weight.device)
    few = nn.Embedding(len(kept), whole.embedding_dim, padding_idx=lessons.pad, _weight=whole.weight.detach()[kept])
    model.set_input_embeddings(few)
    ids = (np.cumsum(used, dtype=np.int32) - 1)[lessons.tokens.ids]
    yield dataclasses.replace(lessons, tokens=dataclasses.replace(lessons.tokens, ids=ids))
    with torch.no_grad():
        whole.weight[kept] = few.weight
    model.set_input_embeddings(whole)


def _autocast(model: PreTrainedModel, recipe: Recipe) -> torch.autocast:
    kind = model.device.type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=recipe.precision == "bf16" and kind == "cuda")


def _refuse_nonfinite(pairs: Tensor, step: int, steps: int, recipe: Recipe) -> None:
    """`pairs` holds loss and gradient norm of the steps up to `step`: (steps, 2)."""
    bad = (~torch.isfinite(pairs)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise XferRayError(
            f"{('loss', 'gradient norm')[column]} is {pairs[row, column].item()} at step {step - len(pairs) + row + 1} of {steps}; "
            f"a lower learning_rate (now {recipe.learning_rate:g}), warmup_steps or precision='fp32' (now {recipe.precision!r}) may help"
        )
