"""Each trial that ends as a run of Weights & Biases: an extra, `pip install 'xfer-ray[wandb]'`, and `run --wandb PROJECT`.

It listens to what Tune's callback says of the trials, in the driver alone: a trial's configuration, its curve and its scores are read from
the files of the sweep and passed on by a thread, so that no trial waits and none fails. Ray's own WandbLoggerCallback knows only what a
trial returns, starts two processes for each, and puts the key into a runtime environment, which Ray's dashboard shows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import netrc
import os
import queue
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xfer_ray import compact, records, results
from xfer_ray.core import Trial
from xfer_ray.errors import SetupError
from xfer_ray.redact import redacted
from xfer_ray.results import Results

PATIENCE_SECONDS = 120.0  # what the end of a sweep waits for trials that are still on their way
IMPATIENCE_SECONDS = 5.0  # the same where it was stopped
ENDED = ("committed", "same", "conflict", "failed")
log = logging.getLogger(__name__)


@contextlib.contextmanager
def following(project: str, found: Results, trials: Sequence[Trial], scratch: Path) -> Iterator[Tracker]:
    """Within the block the trials that end are passed on to a project; at its end what is still on its way is waited for."""
    demand_access()
    tracker = Tracker(project, found, trials, scratch)
    try:
        yield tracker
    except BaseException:  # a person who stops a sweep does not want to wait
        tracker.close(IMPATIENCE_SECONDS)
        raise
    tracker.close(PATIENCE_SECONDS)


def demand_access() -> None:
    """Refuse before anything starts where the package or a key is missing: it would ask for one in the middle of a sweep."""
    if importlib.util.find_spec("wandb") is None:
        raise SetupError("--wandb needs the package wandb, which is not installed; pip install 'xfer-ray[wandb]'")
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun") or os.environ.get("WANDB_API_KEY"):
        return
    host = urllib.parse.urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        if netrc.netrc(file).authenticators(host):
            return
    raise SetupError(f"--wandb finds no key for {host}; set WANDB_API_KEY, run `wandb login`, or set WANDB_MODE=offline")


class Tracker:
    """Passes on trials that have ended: a listener of `Progress`."""

    def __init__(self, project: str, found: Results, trials: Sequence[Trial], scratch: Path) -> None:
        self._project, self._found, self._scratch = project, found, scratch / "wandb"
        self._trials = {trial.id: trial for trial in trials}
        self._ended: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def __call__(self, trial: str, state: str) -> None:
        """A trial ended, or did something else that does not matter here."""
        if state in ENDED:
            self._ended.put((trial, state))

    def close(self, seconds: float) -> None:
        """Wait for what is on its way, but no longer than that."""
        self._ended.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("W&B did not take every trial within %.0f s; their results are in %s", seconds, self._found.url)

    def _work(self) -> None:
        while (ended := self._ended.get()) is not None:
            try:
                self._pass_on(*ended)
            except Exception as error:
                log.warning("W&B did not take trial %s: %s", ended[0], redacted(str(error).strip() or type(error).__name__).splitlines()[0])

    def _pass_on(self, name: str, state: str) -> None:
        import wandb

        trial = self._trials[name]
        self._scratch.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self._project,
            id=name[-128:],  # the same trial again is the same run
            name=name,
            group=self._found.sweep,
            config=_configuration(trial),
            dir=str(self._scratch),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True),
        )
        for step, values in _curve(self._found, name).items():
            run.log(values, step=step)
        run.summary.update({"state": state} | (_failure(self._found, name) if state == "failed" else _scores(self._found, name)))
        run.finish(exit_code=int(state == "failed"))


def _configuration(trial: Trial) -> dict[str, Any]:
    return {
        "task": trial.task.name,
        "model": trial.model.name,
        "source": str(trial.source),
        "seed": trial.seed,
        "digest": trial.digest,
        "recipe": dataclasses.asdict(trial.model.recipe),
    }


def _curve(found: Results, trial: str) -> dict[int, dict[str, float]]:
    """By step, what was scored on dev sets during training."""
    path = found.table("curves", trial)
    if not found.storage.exists(path):
        return {}
    points = results.from_bytes(found.storage.read(path), path).to_pylist()
    curve: dict[int, dict[str, float]] = {}
    for point in points:
        curve.setdefault(point["step"], {})[f"{point['split']}/{point['corpus']}/{point['metric']}"] = point["score"]
    return dict(sorted(curve.items()))


def _scores(found: Results, trial: str) -> dict[str, float]:
    """A score for each target, metric and selection, and how long it took."""
    rows = compact.read_scores(found, [trial]).to_dict("records")
    scores = {f"{row['selection']}/{row['target']}/{row['metric']}": float(row["score"]) for row in rows}
    return scores | ({name: float(rows[0][name]) for name in ("train_seconds", "eval_seconds")} if rows else {})


def _failure(found: Results, trial: str) -> dict[str, str]:
    failure = records.read_failure(found, trial)
    return {"error": redacted(failure.error) if failure else ""}
