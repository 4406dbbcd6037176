"""A committed sweep without a model: made-up predictions, the scores that they sum up to, and the plan."""

import random
from datetime import UTC, datetime
from pathlib import Path

from xfer_ray import commit, planfile
from xfer_ray.core import Score
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial, TaskFacts
from xfer_ray.results import Prediction, Results
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage

TARGETS = ("en-O", "de-HT-en", "en-MT-de-MT-en~opus")
DIGEST = "0123456789ab"


def trial_name(source: str = "en-O", seed: int = 0) -> str:
    return f"toy.tiny.{source}.s{seed}-{DIGEST}"


def predictions_of(trial: str, draw: int = 0, examples: int = 20) -> list[Prediction]:
    rng = random.Random(draw)
    return [
        Prediction(trial, target, "last", str(i), rng.choice(("yes", "no", "ja, 是")), "", {"accuracy": float(rng.random() < 0.6)})
        for target in TARGETS
        for i in range(examples)
    ]


def scores_of(
    predictions: list[Prediction], sweep: str = "toy", source: str = "en-O", seed: int = 0, metric: str = "accuracy", **more: object
) -> list[Score]:
    """One row for each target and selection."""
    when = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    fixed = {"device": "cpu", "versions": "{}", "started": when, "finished": when, "train_seconds": 1.25}
    identity = {"sweep": sweep, "task": "toy", "model": "tiny", "source": source, "seed": seed}
    cells = dict.fromkeys((p.target, p.selection) for p in predictions)
    mine = {cell: [p.scores[metric] for p in predictions if (p.target, p.selection) == cell] for cell in cells}
    return [
        Score(
            target=target,
            split="test",
            metric=metric,
            selection=selection,
            score=sum(values) / len(values),
            n=len(values),
            trial=predictions[0].trial,
            digest=DIGEST,
            **{**identity, **fixed, **more},
        )
        for (target, selection), values in mine.items()
    ]


def plan_for(names: list[PlannedTrial]) -> Plan:
    facts = TaskFacts(TARGETS, {"All": TARGETS}, ("accuracy",), "test", True, None, (), True, "", "", {})
    return Plan("toy", tuple(names), {"toy": facts}, {"tiny": ModelFacts("encoder", "x", None)})


def sweep_in(folder: Path, seeds: int = 2) -> Results:
    """`seeds` committed trials, their examples and their plan."""
    found = Results(open_storage(str(folder)), "toy")
    for seed in range(seeds):
        predictions = predictions_of(trial_name(seed=seed), seed)
        assert commit.commit(found, scores_of(predictions, seed=seed), predictions) == "committed"
    items = Examples(tuple(Example(str(i), f"text {i}", "", ("yes",)) for i in range(20)))
    for target in TARGETS:
        commit.put_examples(found, "toy", target, items)
    planfile.write_plan(found, plan_for([PlannedTrial(trial_name(seed=s), "toy", "tiny", "en-O", s, DIGEST) for s in range(seeds)]))
    return found
