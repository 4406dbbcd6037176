"""From a fine-tuned model to predictions and scores: which checkpoint answers, what it answers, what that is worth."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xfer_ray import metrics
from xfer_ray.contract import FineTuned, Predict, Selection, answers_of
from xfer_ray.core import Score, Task, Trial
from xfer_ray.errors import DataError
from xfer_ray.results import Point, Prediction
from xfer_ray.sources import Corpus, Examples, Source

Targets = Mapping[Corpus, Examples]


@dataclass(frozen=True)
class Choice:
    """Which step answers a target, and who chose it."""

    selection: Selection
    target: Corpus
    step: int


def worth(task: Task, source: Source, examples: Examples, answers: Sequence[str]) -> float:
    """The mean of the task's first metric over the examples of a corpus or mixture: what checkpoints are chosen by."""
    metric = metrics.metric(task.metrics[0])
    languages = examples.languages or source.languages * len(examples)
    values = [metric(answer, example.answers, spoken) for example, answer, spoken in zip(examples, answers, languages, strict=True)]
    return sum(values) / len(values)


def chosen(fine_tuned: FineTuned, targets: Targets) -> list[Choice]:
    """Every target is answered by the step that fine-tuning ended with."""
    return [Choice(fine_tuned.selection, target, fine_tuned.step) for target in targets]


def chosen_with_oracle(trial: Trial, fine_tuned: FineTuned, dev: Targets) -> tuple[list[Choice], list[Point]]:
    """The source's choice, the last step, and for each target the step that its own dev set would choose; and the curves of that."""
    if fine_tuned.at is None:
        raise DataError(f"the oracle chooses among checkpoints, and model {trial.model.name} kept none: its recipe has no select_every")
    points = [
        _point(trial, step, target, worth(trial.task, target, items, answers_of(fine_tuned.at(step), items)))
        for step, _ in fine_tuned.curve
        for target, items in dev.items()
    ]
    choices = chosen(fine_tuned, dev) + [Choice("last", target, fine_tuned.steps) for target in dev]
    for target in dev:
        mine = [point for point in points if point.corpus == str(trial.task.select_corpus(target))]
        best = max(mine, key=lambda point: (point.score, -point.step))
        choices.append(Choice("oracle", target, best.step))
    return choices, points


def curve(trial: Trial, fine_tuned: FineTuned) -> list[Point]:
    """What each checkpoint scored on the source's dev set."""
    return [_point(trial, step, trial.source, score) for step, score in fine_tuned.curve]


def _point(trial: Trial, step: int, source: Source, score: float) -> Point:
    task = trial.task
    return Point(trial.id, step, str(task.select_corpus(source)), task.select_split, task.metrics[0], score)


def answer(trial: Trial, fine_tuned: FineTuned, targets: Targets, choices: Sequence[Choice]) -> list[Prediction]:
    """Every chosen step answers its targets in one pass; the model is left as fine-tuning ended."""
    predictions: dict[Choice, list[Prediction]] = {}
    steps = sorted({choice.step for choice in choices}, key=lambda step: (step == fine_tuned.step, step))
    for step in steps:
        mine = [choice for choice in choices if choice.step == step]
        asked = {choice.target: targets[choice.target] for choice in mine}
        predict = fine_tuned.predict if fine_tuned.at is None or len(steps) == 1 else fine_tuned.at(step)
        answers = _one_pass(trial, predict, asked)
        predictions |= {choice: list(_judged(trial, choice, asked[choice.target], answers[choice.target])) for choice in mine}
    return [prediction for choice in choices for prediction in predictions[choice]]


def _one_pass(trial: Trial, predict: Predict, targets: Targets) -> dict[Corpus, list[str]]:
    try:
        answers = iter(answers_of(predict, [example for items in targets.values() for example in items]))
    except DataError as error:
        raise DataError(f"model {trial.model.name}: {error}") from error
    return {target: [next(answers) for _ in items] for target, items in targets.items()}


def _judged(trial: Trial, choice: Choice, items: Examples, answers: Sequence[str]) -> Iterator[Prediction]:
    """Each prediction scored on its own."""
    task = trial.task
    functions = {name: metrics.metric(name) for name in task.metrics}
    for example, given in zip(items, answers, strict=True):
        yield Prediction(
            trial=trial.id,
            target=str(choice.target),
            selection=choice.selection,
            example=example.id,
            prediction=given,
            illegal=metrics.illegal(given, task.labels, example.second),
            scores={name: function(given, example.answers, choice.target.language) for name, function in functions.items()},
        )


def score(
    trial: Trial, targets: Targets, choices: Sequence[Choice], predictions: Sequence[Prediction], signature: Mapping[str, object]
) -> list[Score]:
    """One row for each choice and metric: the mean over its predictions, and what every score of the trial carries."""
    by_choice: dict[tuple[str, str], list[Prediction]] = {}
    for prediction in predictions:
        by_choice.setdefault((prediction.selection, prediction.target), []).append(prediction)
    return [
        Score(
            target=str(choice.target),
            metric=name,
            metric_version=metrics.version(name),
            score=sum(p.scores[name] for p in mine) / len(mine),
            n=len(mine),
            selection=choice.selection,
            step=choice.step,
            data_fingerprint=targets[choice.target].fingerprint,
            **signature,  # type: ignore[arg-type]
        )
        for choice in choices
        for mine in [by_choice[choice.selection, str(choice.target)]]
        for name in trial.task.metrics
    ]


@functools.cache
def versions() -> str:
    """Versions of what computes a score, as canonical JSON; reads package metadata, imports nothing."""
    found: dict[str, str] = {"python": platform.python_version()}
    for package in ("xfer-ray", "torch", "transformers", "datasets", "ray"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package.replace("-", "_")] = importlib.metadata.version(package)
    return json.dumps(found, sort_keys=True, separators=(",", ":"))
