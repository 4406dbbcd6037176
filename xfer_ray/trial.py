"""One trial from start to finish: read this first.

    sweep file -> Trial -> run(trial, desk) -> predictions/<trial>.parquet, scores/<trial>.parquet -> tables

A trial fine-tunes one model on one source corpus with one seed, answers every target zero-shot in one pass, and commits.
It needs no Ray: `sweep.py` calls `attempt` on a worker, `run.py` calls it in process.
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
import platform
import random
import socket
import time
import traceback
import typing
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xfer_ray import commit, metrics, pretrained, records, results
from xfer_ray.contract import Context, FineTune, FineTuned
from xfer_ray.core import Corpus, Example, Examples, Model, Pretraining, Score, Task, Trial, is_commit
from xfer_ray.errors import DataError, StorageError, XferRayError
from xfer_ray.identity import canonical, declaration
from xfer_ray.results import Prediction, Results

HEARTBEAT_SECONDS = 1.0  # how often a running trial says where it is; for display only
SHELF_EXAMPLES = 600_000  # what a warm worker keeps loaded: XNLI's 15 test sets and one training set


@dataclass(frozen=True)
class Desk:
    """Where a trial works: its results, this node's scratch folder, and the revisions that `run` resolved."""

    results: Results
    scratch: Path
    revisions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    keep_models: bool = False


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


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: `committed`, `same`, `conflict`, `done` (somebody was first), `failed` or `storage`, and why."""

    trial: str
    state: str
    reason: str = ""


def run(trial: Trial, desk: Desk) -> str:
    """Fine-tune on the source, score every target zero-shot, commit. Returns how the commit ended."""
    if results.is_done(desk.results, trial.id):
        return "done"
    task = _at_revision(trial.task, desk.revisions)
    started, clock = datetime.now(UTC), time.perf_counter()
    train = examples_of(task, trial.source, task.train_split, size=task.size)
    select = None  # no recipe of this version looks at the source's dev set; and none may ever see a target
    fine_tuned = family_of(trial.model)(task, train, select, trial.model.recipe, trial.seed, _context(trial, desk))
    trained = time.perf_counter()

    targets = {target: examples_of(task, target, task.eval_split) for target in task.targets}
    predictions = list(_answer(trial, fine_tuned, targets))
    signature = _signature(trial, desk, fine_tuned) | {
        "started": started,
        "finished": datetime.now(UTC),
        "train_seconds": trained - clock,
        "eval_seconds": time.perf_counter() - trained,
    }
    scores = list(_score(trial, targets, predictions, signature))

    for target, items in targets.items():
        commit.put_examples(desk.results, task.name, str(target), items)
    if desk.keep_models and fine_tuned.save is not None:
        _keep(trial, desk, fine_tuned)
    return commit.commit(desk.results, scores, predictions)


def attempt(trial: Trial, desk: Desk, *, capture: bool = True) -> Outcome:
    """Run a trial, keep its log, and leave a failure record.

    What trying again cannot mend comes back as an outcome; other exceptions are raised, so that the scheduler tries again.
    `capture` sends what the trial prints to its log; without it, it goes to the screen, and a debugger works.
    """
    try:
        with _logged(trial, desk, capture=capture):
            return _attempt(trial, desk)
    except StorageError as error:  # nothing can be recorded where nothing can be written
        return Outcome(trial.id, "storage", str(error))


def _attempt(trial: Trial, desk: Desk) -> Outcome:
    try:
        return Outcome(trial.id, run(trial, desk))
    except StorageError:
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


# ------------------------------------------------------------------------------ data

_shelf: OrderedDict[str, Examples] = OrderedDict()


def examples_of(task: Task, corpus: Corpus, split: str, *, size: int | None = None) -> Examples:
    """The examples of one corpus and split, kept in memory for the next trial of this worker.

    With `size`, a sample of that many: the same positions in every corpus, so that parallel sources stay parallel.
    """
    key = canonical([declaration(task.load), str(corpus), split, size])
    if key not in _shelf:
        items = tuple(task.load(corpus, split))
        if not items:
            raise DataError(f"{split} of {corpus} in task {task.name} has no examples")
        if size is not None:
            items = _sample(items, size, f"{split} of {corpus} in task {task.name}")
        ids = [item.id for item in items]
        if len(set(ids)) < len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise DataError(f"{split} of {corpus} in task {task.name} holds example {twice!r} more than once; ids tell examples apart")
        _shelf[key] = Examples(items)
    _shelf.move_to_end(key)
    while sum(map(len, _shelf.values())) > SHELF_EXAMPLES and len(_shelf) > 1:
        _shelf.popitem(last=False)
    return _shelf[key]


def _sample(items: Sequence[Example], size: int, where: str) -> tuple[Example, ...]:
    if size > len(items):
        raise DataError(f"{where} has {len(items)} examples, fewer than the declared size of {size}")
    return tuple(items[i] for i in sorted(random.Random(0).sample(range(len(items)), size)))


def _at_revision(task: Task, revisions: Mapping[str, str]) -> Task:
    """The task with its data pinned to the commit that `run` resolved."""
    pinned = [revisions[name] for name in task.revisions if is_commit(revisions.get(name, ""))]
    if not pinned:
        return task
    return dataclasses.replace(task, load=dataclasses.replace(task.load, revision=pinned[0]))  # type: ignore[type-var]


# ------------------------------------------------------------------------------ model


def family_of(model: Model) -> FineTune:
    """The `fine_tune` function of a model's family; its module is imported now and not before."""
    if not isinstance(model.family, str):
        return typing.cast(FineTune, model.family)
    fine_tune: FineTune = importlib.import_module(f"xfer_ray.models.{model.family}").fine_tune
    return fine_tune


def _context(trial: Trial, desk: Desk) -> Context:
    model = trial.model
    if isinstance(model.checkpoint, Pretraining):
        checkpoint, revision = str(pretrained.fetch(desk.results.storage, model.checkpoint, desk.scratch)), None
    else:
        resolved = desk.revisions.get(model.checkpoint, "")
        checkpoint, revision = model.checkpoint, resolved if is_commit(resolved) else model.revision
    last = -HEARTBEAT_SECONDS

    def report(step: int, steps: int) -> None:
        nonlocal last
        if time.monotonic() - last >= HEARTBEAT_SECONDS or step == steps:
            last = time.monotonic()
            records.put_running(desk.results, trial.id, socket.gethostname(), step, steps)

    return Context(checkpoint, revision, desk.scratch / "tokens", model.micro_batch, report)


def _keep(trial: Trial, desk: Desk, fine_tuned: FineTuned) -> None:
    folder = desk.scratch / "models" / trial.id
    assert fine_tuned.save is not None
    fine_tuned.save(folder)
    commit.put_model(desk.results, trial.id, folder)


# ------------------------------------------------------------------------------ scores


def _answer(trial: Trial, fine_tuned: FineTuned, targets: Mapping[Corpus, Examples]) -> Iterator[Prediction]:
    """One pass over the examples of all targets, each prediction scored on its own."""
    everything = [(str(target), target.language, example) for target, items in targets.items() for example in items]
    answers = fine_tuned([example for _, _, example in everything])
    if len(answers) != len(everything):
        raise DataError(f"model {trial.model.name} gave {len(answers)} answers to {len(everything)} examples")
    chosen = {name: metrics.metric(name) for name in trial.task.metrics}
    for (target, language, example), answer in zip(everything, answers, strict=True):
        yield Prediction(
            trial=trial.id,
            target=target,
            selection="last",
            example=example.id,
            prediction=answer,
            illegal=metrics.illegal(answer, trial.task.labels),
            scores={name: function(answer, example.answers, language) for name, function in chosen.items()},
        )


def _score(
    trial: Trial, targets: Mapping[Corpus, Examples], predictions: Sequence[Prediction], signature: Mapping[str, object]
) -> Iterator[Score]:
    by_target: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_target.setdefault(prediction.target, []).append(prediction)
    for target, items in targets.items():
        mine = by_target[str(target)]
        for name in trial.task.metrics:
            yield Score(
                target=str(target),
                metric=name,
                metric_version=metrics.version(name),
                score=sum(p.scores[name] for p in mine) / len(mine),
                n=len(mine),
                data_fingerprint=items.fingerprint,
                **signature,  # type: ignore[arg-type]
            )


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
        "step": fine_tuned.step,
        "checkpoint": checkpoint,
        "checkpoint_revision": revision,
        "data_revision": next((desk.revisions.get(r, "") for r in trial.task.revisions), ""),
        "recipe": canonical(dataclasses.asdict(trial.model.recipe)),
        "versions": versions(),
        "micro_batch": fine_tuned.micro_batch,
        "device": fine_tuned.device,
        "host": socket.gethostname(),
    }


def checkpoint_name(model: Model, desk: Desk) -> tuple[str, str]:
    """How the scores name a checkpoint: its id or folder and the revision, or the digest and hash of a made one."""
    if isinstance(model.checkpoint, Pretraining):
        return f"pretrained/{model.checkpoint.digest}", pretrained.revision(desk.results.storage, model.checkpoint)
    return model.checkpoint, desk.revisions.get(model.checkpoint, model.revision or "")


@functools.cache
def versions() -> str:
    """Versions of what computes a score, as canonical JSON; reads package metadata, imports nothing."""
    found: dict[str, str] = {"python": platform.python_version()}
    for package in ("xfer-ray", "torch", "transformers", "datasets", "ray"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package.replace("-", "_")] = importlib.metadata.version(package)
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


@contextlib.contextmanager
def _logged(trial: Trial, desk: Desk, *, capture: bool) -> Iterator[None]:
    """Keep what this attempt logs, and prints if `capture`, in `logs/<trial>.log`, errors included."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    text.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {trial.id} on {socket.gethostname()}\n")
    try:
        with contextlib.ExitStack() as stack:
            if capture:
                stack.enter_context(contextlib.redirect_stdout(text))
                stack.enter_context(contextlib.redirect_stderr(text))
            yield
    except Exception:
        text.write(traceback.format_exc())
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        records.put_log(desk.results, trial.id, text.getvalue())
