"""From a sweep to its committed trials: plan, adopt, pre-train, run what is missing, say what became of it."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from xfer_ray import adoption, keeping, making, notice, plan, planfile, pretrained, records, results, storage
from xfer_ray.core import Sweep, Trial
from xfer_ray.desk import Desk, Outcome, Placement
from xfer_ray.errors import DeclarationError, StorageError
from xfer_ray.progress import Progress
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results
from xfer_ray.trial import attempt


@dataclass(frozen=True)
class Summary:
    """What a run leaves: how many trials are done of how many, and those that failed or are blocked, with reasons."""

    total: int
    done: int
    failed: dict[str, str]
    blocked: dict[str, str]


def scratch() -> Path:
    """This node's folder for what can be made again: tokenized corpora, copies of checkpoints."""
    return Path(os.environ.get("XFER_RAY_CACHE") or "~/.cache/xfer-ray").expanduser().absolute()


def _demand_scratch(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"the scratch folder {folder} cannot be written to: {error.strerror}; set XFER_RAY_CACHE to a folder that can"
        ) from error


def prepare(sweep: Sweep, where: str) -> Results:
    """Open the results of a sweep; a storage that cannot hold them is refused here, before any GPU work."""
    found = Results(storage.open_storage(where), sweep.name)
    found.storage.preflight()
    if planfile.has_plan(found) and any(model.family == "imported" for model in planfile.read_plan(found).models.values()):
        raise DeclarationError(f"{found.url} holds imported scores; give sweep {sweep.name!r} another name, or another --storage")
    return found


def run(sweep: Sweep, chosen: Sequence[Trial], found: Results, desk: Desk, placement: Placement, module: ModuleType) -> Summary:
    """Run the chosen trials that are missing, on Ray or in this process, one after another."""
    blocked = plan.blocked(chosen)
    planned = {p.trial: p for p in planfile.plan_of(sweep, desk.revisions).trials}
    done = results.done(found)
    keeping.clear_done(found, done)
    missing = [t for t in chosen if t.id not in done and t.id not in blocked]
    scored = {t.task.name: t.task.metrics for t in missing}
    adopted = {p.trial for p in adoption.adopt(found, [planned[t.id] for t in missing], scored, oracle=desk.oracle)}
    missing = [t for t in missing if t.id not in adopted]
    blocked = {trial: reason for trial, reason in blocked.items() if trial not in done}
    count = len([t for t in chosen if t.id in done]) + len(adopted)
    to_run = {t.id: t.model.name for t in missing}
    with Progress(found, total=len(chosen), done=count, to_run=to_run) as progress, contextlib.ExitStack() as stack:
        if placement.wandb:
            from xfer_ray.sweep import wandb

            progress.listen(stack.enter_context(wandb.following(placement.wandb, found, missing, desk.scratch)))
        if adopted:
            progress.say(f"adopted {len(adopted)} trials that another sweep of this storage has committed")
        if missing:
            _demand_scratch(desk.scratch)
        failed = _execute(missing, desk, placement, module, progress) if missing else {}
    return Summary(len(chosen), len(results.done(found) & {t.id for t in chosen}), failed, blocked)


def _execute(missing: Sequence[Trial], desk: Desk, placement: Placement, module: ModuleType, progress: Progress) -> dict[str, str]:
    """Make the checkpoints that are missing, then run the trials whose checkpoint is there; returns the failures."""
    made = {t.model.checkpoint.digest: t.model.checkpoint for t in missing if isinstance(t.model.checkpoint, Pretraining)}
    to_make = [p for p in made.values() if not pretrained.exists(desk.results.storage, p)]
    if placement.in_process:
        with notice.soft(progress.say):
            ready, failed = _split(missing, _make(to_make, desk, progress), desk, progress)
            return failed | _in_process(ready, desk, progress, placement.fail_fast)
    from xfer_ray.sweep import connecting, pretraining, tuning  # imports Ray

    connecting.connect(placement, module)
    try:
        ready, failed = _split(missing, pretraining.pretrain(to_make, desk, placement, progress), desk, progress)
        return failed | (tuning.fit(ready, desk, placement, progress) if ready else {})
    finally:
        connecting.disconnect()
        names = {t.id for t in missing} | {making.name_of(one) for one in to_make}
        for name in records.running(desk.results) & names:  # one listing, where most have left nothing
            records.clear_running(desk.results, name)


def _split(missing: Sequence[Trial], broken: dict[str, str], desk: Desk, progress: Progress) -> tuple[list[Trial], dict[str, str]]:
    """The trials whose checkpoint is there, and the others as failures; `broken` says by digest why it could not be made."""
    ready, failed = [], {}
    for trial in missing:
        checkpoint = trial.model.checkpoint
        if isinstance(checkpoint, Pretraining) and checkpoint.digest in broken:
            failed[trial.id] = f"its checkpoint could not be made: {broken[checkpoint.digest]}"
            records.put_failure(desk.results, trial.id, failed[trial.id], "", "")
            progress.finished(trial.id, "failed", failed[trial.id])
        else:
            ready.append(trial)
    return ready, failed


def _make(to_make: Sequence[Pretraining], desk: Desk, progress: Progress) -> dict[str, str]:
    """Make checkpoints in this process; returns those that could not be made, by digest, with the reason."""
    broken = {}
    for pretraining in to_make:
        progress.note(f"pre-training {pretraining.digest}")
        outcome = _tried(functools.partial(making.attempt, pretraining, desk, capture=False), pretraining.digest)
        if outcome.state == "storage":
            raise StorageError(outcome.reason)
        if outcome.state == "failed":
            broken[pretraining.digest] = outcome.reason
    progress.note("")
    return broken


def _in_process(missing: Sequence[Trial], desk: Desk, progress: Progress, fail_fast: bool) -> dict[str, str]:
    failed: dict[str, str] = {}
    for trial in missing:
        progress.started(trial.id)
        outcome = _tried(functools.partial(attempt, trial, desk, capture=False), trial.id)
        progress.finished(trial.id, outcome.state, outcome.reason)
        if outcome.state == "storage":
            raise StorageError(outcome.reason)
        if outcome.state == "failed":
            failed[trial.id] = outcome.reason
            if fail_fast:
                break
    return failed


def _tried(once: Callable[[], Outcome], name: str) -> Outcome:
    """One attempt, unless it is time to leave; there is no worker to replace here, so what is raised is a failure too."""
    if notice.given():
        raise notice.Interrupted(f"asked to leave before {name}")
    try:
        return once()
    except notice.Interrupted:
        raise
    except (Exception, SystemExit) as error:
        return Outcome(name, "failed", f"{type(error).__name__}: {error}")
