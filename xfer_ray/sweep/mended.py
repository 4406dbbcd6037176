"""What Ray 2.60 would let end a whole sweep, made into what it is: the death of one worker."""

from __future__ import annotations

from typing import Any

import ray
from ray.air.execution._internal import RayActorManager
from ray.tune.execution import tune_controller


class ActorManager(RayActorManager):  # type: ignore[misc]
    """Tune's own, which takes a worker that Ray's memory monitor has killed for an error of its own and gives up."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def mend() -> None:
    """Let Tune use it."""
    tune_controller.RayActorManager = ActorManager
