"""Is every file of a sweep what it was when it was written? Asked of two Parquet readers that share no code.

A file passes if pyarrow (page checksums verified) and fastparquet read the same values, if writing those values again
gives the same bytes, and if what it says agrees with its name, with the plan, and with the other file of its trial.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xfer_ray import compact
from xfer_ray.core import Score
from xfer_ray.errors import DataError
from xfer_ray.planfile import Plan, has_plan, read_plan
from xfer_ray.results import Results, from_bytes, predictions_table, schema_of, summed_up, to_bytes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TRIAL = re.compile(r"[^/]+\.s\d+-[0-9a-f]{12}")
_EXAMPLES = re.compile(r"[a-z0-9_-]+\.[^/]+")
_FILES = (("scores", _TRIAL), ("predictions", _TRIAL), ("examples", _EXAMPLES))  # what each folder holds
_KINDS: tuple[Literal["predictions"], Literal["scores"]] = ("predictions", "scores")  # of a trial
_WRITER = re.compile(r"parquet-cpp-arrow version \d+\.\d+\.\d+")
_ANSWERED = ("target", "selection", "example")  # what tells one prediction of a trial from another
_SCORED = ("target", "split", "metric", "selection")  # likewise for scores
_EQUAL = 1e-9  # a mean reckoned in another order of addition differs by less


@dataclass(frozen=True)
class _File:
    """What a file says: its rows; and which bytes it has, and for scores which bytes their predictions file had."""

    rows: pd.DataFrame
    sha256: str
    summed_up: str


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
    findings += [*_foreign(results), *_obstacles(results), *_examples(results), *_trials(results, plan), *_cache(results)]
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
    for kind, spelling in _FILES:
        for name in results.storage.sizes(results.folder(kind)):
            if _stem(name, spelling) is None:
                yield Finding(f"{results.folder(kind)}/{name}", "it is not a file of this sweep", damage=False)


def _obstacles(results: Results) -> Iterator[Finding]:
    """What has the name of a file and is none, so that nobody can put the file; only a disk can hold such a thing."""
    for kind, spelling in _FILES if results.storage.is_local else ():
        for entry in sorted(Path(results.storage.url, results.folder(kind)).glob("*.parquet")):
            if spelling.fullmatch(entry.stem) and not entry.is_file():
                yield Finding(f"{results.folder(kind)}/{entry.name}", "it is a folder, or a link that leads nowhere, and no file")


def _stem(name: str, spelling: re.Pattern[str]) -> str | None:
    stem = name.removesuffix(".parquet")
    return stem if stem != name and spelling.fullmatch(stem) else None


def _names(results: Results, kind: str, spelling: re.Pattern[str]) -> list[str]:
    stems = (_stem(name, spelling) for name in results.storage.sizes(results.folder(kind)))
    return sorted(stem for stem in stems if stem is not None)


def _examples(results: Results) -> Iterator[Finding]:
    for name in _names(results, "examples", _EXAMPLES):
        path = results.table("examples", name)
        file, reason = _read(results, path)
        if file is not None:
            reason = _repeated(file.rows, ("id",))
        if reason:
            yield Finding(path, reason)


def _trials(results: Results, plan: Plan | None) -> Iterator[Finding]:
    targets = {trial.trial: plan.tasks[trial.task].targets for trial in plan.trials if trial.task in plan.tasks} if plan else {}
    there = {kind: set(_names(results, kind, _TRIAL)) for kind in _KINDS}
    for name in sorted(set.union(*there.values())):
        paths: dict[str, str] = {kind: results.table(kind, name) for kind in _KINDS if name in there[kind]}
        for kind, reason in _faults(results, name, paths, targets.get(name, ())).items():
            if reason:
                yield Finding(paths[kind], reason)


def _faults(results: Results, trial: str, paths: Mapping[str, str], targets: Sequence[str]) -> dict[str, str]:
    """What is wrong with those files of a trial that are there."""
    predictions, reason = _read(results, paths["predictions"]) if "predictions" in paths else (None, "")
    if predictions is not None:
        reason = _fault_of_predictions(predictions.rows, trial)
    if reason:
        return {kind: reason if kind == "predictions" else "the predictions that it sums up are damaged" for kind in paths}
    scores, reason = _read(results, paths["scores"]) if "scores" in paths else (None, "")
    if scores is not None:
        reason = _fault_of_scores(scores.rows, trial, results.sweep)
    if scores is None or reason:
        return {"scores": reason}
    if predictions is not None and scores.summed_up not in ("", predictions.sha256):
        told = f"the scores sum up predictions whose sha256 begins with {scores.summed_up[:12]}, and not {predictions.sha256[:12]} as these"
        return dict.fromkeys(paths, told)
    return {"scores": _shortfall(scores.rows, targets, predictions)}


# ------------------------------------------------------------------------------ one file


def _read(results: Results, path: str) -> tuple[_File | None, str]:
    """What a file says, or why it says nothing."""
    data = results.storage.read(path)
    try:
        table = from_bytes(data, path)
        file = _File(table.to_pandas(), hashlib.sha256(data).hexdigest(), summed_up(table))
        reason = _unlike_written(table, data) or _readers_differ(file.rows, data)
    except ValueError as error:  # DataError is one, and so is text that is not UTF-8
        return None, str(error).removeprefix(f"{path} is damaged: ").partition("; `xfer-ray")[0]
    return (None, reason) if reason else (file, "")


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


def _shortfall(rows: pd.DataFrame, targets: Sequence[str], predictions: _File | None) -> str:
    """What is missing of a trial that ran here; an imported one, which has no versions, may have holes and no predictions."""
    if not rows["versions"].any():
        return ""
    for metric, scores in rows.groupby("metric"):
        missing = [target for target in targets if target not in set(scores["target"])]
        if missing:
            return f"it lacks the {metric} of {', '.join(missing)}"
    return "its predictions are missing" if predictions is None else _disagreement(rows, predictions.rows)


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
