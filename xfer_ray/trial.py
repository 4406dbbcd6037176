"""One trial from start to finish: read this first.

    sweep file -> Trial -> run(trial, desk) -> predictions/<trial>.parquet, scores/<trial>.parquet -> tables

A trial fine-tunes one model on one source corpus with one seed, answers every target zero-shot in one pass, and commits.
data.py reads, a module of models/ trains, keeping.py holds the checkpoints on the way, scoring.py answers and scores.
It needs no Ray: `sweep/tuning.py` calls `attempt` on a worker, `run.py` calls it in process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import io
import json
import logging
import socket
import sys
import time
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xfer_ray import commit, data, notice, pretrained, records, redact, results, scoring
from xfer_ray.contract import Context, FineTune, FineTuned, Observe
from xfer_ray.core import Corpus, Examples, Model, Task, Trial, is_commit
from xfer_ray.errors import DataError, StorageError, UnfitError, XferRayError
from xfer_ray.identity import canonical
from xfer_ray.keeping import Checkpoints
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results

HEARTBEAT_SECONDS = 1.0  # how often a running trial says where it is; for display only
COMPARED = ("xfer_ray", "torch", "transformers", "datasets")  # packages whose versions must be the same on every node
FAR_HEARTBEAT_SECONDS = 15.0  # the same on an object store, where each time costs money


def _ignore(*told: object) -> None:
    """Nobody listens; a function with a name, since a Desk travels."""


@dataclass(frozen=True)
class Desk:
    """Where a trial works: its results, this node's scratch folder, and the revisions that `run` resolved.

    `oracle` also scores the last step and, for each target, the one that the target's own dev set would choose. `versions` are
    those of the packages that plan the sweep; a worker with others refuses. `leave` is asked whether the trial is to end early.
    """

    results: Results
    scratch: Path
    revisions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    keep_models: bool = False
    oracle: bool = False
    checkpoint_seconds: float = 600.0
    stall_seconds: float = 3600.0
    versions: str = ""
    leave: Callable[[], bool] = notice.given
    alive: Callable[[], None] = _ignore
    observe: Observe = _ignore


@dataclass(frozen=True)
class Placement:
    """How trials meet the machines; None means: decide from what is there. `in_process` does without Ray."""

    address: str | None = None
    gpus_per_trial: float | None = None
    cpus_per_trial: int = 1
    max_concurrent: int | None = None
    max_failures: int = 2
    fail_fast: bool = False
    in_process: bool = False
    wandb: str | None = None  # a project of Weights & Biases that hears of each trial that ends


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, and why: `committed`, `same`, `conflict`, `done` (somebody was first), `failed`, `storage`, `interrupted`."""

    trial: str
    state: str
    reason: str = ""


def run(trial: Trial, desk: Desk) -> str:
    """Fine-tune on the source, score every target zero-shot, commit. Returns how the commit ended.

    Raises notice.Interrupted after a checkpoint when `desk.leave` says so.
    """
    if results.is_done(desk.results, trial.id):
        return "done"
    task = data.at_revision(trial.task, desk.revisions)
    dev = _target_dev(task) if desk.oracle else {}  # what is absent is said before anything is trained
    started, clock = datetime.now(UTC), time.perf_counter()
    leaving = notice.Leaving(desk.leave)
    keeper = Checkpoints(
        desk.results, trial.id, desk.scratch, seconds=desk.checkpoint_seconds, keep_all=desk.oracle, leaving=lambda: leaving.told
    )
    fine_tuned = _fine_tune(trial, task, desk, _context(trial, desk, keeper, leaving))
    trained = time.perf_counter()

    targets = {target: data.examples_of(task, target, task.eval_split) for target in task.targets}
    choices, points = scoring.chosen(fine_tuned, targets), scoring.curve(trial, fine_tuned)
    if desk.oracle:
        choices, more = scoring.chosen_with_oracle(trial, fine_tuned, dev)
        points += more
    predictions = scoring.answer(trial, fine_tuned, targets, choices)
    signature = _signature(trial, desk, fine_tuned) | {
        "started": started,
        "finished": datetime.now(UTC),
        "train_seconds": trained - clock,
        "eval_seconds": time.perf_counter() - trained,
    }
    scores = scoring.score(trial, targets, choices, predictions, signature)

    for target, items in targets.items():
        commit.put_examples(desk.results, task.name, str(target), items)
    commit.put_curve(desk.results, trial.id, points)
    if desk.keep_models and fine_tuned.save is not None:
        _keep(trial, desk, fine_tuned)
    ending = commit.commit(desk.results, scores, predictions)
    keeper.clear()
    return ending


def attempt(trial: Trial, desk: Desk, *, capture: bool = True) -> Outcome:
    """Run a trial, keep its log, and leave a failure record.

    What trying again cannot mend comes back as an outcome; other exceptions are raised, so that the scheduler tries again.
    `capture` sends what the trial prints to its log, and ends this process should the trial stall; without it, what it prints
    goes to the screen, and a debugger works.
    """
    seconds = desk.stall_seconds if capture else 0.0
    try:
        with (
            _logged(trial, desk, capture=capture) as text,
            notice.watch(seconds, lambda stacks: _stalled(trial, desk, text.getvalue(), stacks)) as alive,
        ):
            return _attempt(trial, dataclasses.replace(desk, alive=alive))
    except StorageError as error:  # nothing can be recorded where nothing can be written
        return Outcome(trial.id, "storage", str(error))


def _attempt(trial: Trial, desk: Desk) -> Outcome:
    try:
        _demand_versions(desk)
        return Outcome(trial.id, run(trial, desk))
    except (StorageError, notice.Interrupted):
        raise
    except XferRayError as error:
        records.put_failure(desk.results, trial.id, str(error), traceback.format_exc(), socket.gethostname())
        logging.getLogger(__name__).error(traceback.format_exc())
        return Outcome(trial.id, "failed", str(error))
    except (Exception, SystemExit) as error:
        records.put_failure(desk.results, trial.id, f"{type(error).__name__}: {error}", traceback.format_exc(), socket.gethostname())
        raise
    finally:
        records.clear_running(desk.results, trial.id)


def _demand_versions(desk: Desk) -> None:
    """Refuse to compute with other versions than the sweep was planned with: their scores would not be comparable."""
    planned, here = (json.loads(text) if text else {} for text in (desk.versions, scoring.versions()))
    other = [name for name in COMPARED if name in planned and planned[name] != here[name]]
    if other:
        told = ", ".join(f"{name} {here[name]} where the sweep has {planned[name]}" for name in other)
        raise UnfitError(f"{socket.gethostname()} has {told}; install the same versions on every node (`xfer-ray doctor` lists them)")


def _stalled(trial: Trial, desk: Desk, text: str, stacks: str) -> None:
    """Leave a record of a trial that gives no sign of life, before its process ends."""
    reason = f"stalled: no step and no answer for {desk.stall_seconds / 60:g} minutes, so its process was ended"
    records.put_failure(desk.results, trial.id, reason, stacks, socket.gethostname())
    records.clear_running(desk.results, trial.id)
    records.put_log(desk.results, trial.id, f"{text}{reason}\n{stacks}\n")


# ------------------------------------------------------------------------------ model


def _fine_tune(trial: Trial, task: Task, desk: Desk, context: Context) -> FineTuned:
    """The model after training on the source; no target is in reach of what is called here."""
    train = data.examples_of(task, trial.source, task.train_split, size=task.size)
    logging.getLogger(__name__).info("%s %s: %d examples, fingerprint %s", trial.source, task.train_split, len(train), train.fingerprint)
    select = None
    if trial.model.recipe.select_every is not None:
        corpus = task.select_corpus(trial.source)
        select = data.examples_of(task, corpus, task.select_split)
        context = dataclasses.replace(context, score=_observed(functools.partial(scoring.worth, task, corpus, select), desk.observe))
    return family_of(trial.model)(task, train, select, trial.model.recipe, trial.seed, context)


def _observed(score: Callable[[Sequence[str]], float], observe: Observe) -> Callable[[Sequence[str]], float]:
    """The same score, told to who watches the sweep."""

    def told(answers: Sequence[str]) -> float:
        value = score(answers)
        observe("source_dev_score", value)
        return value

    return told


def _target_dev(task: Task) -> dict[Corpus, Examples]:
    """The dev set of every target, which only the oracle may see."""
    try:
        return {target: data.examples_of(task, task.select_corpus(target), task.select_split) for target in task.targets}
    except XferRayError as error:
        raise DataError(f"the oracle needs the split {task.select_split!r} of every target of task {task.name}: {error}") from error


def family_of(model: Model) -> FineTune:
    """The `fine_tune` function of a model's family; its module is imported now and not before."""
    if not isinstance(model.family, str):
        return typing.cast(FineTune, model.family)
    fine_tune: FineTune = importlib.import_module(f"xfer_ray.models.{model.family}").fine_tune
    return fine_tune


def _context(trial: Trial, desk: Desk, keeper: Checkpoints, leaving: notice.Leaving) -> Context:
    model = trial.model
    if isinstance(model.checkpoint, Pretraining):
        checkpoint, revision = str(pretrained.fetch(desk.results.storage, model.checkpoint, desk.scratch)), None
    else:
        resolved = desk.revisions.get(model.checkpoint, "")
        checkpoint, revision = model.checkpoint, resolved if is_commit(resolved) else model.revision
    every = HEARTBEAT_SECONDS if desk.results.storage.is_local else FAR_HEARTBEAT_SECONDS
    last = -every

    def report(step: int, steps: int) -> None:
        nonlocal last
        desk.alive()
        desk.observe("progress", step / max(1, steps))
        if time.monotonic() - last >= every or step == steps:
            last = time.monotonic()
            records.put_running(desk.results, trial.id, socket.gethostname(), step, steps)
        leaving.heed(step, steps)

    return Context(checkpoint, revision, desk.scratch / "tokens", model.micro_batch, report, desk.alive, desk.observe, keeper=keeper)


def _keep(trial: Trial, desk: Desk, fine_tuned: FineTuned) -> None:
    folder = desk.scratch / "models" / trial.id
    assert fine_tuned.save is not None
    fine_tuned.save(folder)
    commit.put_model(desk.results, trial.id, folder)


# ------------------------------------------------------------------------------ records


def _signature(trial: Trial, desk: Desk, fine_tuned: FineTuned) -> dict[str, object]:
    """What every score of this trial carries: whose it is, and everything that could change it."""
    checkpoint, revision = checkpoint_name(trial.model, desk)
    return {
        "sweep": desk.results.sweep,
        "task": trial.task.name,
        "model": trial.model.name,
        "source": str(trial.source),
        "split": trial.task.eval_split,
        "seed": trial.seed,
        "trial": trial.id,
        "digest": trial.digest,
        "checkpoint": checkpoint,
        "checkpoint_revision": revision,
        "data_revision": next((desk.revisions.get(r, "") for r in trial.task.revisions), ""),
        "recipe": canonical(dataclasses.asdict(trial.model.recipe)),
        "versions": scoring.versions(),
        "micro_batch": fine_tuned.micro_batch,
        "device": fine_tuned.device,
        "host": socket.gethostname(),
    }


def checkpoint_name(model: Model, desk: Desk) -> tuple[str, str]:
    """How the scores name a checkpoint: its id or folder and the revision, or the digest and hash of a made one."""
    if isinstance(model.checkpoint, Pretraining):
        return f"pretrained/{model.checkpoint.digest}", pretrained.revision(desk.results.storage, model.checkpoint)
    return model.checkpoint, desk.revisions.get(model.checkpoint, model.revision or "")


class _Echo(io.StringIO):
    """Keeps what is written, and writes it to the worker's own stderr too, which Ray's dashboard shows first, while the trial runs."""

    def __init__(self, output: typing.TextIO) -> None:
        super().__init__()
        self._output = output

    def write(self, text: str) -> int:
        with contextlib.suppress(Exception):  # a worker's full disk is not the trial's failure
            self._output.write(redact.redacted(text))
            self._output.flush()
        return super().write(text)


@contextlib.contextmanager
def _logged(trial: Trial, desk: Desk, *, capture: bool) -> Iterator[io.StringIO]:
    """Keep what this attempt logs, and prints if `capture`, in `logs/<trial>.log`, errors included."""
    text = _Echo(sys.stderr) if capture else io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    ours = logging.getLogger(__package__)
    level = ours.level
    ours.setLevel(logging.INFO)
    text.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {trial.id} on {socket.gethostname()}\n")
    try:
        with contextlib.ExitStack() as stack:
            if capture:
                stack.enter_context(contextlib.redirect_stdout(text))
                stack.enter_context(contextlib.redirect_stderr(text))
            yield text
    except Exception:
        text.write(traceback.format_exc())
        raise
    finally:
        ours.setLevel(level)
        logging.getLogger().removeHandler(handler)
        records.put_log(desk.results, trial.id, text.getvalue())
