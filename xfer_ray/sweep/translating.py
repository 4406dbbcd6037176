"""Shards of a translation on Ray Data: warm workers, as many as there is room for."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.data

from xfer_ray.desk import Placement
from xfer_ray.errors import DeclarationError, SetupError, XferRayError
from xfer_ray.shard import Shard, Translating, Work


class Worker:
    """A `Translating` in the shape that Ray Data calls: a batch is one shard."""

    def __init__(self, work: Work) -> None:
        self._translating = Translating(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Translate and put one shard; what goes back is only its name."""
        digest, texts = str(batch["digest"][0]), tuple(map(str, batch["texts"][0]))
        self._translating(Shard(digest, texts))
        return {"digest": [digest], "characters": [sum(map(len, texts))]}


def share(placement: Placement) -> dict[str, float]:
    """CPUs and GPUs of one worker: a whole GPU where there is one, unless a number is asked for."""
    gpus = placement.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
    return {"CPU": placement.cpus_per_trial} | ({"GPU": gpus} if gpus else {})


def room(placement: Placement) -> int:
    """How many workers the live cluster can hold at once; DeclarationError if not even one."""
    total, wanted = ray.cluster_resources(), share(placement)
    held = min(int(total.get(kind, 0.0) / each) for kind, each in wanted.items())
    if not held:
        needs = " and ".join(f"{each:g} {kind}s" for kind, each in wanted.items())
        raise DeclarationError(
            f"a worker of {needs} is more than this cluster has: {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs"
        )
    return min(held, placement.max_concurrent or held)


def pace(work: Work, texts: Sequence[str], placement: Placement) -> float:
    """Characters a second of one worker, by a probe where a worker would run."""
    wanted = share(placement)
    probe = ray.remote(num_cpus=wanted["CPU"], num_gpus=wanted.get("GPU", 0))(_pace)
    return float(_explained(lambda: ray.get(probe.remote(work, tuple(texts)))))


def _pace(work: Work, texts: Sequence[str]) -> float:
    return Translating(work).pace(texts)


def translate(shards: Sequence[Shard], work: Work, placement: Placement, watch: Callable[[int], None]) -> None:
    """Translate and put the shards; `watch` hears of the characters of each one that is there. A worker that dies is replaced."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.log_internal_stack_trace_to_stdout = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it has to say, `watch` and the error say
    wanted = share(placement)
    rows = [{"digest": shard.digest, "texts": list(shard.texts)} for shard in shards]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Worker,
        batch_size=1,
        batch_format="numpy",
        fn_constructor_kwargs={"work": work},
        compute=ray.data.ActorPoolStrategy(size=min(room(placement), len(shards)), max_tasks_in_flight_per_actor=2),
        num_cpus=wanted["CPU"],
        num_gpus=wanted.get("GPU"),
    )

    def consume() -> None:
        with _without_warning():
            for row in done.iter_rows():
                watch(int(row["characters"]))

    _explained(consume)


@contextlib.contextmanager
def _without_warning() -> Iterator[None]:
    """Keep from the screen what Ray writes there: that every actor pool of Ray Data has arguments (ray#57733), that a worker died."""
    ours, screen = sys.stderr, os.dup(2)
    with os.fdopen(screen, "w", buffering=1) as sys.stderr, Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            with contextlib.redirect_stdout(nothing):
                yield
        finally:
            os.dup2(screen, 2)
            sys.stderr.flush()
            sys.stderr = ours


def _explained(action: Callable[[], Any]) -> Any:
    """What a worker raised of ours is raised here; anything else that ends the work is a SetupError."""
    try:
        return action()
    except ray.exceptions.RayError as error:
        cause: BaseException = error
        while isinstance(cause, ray.exceptions.RayError) and (inner := getattr(cause, "cause", None) or cause.__cause__):
            cause = inner
        if isinstance(cause, XferRayError) and not isinstance(cause, ray.exceptions.RayError):
            raise cause from error
        line = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
        raise SetupError(f"the translation stopped, and goes on from where it is when it is run again: {line}") from error
