"""How running trials hear that the sweep is to stop: each waits for one answer, which comes when the bell is rung."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import ray

LOOK_SECONDS = 0.5  # how often a trial looks whether the answer has come


class Bell:
    """The actor behind a bell; it needs no CPU."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    async def rung(self) -> bool:
        """Answers when the bell is rung."""
        return await self._rung.wait()

    async def ring(self) -> None:
        """Answer everybody."""
        self._rung.set()


def _end_with(parent: int) -> None:
    """End this process when the raylet that started it is gone; one that only waits does not notice by itself."""
    while os.getppid() == parent:
        time.sleep(5)
    os._exit(0)


def hang() -> Any:
    """A bell for the workers of a sweep; `bell.ring.remote()` rings it. One that dies is hung again, and all wait on."""
    kind = ray.remote(num_cpus=0, max_concurrency=100_000, max_restarts=-1, max_task_retries=-1)(Bell)
    return kind.options(name=f"bell-{time.time_ns()}").remote()


class Listener:
    """Whether a bell has been rung; a bell that is lost with its node has not."""

    def __init__(self, bell: Any) -> None:
        self._answer, self._looked, self._heard = bell.rung.remote(), 0.0, False

    def __call__(self) -> bool:
        """Look, at most twice a second."""
        if not self._heard and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._heard = self._come()
        return self._heard

    def _come(self) -> bool:
        if not ray.wait([self._answer], timeout=0)[0]:
            return False
        try:
            return bool(ray.get(self._answer))
        except ray.exceptions.RayError:
            return False
