"""A sweep with predictions, made up from a table of abilities: what a report is written about, without a model."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from xfer_ray import commit, planfile
from xfer_ray.core import Score
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial, TaskFacts
from xfer_ray.results import Point, Prediction, Results
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage

LABELS = ("entailment", "neutral", "contradiction")
DIGEST = "0123456789ab"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VERSIONS = '{"python":"3.11.9","ray":"2.50.0","torch":"2.9.0","transformers":"4.57.0","xfer_ray":"0.7.0"}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """What is made up: a task with its sources and targets, models, seeds, and how able a model is at what."""

    task: str = "toy"
    models: tuple[str, ...] = ("tiny",)
    sources: tuple[str, ...] = ("en-O", "de-HT-en", "ru-HT-en")
    targets: tuple[str, ...] = ("en-O", "de-HT-en", "ru-HT-en")
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1)
    examples: int = 60
    texts: Mapping[str, Sequence[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    metric: str = "accuracy"
    normalized: bool = True
    ability: Mapping[tuple[str, str, str], float] = dataclasses.field(default_factory=dict)  # model, source, target
    licence: str = ""


def facts(world: World) -> TaskFacts:
    return TaskFacts(
        targets=world.targets,
        groups={**world.groups, "All": world.targets},
        metrics=(world.metric,),
        eval_split="test",
        normalized=world.normalized,
        baseline=None,
        denominators=(),
        parallel=True,
        licence=world.licence,
        citation="",
        revisions={"owner/data": "a" * 40},
    )


def trials(world: World) -> list[PlannedTrial]:
    return [
        PlannedTrial(f"{world.task}.{model}.{source}.s{seed}-{DIGEST}", world.task, model, source, seed, DIGEST)
        for model in world.models
        for source in world.sources
        for seed in world.seeds
    ]


def examples(world: World, target: str) -> Examples:
    texts = world.texts.get(target) or [(f"premise {i} in {target}", f"hypothesis {i}") for i in range(world.examples)]
    return Examples(tuple(Example(str(i), *texts[i], (LABELS[i % 3],)) for i in range(world.examples)))


def predictions(world: World, trial: PlannedTrial) -> list[Prediction]:
    """Item difficulties are shared by all models, so that pairing pays as it does on real data."""
    rng = np.random.default_rng(sum(map(ord, trial.trial)))
    difficulty = np.random.default_rng(5).normal(size=world.examples)
    found = []
    for target in world.targets:
        able = world.ability.get((trial.model, trial.source, target), 0.7)
        score = difficulty + rng.normal(size=world.examples) * 0.6
        right = score < np.quantile(score, min(able + rng.normal() * 0.004, 0.99))
        for i in range(world.examples):
            given = LABELS[i % 3] if right[i] else LABELS[(i + 1) % 3]
            illegal = "not-a-label" if not right[i] and trial.model == "mt5-base" and i % 37 == 0 else ""
            value = float(right[i]) if world.metric == "accuracy" else float(right[i]) * 0.5 + 0.25
            found.append(
                Prediction(trial.trial, target, "last", str(i), given if not illegal else "entail", illegal, {world.metric: value})
            )
    return found


def scores(world: World, trial: PlannedTrial, found: Sequence[Prediction], sweep: str, **changed: object) -> list[Score]:
    common = {
        "split": "test",
        "metric": world.metric,
        "step": 1200,
        "metric_version": "1",
        "checkpoint": f"owner/{trial.model}",
        "checkpoint_revision": "b" * 40,
        "data_revision": "a" * 40,
        "data_fingerprint": "c" * 64,
        "versions": VERSIONS,
        "device": "NVIDIA H100",
        "host": "node-1",
        "started": START,
        "finished": START + timedelta(hours=1),
        "train_seconds": 3000.0,
        "eval_seconds": 400.0,
    }
    identity = {"sweep": sweep, "task": trial.task, "model": trial.model, "source": trial.source, "seed": trial.seed}
    identity |= {"trial": trial.trial, "digest": DIGEST}
    return [
        Score(target=target, score=sum(mine) / len(mine), n=len(mine), **{**common, **identity, **changed})
        for target in world.targets
        for mine in [[p.scores[world.metric] for p in found if p.target == target]]
    ]


def put(world: World, found: Results, *, skip: Sequence[tuple[str, str, int]] = (), with_predictions: bool = True) -> None:
    """Commit every trial but those to skip (model, source, seed), with its curve; and the examples."""
    for trial in trials(world):
        if (trial.model, trial.source, trial.seed) in skip:
            continue
        answers = predictions(world, trial)
        if with_predictions:
            commit.commit(found, scores(world, trial, answers, found.sweep), answers)
        else:
            commit.put_scores(found, scores(world, trial, answers, found.sweep))
        rng = random.Random(trial.trial)
        rise = [0.34 + 0.4 * (1 - 0.6**k) + rng.gauss(0, 0.004) for k in range(1, 11)]
        commit.put_curve(
            found, trial.trial, [Point(trial.trial, 200 * k, trial.source, "validation", world.metric, y) for k, y in enumerate(rise, 1)]
        )
    for target in world.targets if with_predictions else ():
        commit.put_examples(found, world.task, target, examples(world, target))


def plan(found: Results, *worlds: World) -> None:
    """Put sweep.json."""
    models = {model: ModelFacts("encoder", f"owner/{model}", "b" * 40) for world in worlds for model in world.models}
    planned = tuple(trial for world in worlds for trial in trials(world))
    planfile.write_plan(found, Plan(found.sweep, planned, {world.task: facts(world) for world in worlds}, models))


def sweep_in(folder: Path, *worlds: World, name: str = "mine", **put_as: object) -> Results:
    """A results folder with these worlds."""
    found = Results(open_storage(str(folder)), name)
    for world in worlds:
        put(world, found, **put_as)
    plan(found, *worlds)
    return found


# ------------------------------------------------------------------------------ a small one

GERMAN_FIRST = {("tiny", "de-HT-en", "de-HT-en"): 0.9, ("tiny", "de-HT-en", "en-O"): 0.8, ("tiny", "de-HT-en", "ru-HT-en"): 0.85}
TOY = World(ability={**GERMAN_FIRST, ("tiny", "ru-HT-en", "en-O"): 0.5, ("tiny", "ru-HT-en", "ru-HT-en"): 0.8})


# ------------------------------------------------------------------------------ XNLI as it might be

LANGUAGES = ("en", "de", "es", "fr", "sw", "tr", "vi", "ar", "bg", "el", "hi", "ru", "ur", "th", "zh")
GROUPS = {"LH": LANGUAGES[:4], "LL": LANGUAGES[4:7], "M": LANGUAGES[7:]}


def xnli(
    examples: int = 300, models: tuple[str, ...] = ("mbert", "mt5-base"), seeds: tuple[int, ...] = (0,), texts: object = None
) -> World:
    """Fifteen sources by fifteen targets whose abilities are drawn about as the paper prints them."""
    targets = {lang: "en-O" if lang == "en" else f"{lang}-HT-en" for lang in LANGUAGES}
    rng = np.random.default_rng(11)
    ability = {}
    for model, level in zip(models, (0.69, 0.76), strict=False):
        home = {lang: level + rng.normal() * 0.03 - 0.05 * (lang in ("sw", "ur", "th")) for lang in LANGUAGES}
        gift = {
            lang: rng.normal() * 0.012 + (0.02 if lang in ("de", "ru") else 0) - (0.05 if lang in ("th", "ur", "sw") else 0)
            for lang in LANGUAGES
        }
        for s in LANGUAGES:
            for t in LANGUAGES:
                ability[model, "en-O" if s == "en" else f"{s}-MT-en", targets[t]] = (
                    home[t] - (0.06 - gift[s]) * (s != t) + rng.normal() * 0.004
                )
    return World(
        task="xnli",
        models=models,
        sources=tuple("en-O" if lang == "en" else f"{lang}-MT-en" for lang in LANGUAGES),
        targets=tuple(targets.values()),
        groups={name: tuple(targets[lang] for lang in members) for name, members in GROUPS.items()},
        seeds=seeds,
        examples=examples,
        texts=texts or {},
        ability=ability,
        licence="CC BY-NC 4.0",
    )
