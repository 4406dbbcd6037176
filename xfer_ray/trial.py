"""One trial from start to finish: read this first.

    sweep file -> Trial -> run(trial, desk) -> predictions/<trial>.parquet, scores/<trial>.parquet -> tables

A trial fine-tunes one model on one source, a corpus or a mixture, with one seed, answers every target zero-shot in one pass, and commits.
data.py reads, a module of models/ trains, keeping.py holds the checkpoints on the way, scoring.py answers and scores;
attempt.py keeps the log and the record of a failure around it.
It needs no Ray: `sweep/tuning.py` calls `attempt` on a worker, `run.py` calls it in process.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import socket
import tempfile
import time
import typing
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from xfer_ray import commit, data, notice, pretrained, results, scoring, tokenized
from xfer_ray.attempt import attempted, heartbeat
from xfer_ray.contract import Context, FineTune, FineTuned, Observe
from xfer_ray.core import Model, Task, Trial, is_commit
from xfer_ray.desk import Desk, Outcome
from xfer_ray.errors import DataError, XferRayError
from xfer_ray.identity import canonical
from xfer_ray.keeping import Checkpoints
from xfer_ray.recipe import Pretraining
from xfer_ray.sources import Corpus, Examples


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
    """Run a trial, keep its log, and leave a record of its failure: see attempt.py."""
    return attempted(trial.id, desk, functools.partial(run, trial), capture=capture)


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
    beat = heartbeat(trial.id, desk)

    def report(step: int, steps: int) -> None:
        beat(step, steps)
        leaving.heed(step, steps)

    return Context(
        checkpoint,
        revision,
        cache=desk.scratch / "tokens",
        micro_batch=model.micro_batch,
        layout=model.layout,
        report=report,
        alive=desk.alive,
        observe=desk.observe,
        keeper=keeper,
        made=tokenized.made(desk.results.storage),
    )


def _keep(trial: Trial, desk: Desk, fine_tuned: FineTuned) -> None:
    assert fine_tuned.save is not None
    desk.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=desk.scratch) as folder:
        fine_tuned.save(Path(folder))
        commit.put_model(desk.results, trial.id, Path(folder))


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
