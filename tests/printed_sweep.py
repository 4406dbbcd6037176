"""Results of a sweep of the paper's tasks whose truth is what the paper prints: made-up answers to each question, right that often."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from analysis.reproduce import printed
from sweeps import paper
from xfer_ray import commit, planfile
from xfer_ray.core import Score
from xfer_ray.planfile import PlannedTrial
from xfer_ray.results import Prediction, Results
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
OWN = 0.7  # E(M^T,T) where only Z is printed
ITEMS = 250


def sweep_in(folder: Path, parts: set[tuple[str, str]], *, without: tuple[str, ...] = (), predictions: bool = True) -> Results:
    """The trials of some (task, model), but for those whose names begin with one of `without`."""
    found = Results(open_storage(str(folder)), "paper")
    plan = planfile.plan_of(paper.SWEEP, {})
    planfile.write_plan(found, plan)
    tables = {table.task: table for table in printed.load("turc2021", repaired=True).values()}
    for trial in plan.trials:
        if (trial.task, trial.model) in parts and not trial.trial.startswith(without or "-"):
            _commit(found, trial, tables[trial.task], predictions)
    return found


def truth(table: printed.Printed, model: str, source: str, target: str) -> float:
    """E that the printed cells amount to."""
    if table.number == 4:
        gain = table.rows.get(("", source), {}).get("->All", 0.0)
        return OWN * (0.9 + gain)
    value = float(table.matrix(model).loc[source, target])
    return min(1.0, value * (OWN if table.normalized else 1))


def _commit(found: Results, trial: PlannedTrial, table: printed.Printed, predictions: bool) -> None:
    rng = np.random.default_rng([int(trial.digest, 16) % 2**32, trial.seed])
    metric = "accuracy" if table.task in ("xnli", "pawsx", "xnli-swapped") else "f1_padded" if trial.model.startswith("mt5") else "f1"
    answers = {target: (rng.random(ITEMS) < truth(table, trial.model, trial.source, target)).astype(float) for target in table.targets}
    scores = [_score(trial, target, metric, values) for target, values in answers.items()]
    rows = [
        Prediction(trial.trial, target, "last", str(i), "", "", {metric: float(value)})
        for target, values in answers.items()
        for i, value in enumerate(values)
    ]
    if predictions:
        commit.commit(found, scores, rows)
    else:
        commit.put_scores(found, scores)


def _score(trial: PlannedTrial, target: str, metric: str, values: np.ndarray) -> Score:
    return Score(
        sweep="paper",
        task=trial.task,
        model=trial.model,
        source=trial.source,
        target=target,
        split="validation" if trial.task in ("xnli-swapped", "tydiqa-fi", "tydiqa-ar") else "test",
        metric=metric,
        seed=trial.seed,
        score=float(values.mean()),
        n=len(values),
        trial=trial.trial,
        digest=trial.digest,
        started=WHEN,
        finished=WHEN,
    )


def put_questions(found: Results, ascii_only: dict[str, int], of: int = 1_000) -> None:
    """Questions of XQuAD of which so many have an ASCII-only answer, by target."""
    for target, count in ascii_only.items():
        items = (Example(str(i), "?", "", ("Lady Gaga" if i < count else "Λαίδη",)) for i in range(of))
        commit.put_examples(found, "xquad", target, Examples(tuple(items)))
