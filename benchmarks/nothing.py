"""What Ray Tune itself costs: N trials that do nothing, with the settings of a sweep: `python -m benchmarks.nothing N`.

Prints a line to stderr as each trial ends, as a sweep does, so that both are watched alike.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from typing import Any

import ray
from ray import tune

from xfer_ray.sweep.tuning import TRIALS_PER_TUNER, TrialList


class Nothing(tune.Trainable):  # type: ignore[misc]
    """A warm worker that does nothing."""

    def step(self) -> dict[str, Any]:
        """One trial."""
        return {"trial": "nothing", "state": "committed", "reason": "", "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial without a new process."""
        return True


class Counting(tune.Callback):  # type: ignore[misc]
    """Says how many trials have ended."""

    def __init__(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Another one."""
        self._done += 1
        print(f"[{self._done}/{self._total}]", file=sys.stderr, flush=True)


def main(number: int) -> None:
    """Run them, a thousand per Tuner."""
    ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    most = int(ray.cluster_resources()["CPU"])
    for first in range(0, number, TRIALS_PER_TUNER):
        some = min(TRIALS_PER_TUNER, number - first)
        with tempfile.TemporaryDirectory() as scratch:
            tune.Tuner(
                tune.with_resources(Nothing, {"CPU": 1}),
                tune_config=tune.TuneConfig(
                    search_alg=TrialList([{"CPU": 1.0}] * some),
                    num_samples=some,
                    max_concurrent_trials=most,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    callbacks=[Counting(first, number)],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=2),
                    verbose=0,
                ),
            ).fit()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
