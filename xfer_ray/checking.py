"""Is every file of a sweep what it was when it was written? Asked of two Parquet readers that share no code.

A file passes if pyarrow (page checksums verified) and fastparquet read the same values, if writing those values again
gives the same bytes, and if what it says agrees with its name, with the plan, and with the other file of its trial.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xfer_ray import compact
from xfer_ray.core import Score
from xfer_ray.errors import DataError
from xfer_ray.results import Plan, PlannedTrial, Results, from_bytes, has_plan, predictions_table, read_plan, schema_of, to_bytes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TRIAL = re.compile(r".+\.s\d+-[0-9a-f]{12}")
_EXAMPLES = re.compile(r"[a-z0-9_-]+\.[^/]+")
_WRITER = re.compile(r"parquet-cpp-arrow version \d+\.\d+\.\d+")
_ANSWERED = ("target", "selection", "example")  # what tells one prediction of a trial from another
_SCORED = ("target", "split", "metric", "selection")  # likewise for scores
_EQUAL = 1e-9  # a mean reckoned in another order of addition differs by less


@dataclass(frozen=True)
class Finding:
    """A file with something to say about it: damage, or a stranger that is left alone."""

    path: str
    reason: str
    damage: bool = True

    def __str__(self) -> str:
        return f"{'damaged' if self.damage else 'ignored'} {self.path}: {self.reason}"


def check(results: Results, repair: bool = False) -> list[Finding]:
    """What is wrong with the files of a sweep; `repair` moves what is damaged, so that the next run does it again."""
    plan, findings = _plan(results)
    findings += [*_foreign(results), *_examples(results), *_trials(results, plan), *_cache(results)]
    for finding in findings if repair else ():
        if finding.damage:
            results.storage.move(finding.path, f"{results.folder('damaged')}/{finding.path.removeprefix(results.sweep + '/')}")
    return findings


def _plan(results: Results) -> tuple[Plan | None, list[Finding]]:
    try:
        return (read_plan(results) if has_plan(results) else None), []
    except DataError as error:
        return None, [Finding(results.plan, str(error))]


def _cache(results: Results) -> Iterator[Finding]:
    return (Finding(path, reason) for path, reason in compact.faults(results))


def _foreign(results: Results) -> Iterator[Finding]:
    for kind, spelling in (("scores", _TRIAL), ("predictions", _TRIAL), ("examples", _EXAMPLES)):
        for name in results.storage.sizes(results.folder(kind)):
            if _stem(name, spelling) is None:
                yield Finding(f"{results.folder(kind)}/{name}", "it is not a file of this sweep", damage=False)


def _stem(name: str, spelling: re.Pattern[str]) -> str | None:
    stem = name.removesuffix(".parquet")
    return stem if stem != name and spelling.fullmatch(stem) else None


def _names(results: Results, kind: str, spelling: re.Pattern[str]) -> list[str]:
    stems = (_stem(name, spelling) for name in results.storage.sizes(results.folder(kind)))
    return sorted(stem for stem in stems if stem is not None)


def _examples(results: Results) -> Iterator[Finding]:
    for name in _names(results, "examples", _EXAMPLES):
        path = results.table("examples", name)
        rows, reason = _read(results, path)
        if rows is not None:
            reason = _repeated(rows, ("id",))
        if reason:
            yield Finding(path, reason)


def _trials(results: Results, plan: Plan | None) -> Iterator[Finding]:
    planned = {trial.trial: trial for trial in plan.trials} if plan else {}
    predicted = set(_names(results, "predictions", _TRIAL))
    scored = set(_names(results, "scores", _TRIAL))
    for name in sorted(predicted | scored):
        answers, scores = results.table("predictions", name), results.table("scores", name)
        predictions, reason = _read(results, answers) if name in predicted else (None, "")
        if predictions is not None:
            reason = _fault_of_predictions(predictions, name)
        if reason:
            yield Finding(answers, reason)
            if name in scored:
                yield Finding(scores, "the predictions that it sums up are damaged")
        elif name in scored:
            rows, reason = _read(results, scores)
            if rows is not None:
                reason = _fault_of_scores(rows, name, results.sweep) or _shortfall(rows, plan, planned.get(name), predictions)
            if reason:
                yield Finding(scores, reason)


# ------------------------------------------------------------------------------ one file


def _read(results: Results, path: str) -> tuple[pd.DataFrame | None, str]:
    """The rows of a file, or why there are none."""
    data = results.storage.read(path)
    try:
        table = from_bytes(data, path)
        first = table.to_pandas()
        reason = _unlike_written(table, data) or _readers_differ(first, data)
    except ValueError as error:  # DataError is one, and so is text that is not UTF-8
        return None, str(error).removeprefix(f"{path} is damaged: ").partition("; `xfer-ray")[0]
    return (None, reason) if reason else (first, "")


def _unlike_written(table: pa.Table, data: bytes) -> str:
    """Page checksums do not cover headers and footer; they are proved by writing the same values again.

    Another version of pyarrow may write them otherwise, so a file that names another one is not held to this.
    """
    again = to_bytes(table)
    writer = _writer(data)
    if again == data or (_WRITER.fullmatch(writer) and writer != _writer(again)):
        return ""
    return f"its {len(data)} bytes are not those that its values are written as"


def _writer(data: bytes) -> str:
    import pyarrow.parquet as pq

    return str(pq.ParquetFile(io.BytesIO(data)).metadata.created_by)


def _readers_differ(first: pd.DataFrame, data: bytes) -> str:
    import fastparquet

    try:
        second = fastparquet.ParquetFile(io.BytesIO(data)).to_pandas()
    except Exception as error:  # a reader may fail at a damaged file in any way, and each of them is a finding
        return f"pyarrow reads it and fastparquet does not: {type(error).__name__}: {error}"
    if list(first.columns) != list(second.columns):
        return "pyarrow and fastparquet read different columns"
    for name in second.select_dtypes("datetime"):
        second[name] = second[name].dt.tz_localize("UTC")  # the time that fastparquet reads is UTC and does not say so
    differing = [name for name in first.columns if not first[name].astype(object).equals(second[name].astype(object))]
    return f"pyarrow and fastparquet read different values of {', '.join(differing)}" if differing else ""


# ------------------------------------------------------------------------------ what a file says


def _fault_of_predictions(rows: pd.DataFrame, trial: str) -> str:
    fixed = predictions_table(()).schema.names
    if list(rows.columns[: len(fixed)]) != fixed:
        return "its columns are not those of predictions"
    if set(rows["trial"]) != {trial}:
        return _other("trial", rows, trial)
    for metric in rows.columns[len(fixed) :]:
        if not rows[metric].between(0, 1).all():
            return f"it has values of {metric} outside [0, 1]"
    return _repeated(rows, _ANSWERED)


def _fault_of_scores(rows: pd.DataFrame, trial: str, sweep: str) -> str:
    if list(rows.columns) != schema_of(Score).names:
        return "its columns are not those of scores"
    for column, named in (("trial", trial), ("digest", trial.rpartition("-")[2]), ("sweep", sweep)):
        if set(rows[column]) != {named}:
            return _other(column, rows, named)
    if not rows["score"].between(0, 1).all():
        return "it has scores outside [0, 1]"
    return _repeated(rows, _SCORED)


def _other(column: str, rows: pd.DataFrame, named: str) -> str:
    found = ", ".join(map(str, rows[column].unique())) or "nothing"
    return f"its name and folder say {column} {named}, and it holds {found}"


def _repeated(rows: pd.DataFrame, key: tuple[str, ...]) -> str:
    twice = rows[rows.duplicated(list(key))]
    return "" if twice.empty else f"it holds {' '.join(map(str, twice.iloc[0][list(key)]))} more than once"


def _shortfall(rows: pd.DataFrame, plan: Plan | None, planned: PlannedTrial | None, predictions: pd.DataFrame | None) -> str:
    """What is missing of a trial that ran here; an imported one, which has no versions, may have holes and no predictions."""
    if not rows["versions"].any():
        return ""
    targets = plan.tasks[planned.task].targets if plan and planned else ()
    for metric, scores in rows.groupby("metric"):
        missing = [target for target in targets if target not in set(scores["target"])]
        if missing:
            return f"it lacks the {metric} of {', '.join(missing)}"
    return "its predictions are missing" if predictions is None else _disagreement(rows, predictions)


def _disagreement(rows: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Each score is the mean of its n predictions, and every prediction is in a score."""
    metrics = [name for name in predictions.columns if name not in predictions_table(()).schema.names]
    means = {metric: predictions.groupby(["target", "selection"])[metric].agg(["size", "mean"]) for metric in metrics}
    unseen = {(*key, metric) for metric in metrics for key in means[metric].index} - set(
        zip(rows["target"], rows["selection"], rows["metric"], strict=True)
    )
    if unseen:
        return f"it lacks the score of {' '.join(sorted(unseen)[0])}, which its predictions have"
    for target, selection, metric, n, score in rows[["target", "selection", "metric", "n", "score"]].itertuples(index=False):
        if metric not in means or (target, selection) not in means[metric].index:
            return f"it has {metric} of {target}, and its predictions have not"
        size, mean = means[metric].loc[(target, selection)]
        if size != n or abs(mean - score) > _EQUAL:
            return f"{metric} of {target} is {score:.6f} over {n} examples, and {mean:.6f} over {size:.0f} by its predictions"
    return ""
