"""A checkpoint of a training run: its weights as safetensors, and what else it takes to go on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_model, save_model

from xfer_ray.contract import Keeper

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WEIGHTS, _STATE = "model.safetensors", "state.pt"


@dataclass(frozen=True)
class Found:
    """Where an earlier attempt stopped; step 0 if there was none."""

    step: int = 0
    curve: tuple[tuple[int, float], ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


def weights(model: PreTrainedModel, keeper: Keeper | None) -> Found:
    """Give the model the weights of the newest checkpoint, if there is one; the rest of it is for `state`.

    One whose best step is lost is not gone on from: that step would be missed at the end.
    """
    while keeper is not None and (step := keeper.latest()) is not None:
        folder = keeper.fetch(step)
        saved = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
        curve = tuple((int(at), float(score)) for at, score in saved["curve"])
        best = best_step(curve) if curve else step
        if best != step:
            try:
                keeper.fetch(best)
            except LookupError:
                continue  # the keeper has given this one up too
            folder = keeper.fetch(step)
        load(model, folder)
        return Found(step, curve, saved)
    return Found()


def best_step(curve: Sequence[tuple[int, float]]) -> int:
    """The step with the best score, the earliest of equals."""
    return max(curve, key=lambda point: (point[1], -point[0]))[0]


def state(optimizer: torch.optim.Optimizer, found: Found) -> None:
    """Give the optimizer and the random generators the state that they had."""
    if not found.state:
        return
    optimizer.load_state_dict(found.state["optimizer"])
    torch.set_rng_state(found.state["random"])
    if torch.cuda.is_available() and "random_cuda" in found.state:
        torch.cuda.set_rng_state(found.state["random_cuda"])


def writer(
    model: PreTrainedModel, optimizer: torch.optim.Optimizer, curve: Sequence[tuple[int, float]], micro_batch: int
) -> Callable[[Path], None]:
    """What writes a checkpoint of this moment into a folder."""

    def write(folder: Path) -> None:
        save_model(model, str(folder / _WEIGHTS))
        state = {"optimizer": optimizer.state_dict(), "random": torch.get_rng_state(), "curve": list(curve), "micro_batch": micro_batch}
        if torch.cuda.is_available():
            state["random_cuda"] = torch.cuda.get_rng_state()
        torch.save(state, folder / _STATE)

    return write


def load(model: PreTrainedModel, folder: Path) -> None:
    """Give the model the weights of a checkpoint."""
    load_model(model, str(folder / _WEIGHTS), device=str(model.device))
