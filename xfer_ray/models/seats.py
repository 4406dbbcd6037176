"""What a warm worker keeps of a training for the next like it: the places of weights and optimizer state, and what was recorded there.

A recording knows where its tensors lie, and nothing of the model that they belong to. So the tensors of a later model take the
same seats and play it as their own. The earlier model leaves with copies: what it learned stays its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class _Seats:
    model: list[Tensor]
    optimizer: list[dict[str, Tensor]]  # the state of each parameter
    played: Any


_kept: dict[Hashable, _Seats] = {}  # one at most: they hold a model's memory and more


def taken(alike: Hashable, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - what `leave` was given
    """Seat a model and its optimizer where one alike was, as they are now; gives what was recorded there, None if there was no such."""
    found = _kept.pop(alike, None)
    forget()
    if found is None:
        return None
    for tensor, seat in zip(_tensors(model), found.model, strict=True):
        seat.copy_(tensor.data)
        tensor.data = seat
    for parameter, seats in zip(_parameters(optimizer), found.optimizer, strict=True):
        state = optimizer.state[parameter]
        for name, seat in seats.items():
            seat.copy_(state[name]) if name in state else seat.zero_()
            state[name] = seat
    return found.played


def leave(alike: Hashable, model: nn.Module, optimizer: torch.optim.Optimizer, played: object) -> None:
    """Keep the seats of a model and its optimizer with what was recorded there; the model gets copies, and the optimizer is spent."""
    state = [dict(optimizer.state[parameter]) for parameter in _parameters(optimizer)]
    _kept[alike] = _Seats([tensor.data for tensor in _tensors(model)], state, played)
    for tensor in _tensors(model):
        tensor.data = tensor.data.clone()


def forget() -> None:
    """Keep nothing: for a run that records nothing, or when memory is short."""
    _kept.clear()


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
