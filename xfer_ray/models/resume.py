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
    """Give the model the weights of the newest checkpoint, if there is one; the rest of it is for `state`."""
    step = keeper.latest() if keeper else None
    if keeper is None or step is None:
        return Found()
    folder = keeper.fetch(step)
    load(model, folder)
    state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    return Found(step, tuple((int(at), float(score)) for at, score in state["curve"]), state)


def state(optimizer: torch.optim.Optimizer, found: Found) -> None:
    """Give the optimizer and the random generators the state that they had."""
    if not found.state:
        return
    optimizer.load_state_dict(found.state["optimizer"])
    torch.set_rng_state(found.state["random"])
    if torch.cuda.is_available() and "random_cuda" in found.state:
        torch.cuda.set_rng_state(found.state["random_cuda"])


def writer(model: PreTrainedModel, optimizer: torch.optim.Optimizer, curve: Sequence[tuple[int, float]]) -> Callable[[Path], None]:
    """What writes a checkpoint of this moment into a folder."""

    def write(folder: Path) -> None:
        save_model(model, str(folder / _WEIGHTS))
        state = {"optimizer": optimizer.state_dict(), "random": torch.get_rng_state(), "curve": list(curve)}
        if torch.cuda.is_available():
            state["random_cuda"] = torch.cuda.get_rng_state()
        torch.save(state, folder / _STATE)

    return write


def load(model: PreTrainedModel, folder: Path) -> None:
    """Give the model the weights of a checkpoint."""
    load_model(model, str(folder / _WEIGHTS), device=str(model.device))
