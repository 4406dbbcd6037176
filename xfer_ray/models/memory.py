"""Running out of memory: what did not fit is given back and done again in smaller parts."""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xfer_ray.contract import Context
from xfer_ray.errors import SetupError
from xfer_ray.models import seats
from xfer_ray.models.batches import Rows

if TYPE_CHECKING:
    from xfer_ray.models.lessons import Run

log = logging.getLogger(__name__)
Fitted = TypeVar("Fitted")

# What CUDA and cuBLAS say by themselves, which happens where several trials share a GPU.
_SPENT = re.compile(r"CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED")


class Room:
    """A block that may run out of memory: what PyTorch said then is in `said`, and what it held is given back."""

    said = ""

    def __enter__(self) -> Room:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Swallow that error and no other."""
        if not isinstance(error, torch.OutOfMemoryError) and not (isinstance(error, RuntimeError) and _SPENT.search(str(error))):
            return False
        self.said = str(error).split(". ")[0].strip() or "out of memory"
        traceback.clear_frames(trace)  # they hold the tensors that did not fit
        seats.forget()
        give_back()
        return True

    def error(self, what: str, hint: str) -> SetupError:
        """The error for what cannot be made smaller."""
        return SetupError(
            f"{what} does not fit the memory of the device: {self.said}; the trial needs more memory, "
            f"a larger share (--gpus-per-trial) or a larger GPU; {hint}"
        )


def fitting(module: nn.Module, size: int, compute: Callable[[int], Fitted], one: str, hint: str) -> tuple[Fitted, int]:
    """`compute(size)`, a gradient by micro-batches, which are halved until one fits the memory; returns what fitted, too.

    `one` says what a single row is, and `hint` what may help where even that does not fit.
    """
    while True:
        with Room() as room:
            return compute(size), size
        if size == 1:
            raise room.error(one, hint)
        module.zero_grad()
        size = math.ceil(size / 2)
        log.warning("out of memory (%s); going on with micro-batches of %d, the batch stays as it is", room.said, size)


def in_groups(run: Run, lengths: NDArray[np.int64], groups: Iterable[Rows], compute: Callable[[Rows], None]) -> None:
    """Compute group after group of an evaluation, of rows that are so long; one that does not fit the memory is halved."""
    for group in groups:
        waiting = [group]
        while waiting:
            rows = waiting.pop()
            run.context.alive()
            with Room() as room:
                compute(rows)
            if room.said and len(rows) == 1:
                raise room.error("a single row that is to be answered", f"a smaller max_length (now {run.recipe.max_length}) helps too")
            if room.said:
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            else:
                run.context.observe("evaluation_examples", len(rows))
                run.context.observe("evaluation_tokens", int(lengths[rows].sum()))
    observe(run.context)


def observe(context: Context, *, afresh: bool = False) -> None:
    """Tell what this process holds of the GPU's memory; `afresh` begins a new peak. Nothing where there is no GPU."""
    if torch.cuda.is_available():
        if afresh:
            torch.cuda.reset_peak_memory_stats()
        context.observe("gpu_memory", torch.cuda.memory_allocated())
        context.observe("gpu_memory_peak", torch.cuda.max_memory_allocated())


def give_back() -> None:
    """Return what PyTorch holds of the GPU's memory beyond the model itself, for the other trials on it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
