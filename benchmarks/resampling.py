"""What the intervals of a large table cost: 15 sources and 15 targets of 5,010 parallel examples, 3 seeds, 10,000 resamples.

A folder of 45 trials with made-up predictions, as XNLI's sweep of one model leaves it. Then what `tables --intervals` does, with the
reading of 3.4 million predictions, and the statistics alone, of relative abilities and advantages. Seconds of the processor,
whatever the number of threads.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from analysis import outcomes, significance, tables
from analysis.selection import Options, select
from benchmarks import harness
from benchmarks.harness import OURS, Bar, Measure, Setting
from benchmarks.reading import TARGETS
from xfer_ray import commit, compact, planfile
from xfer_ray.core import Score
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial, TaskFacts
from xfer_ray.results import Prediction, Results
from xfer_ray.sources import Corpus
from xfer_ray.storage import open_storage

SOURCES = tuple(str(Corpus("en")) if t == "en-O" else t.replace("-HT-", "-MT-") for t in TARGETS)
SEEDS = (0, 1, 2)
DIGEST = "0123456789ab"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make(folder: Path, examples: int) -> Results:
    """45 committed trials; an item is as hard for one source as for another."""
    found, planned = Results(open_storage(str(folder)), "large"), []
    hard = [random.Random(item).random() for item in range(examples)]
    for source in SOURCES:
        for seed in SEEDS:
            trial = PlannedTrial(f"large.model.{source}.s{seed}-{DIGEST}", "large", "model", source, seed, DIGEST)
            predictions = _answered(trial, hard)
            commit.commit(found, _scores(trial, predictions), predictions)
            planned.append(trial)
    facts = TaskFacts(TARGETS, {"All": TARGETS}, ("accuracy",), "test", True, None, (), True, "", "", {})
    planfile.write_plan(found, Plan("large", tuple(planned), {"large": facts}, {"model": ModelFacts("encoder", "x", None)}))
    return found


def _answered(trial: PlannedTrial, hard: list[float]) -> list[Prediction]:
    draw = random.Random(f"{trial.source} {trial.seed}")
    return [
        Prediction(trial.trial, target, "last", str(item), "yes", "", {"accuracy": float(0.7 * luck + 0.3 * draw.random() < chance)})
        for target, chance in ((target, draw.uniform(0.6, 0.7)) for target in TARGETS)
        for item, luck in enumerate(hard)
    ]


def _scores(trial: PlannedTrial, predictions: list[Prediction]) -> list[Score]:
    size = len(predictions) // len(TARGETS)
    parts = [predictions[first : first + size] for first in range(0, len(predictions), size)]
    return [
        Score(
            sweep="large", task="large", model="model", source=trial.source, target=part[0].target, split="test", metric="accuracy",
            seed=trial.seed, score=sum(p.scores["accuracy"] for p in part) / size, n=size, trial=trial.trial, digest=DIGEST,
            started=WHEN, finished=WHEN,
        )
        for part in parts
    ]  # fmt: skip


def benchmark(setting: Setting) -> Iterator[Measure]:
    """The whole command's work, then the statistics."""
    found = make(setting.scratch, setting.size(5_010, 50))
    asked = Options(intervals=True)
    held = outcomes.read(found, select(planfile.read_plan(found), compact.read_scores(found), asked), "model")
    assert held is not None
    whole = [significance.Contrast(source, {target: 1.0}, over) for source in SOURCES for target in TARGETS for over in (None, "en-O")]
    own = dict(zip(TARGETS, SOURCES, strict=True))

    sides = {OURS: lambda: tables.read(found, asked), "statistics": lambda: significance.estimate(significance.resample(held), whole, own)}
    costs = harness.interleaved(sides, setting.size(3, 1))
    for name, title in ((OURS, "intervals of a table of 15 x 15, from stored predictions"), ("statistics", "the same, once they are read")):
        yield Measure(f"{title}, CPU time", "s", tuple(cost.cpu for cost in costs[name]), Bar(20, "most"), {name: tuple(costs[name])})


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
