"""What is in the data, without a model: how many answers are ASCII, and what that does to a score.

In languages of another script an ASCII answer, such as a name or "MIT", can be copied from the context by a model that
reads only Latin letters (§7 and Table 7 of Turc et al. 2021).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.formats import HOLE, Sheet
from xfer_ray import data, planfile, results
from xfer_ray.audit.pages import csv_text, page
from xfer_ray.core import Task
from xfer_ray.errors import DataError, DeclarationError, unknown
from xfer_ray.identity import Json
from xfer_ray.results import Results
from xfer_ray.text import is_ascii_only

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answers:
    """Of the `n` questions of a target, those whose first answer is ASCII only."""

    target: str
    n: int
    ascii_only: int

    @property
    def percent(self) -> float:
        """The share of ASCII-only answers, in percent."""
        return 100 * self.ascii_only / self.n

    def json(self) -> dict[str, Json]:
        """As `audit answers --json` prints it."""
        return {"target": self.target, "n": self.n, "ascii_only": self.ascii_only, "percent": self.percent}


@dataclass(frozen=True)
class Apart:
    """The mean of a metric on questions with ASCII-only answers and on the others, over the seeds of a source.

    Scores are fractions, None where there is no such question; `n` counts questions, and `runs` trials.
    """

    model: str
    source: str
    target: str
    metric: str
    ascii_only: float | None
    ascii_n: int
    other: float | None
    other_n: int
    runs: int

    def json(self) -> dict[str, Json]:
        """As `audit answers --results RESULTS --json` prints it."""
        return dict(self.__dict__)


def answers(task: Task) -> list[Answers]:
    """Table 7 for the targets of a task: the first answer of each question, as it is written."""
    if task.labels:
        raise DeclarationError(
            f"the answers of task {task.name} are labels ({', '.join(task.labels)}), not text; a task of questions has text"
        )
    found = []
    for target in task.targets:
        examples = data.examples_of(task, target, task.eval_split)
        found.append(Answers(str(target), len(examples), sum(is_ascii_only(example.answers[0]) for example in examples)))
    return found


def apart(found: Results, task: str, *, metric: str = "f1", model: str | None = None) -> list[Apart]:
    """A metric on ASCII-only answers and on the others, by model, source and target, from stored predictions.

    Seeds are averaged by question before anything else. Only the step that the trial was scored at counts, not the oracle's.
    """
    plan = planfile.read_plan(found)
    if task not in plan.tasks:
        raise unknown(f"task in {found.url}", task, plan.tasks)
    models = tuple(dict.fromkeys(trial.model for trial in plan.trials if trial.task == task))
    if model is not None and model not in models:
        raise unknown(f"model in {found.url}", model, models)
    done = results.done(found)
    trials = [trial for trial in plan.trials if trial.task == task and trial.trial in done and model in (None, trial.model)]
    if not trials:
        raise DataError(f"{found.url} holds no committed trial of task {task}{f' and model {model}' if model else ''}")
    ascii_only = {target: _ascii_only(found, task, target) for target in plan.tasks[task].targets}
    rows = []
    for key in dict.fromkeys((trial.model, trial.source) for trial in trials):
        mine = [trial.trial for trial in trials if (trial.model, trial.source) == key]
        values = _values(found, mine, metric)
        rows += [_apart(key, target, metric, values, ascii_only[target], len(mine)) for target in ascii_only]
    return rows


def _ascii_only(found: Results, task: str, target: str) -> set[str]:
    """The ids of the questions of a target whose first answer is ASCII only."""
    path = found.table("examples", f"{task}.{target}")
    try:
        frame = results.from_bytes(found.storage.read(path), path).to_pandas()
    except FileNotFoundError as error:
        raise DataError(f"{found.storage.url}/{path} is not there, and nothing else says what the answers were") from error
    return {id_ for id_, golds in zip(frame["id"], frame["answers"], strict=True) if is_ascii_only(json.loads(golds)[0])}


def _values(found: Results, trials: Sequence[str], metric: str) -> pd.DataFrame:
    """The metric of every prediction of some trials: trial, target, example, value."""
    import pandas as pd

    frames = []
    for trial in trials:
        frame = results.read_predictions(found, trial)
        fixed = ("trial", "target", "selection", "example", "prediction", "illegal")
        metrics = [name for name in frame.columns if name not in fixed]
        if metric not in metrics:
            raise unknown(f"metric in the predictions of {trial}", metric, metrics)
        chosen = "source-dev" if (frame["selection"] == "source-dev").any() else "last"
        frames.append(frame[frame["selection"] == chosen][["target", "example", metric]])
    return pd.concat(frames)


def _apart(key: tuple[str, str], target: str, metric: str, values: pd.DataFrame, ascii_only: set[str], runs: int) -> Apart:
    mine = values[values["target"] == target].groupby("example")[metric].mean()
    is_ascii = mine.index.isin(ascii_only)
    one, other = mine[is_ascii], mine[~is_ascii]
    return Apart(
        model=key[0],
        source=key[1],
        target=target,
        metric=metric,
        ascii_only=float(one.mean()) if len(one) else None,
        ascii_n=len(one),
        other=float(other.mean()) if len(other) else None,
        other_n=len(other),
        runs=runs,
    )


# ------------------------------------------------------------------------------ as text


def render_answers(found: Sequence[Answers], task: str, style: str) -> str:
    """Table 7 in a format: text, csv, markdown, latex or html."""
    header = ("target", "n", "ascii_only", "percent")
    if style == "csv":
        return csv_text(header, ((one.target, one.n, one.ascii_only, f"{one.percent:.6f}") for one in found))
    rows = [(one.target, str(one.n), str(one.ascii_only), f"{one.percent:.1f}") for one in found]
    return page(style, [Sheet(f"Answers of {task} that are ASCII only", ("target", "questions", "ASCII only", "%"), tuple(rows))], ())


def render_apart(found: Sequence[Apart], task: str, style: str) -> str:
    """A metric apart for ASCII-only answers, values x 100, in a format: text, csv, markdown, latex or html."""
    header = ("model", "source", "target", "metric", "ascii_only", "ascii_n", "other", "other_n", "runs")
    if style == "csv":
        return csv_text(header, (tuple(_cell(one.json()[name], 6, "") for name in header) for one in found))
    shown = tuple(name for name in header if name != "metric")
    rows = [tuple(_cell(one.json()[name], 1, HOLE) for name in shown) for one in found]
    names = ("model", "source", "target", "ASCII", "n", "other", "n", "runs")
    return page(style, [Sheet(f"{found[0].metric} on {task}, where the answer is ASCII only and where it is not", names, tuple(rows))], ())


def _cell(value: Json, digits: int, hole: str) -> str:
    return hole if value is None else f"{100 * value:.{digits}f}" if isinstance(value, float) else str(value)
