"""Scores of somebody else's program: a CSV or Parquet table in, the files of a sweep out, so that `tables` shows them.

Everything is validated before anything is written.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote

from xfer_ray.commit import put_scores
from xfer_ray.core import LONGEST_NAME, Score, Task, demand_sweep_name
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.identity import Json, digest
from xfer_ray.results import (
    ModelFacts,
    Plan,
    PlannedTrial,
    Results,
    TaskFacts,
    facts_of,
    has_plan,
    read_plan,
    write_plan,
)
from xfer_ray.sources import Corpus, Source, parse_source
from xfer_ray.storage import Storage

REQUIRED = ("task", "model", "source", "seed", "target", "metric", "score")
OPTIONAL = {"n": "0", "split": "unknown"}  # and what stands for an absent or empty value
MOST_ROWS = 1_000_000  # a small file can decode to a great table
IMPORTED = "imported"  # the family of a model that did not run here
_BARE = re.compile(r"[^-+=@]*")  # a language
_NAME = re.compile(r"[^.\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,63}")


@dataclass(frozen=True)
class _Row:
    """One line of the table, read: all but the score is identity."""

    task: str
    model: str
    source: str
    seed: int
    target: str
    split: str
    metric: str
    n: int
    score: float

    @property
    def run(self) -> tuple[str, str, str, int]:
        return self.task, self.model, self.source, self.seed


def import_scores(file: Path, storage: Storage, *, name: str, percent: bool, known: Callable[[str], Task | None]) -> Results:
    """Take the scores of a table into the sweep `name`; `known` gives the task of a name, if this package has it.

    The same rows again change nothing; other rows for a trial that is there are a DataError.
    """
    demand_sweep_name(name)
    rows = _rows(file, percent)
    _refuse_duplicates(file, rows)
    trials = {planned: mine for planned, mine in map(_trial, _runs(rows).values())}
    results = Results(storage, name)
    before = read_plan(results) if has_plan(results) else Plan(name, (), {}, {})
    _refuse_others(file, before, trials)
    now = datetime.now(UTC)
    for planned, mine in trials.items():
        put_scores(results, [_score(name, planned, row, now) for row in mine])
    while not set(trials) <= set(before.trials):  # another import at the same time may have put its own plan in between
        before = read_plan(results) if has_plan(results) else before
        _refuse_others(file, before, trials)
        write_plan(results, _merged(before, trials, known))
        before = read_plan(results)
    return results


# ------------------------------------------------------------------------------ reading


def _rows(file: Path, percent: bool) -> list[_Row]:
    table = _table(file)
    missing = [column for column in REQUIRED if column not in table]
    if missing:
        close = get_close_matches(missing[0], [column for column in table if column not in REQUIRED], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise DataError(f"{file} has no column {missing[0]!r}{hint} Found: {', '.join(table)}. Needed: {', '.join(REQUIRED)}")
    count = len(table["task"])
    if not count:
        raise DataError(f"{file} has no rows")
    if percent and not any(_exceeds_one(text) for text in table["score"]):
        raise DataError(f"{file} holds no score above 1, so its scores look like fractions; leave --percent out")
    columns = {name: table[name] for name in REQUIRED}
    columns |= {name: [value or default for value in table.get(name, [""] * count)] for name, default in OPTIONAL.items()}
    return [_row({name: columns[name][i] for name in columns}, f"{file}, row {i + 1}", percent) for i in range(count)]


def _exceeds_one(text: str) -> bool:
    try:
        return not float(text) <= 1  # also what is no number: it is refused by its row
    except ValueError:
        return True


def _table(file: Path) -> dict[str, list[str]]:
    """The columns of a CSV or Parquet file as text, stripped; refused if too long or unreadable."""
    readers: dict[str, Callable[[Path], Mapping[str, Sequence[object]]]] = {".csv": _csv, ".parquet": _parquet}
    ending = file.suffix.lower()
    if ending not in readers:
        raise DataError(f"{file} ends in {ending!r}; scores come in a file that ends in .csv or .parquet")
    try:
        table = readers[ending](file)
    except DataError:
        raise
    except (OSError, csv.Error, ValueError) as error:  # pandas, pyarrow and decoding raise a ValueError for damage
        said = str(error).strip() or type(error).__name__
        raise DataError(f"{file} cannot be read as {ending[1:]}: {said.splitlines()[0]}") from error
    names = [name.strip() for name in table]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file} has the column {twice[0]!r} more than once; keep one of them")
    return {name.strip(): ["" if value is None else str(value).strip() for value in column] for name, column in table.items()}


def _csv(file: Path) -> dict[str, list[str]]:
    lines = csv.reader(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
    header = next(lines, [])
    rows = [row for row in itertools.islice(lines, MOST_ROWS + 1) if row]
    _refuse_long(file, len(rows))
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise DataError(f"{file}, row {number} has {len(row)} fields and the header {len(header)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{file} has the column {twice[0]!r} more than once; keep one of them")
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _parquet(file: Path) -> dict[str, list[object]]:
    import pandas as pd

    data = file.read_bytes()
    _refuse_long(file, len(pd.read_parquet(io.BytesIO(data), columns=[])))  # from the footer; decodes nothing
    table = pd.read_parquet(io.BytesIO(data)).reset_index(drop=True)
    return {str(name): [None if pd.isna(value) else value for value in table[name]] for name in table}


def _refuse_long(file: Path, rows: int) -> None:
    if rows > MOST_ROWS:
        raise DataError(f"{file} has more than {MOST_ROWS} rows; split it by task or model")


def _row(row: Mapping[str, str], where: str, percent: bool) -> _Row:
    for column in ("task", "model", "metric", "split"):
        if not _NAME.fullmatch(row[column]):
            raise DataError(f"{where}: {column} {row[column]!r} is not a name of 1 to 64 characters")
    return _Row(
        task=row["task"],
        model=row["model"],
        source=_corpus(row["source"], "source", where, parse_source),
        seed=_count(row["seed"], "seed", where),
        target=_corpus(row["target"], "target", where, Corpus.parse),
        split=row["split"],
        metric=row["metric"],
        n=_count(row["n"], "n", where),
        score=_fraction(row["score"], where, percent),
    )


def _corpus(text: str, column: str, where: str, parse: Callable[[str], Source]) -> str:
    """A corpus, or as a source a mixture, in its own spelling; a bare language is an original."""
    try:
        return str(parse(f"{text}-O" if _BARE.fullmatch(text) else text))
    except DeclarationError as error:
        raise DataError(f"{where}: {column}: {error}") from error


def _number(text: str, column: str, where: str) -> float:
    try:
        return float(text.replace("_", "?"))  # Python's 1_000 is nobody else's number
    except ValueError:
        raise DataError(f"{where}: {column} is {text!r}, which is not a number") from None


def _count(text: str, column: str, where: str) -> int:
    number = _number(text, column, where)
    if not (number.is_integer() and 0 <= number < 2**63):
        raise DataError(f"{where}: {column} is {text!r}; give an integer of at least 0")
    return int(text) if text.isdigit() else int(number)


def _fraction(text: str, where: str, percent: bool) -> float:
    score, top = _number(text, "score", where), 100 if percent else 1
    if 0 <= score <= top:
        return score / top
    hint = "; if the scores are given in percent, say --percent" if 1 < score <= 100 else ""
    raise DataError(f"{where}: score is {text}, not a {'percentage from 0 to 100' if percent else 'fraction from 0 to 1'}{hint}")


def _refuse_duplicates(file: Path, rows: Sequence[_Row]) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for number, row in enumerate(rows, start=1):
        key = (*row.run, row.target, row.split, row.metric)
        if key in seen:
            raise DataError(f"{file}, rows {seen[key]} and {number} both give {' '.join(map(str, key))}; keep one")
        seen[key] = number


# ------------------------------------------------------------------------------ trials and plan


def _runs(rows: Sequence[_Row]) -> dict[tuple[str, str, str, int], list[_Row]]:
    runs: dict[tuple[str, str, str, int], list[_Row]] = {}
    for row in rows:
        runs.setdefault(row.run, []).append(row)
    return runs


def _trial(rows: Sequence[_Row]) -> tuple[PlannedTrial, tuple[_Row, ...]]:
    """A run as a trial whose digest is a sha256 of its rows, in whatever order they stand."""
    task, model, source, seed = rows[0].run
    spelled = sorted([*map(str, (*row.run, row.target, row.split, row.metric, row.n)), repr(row.score)] for row in rows)
    identity = digest([list[Json](row) for row in spelled])
    trial = f"{quote(task, safe='')}.{quote(model, safe='')}.{source}.s{seed}-{identity}"
    if len(trial) > LONGEST_NAME:
        raise DataError(f"task {task!r}, model {model!r} and source {source} make a file name of {len(trial)} characters; shorten them")
    return PlannedTrial(trial, task, model, source, seed, identity), tuple(rows)


def _refuse_others(file: Path, before: Plan, trials: Mapping[PlannedTrial, Sequence[_Row]]) -> None:
    native = [name for name, facts in before.models.items() if facts.family != IMPORTED]
    if native:
        raise DataError(f"sweep {before.sweep} was run here, with model {native[0]}, and not imported; give another name with --name")
    there = {(t.task, t.model, t.source, t.seed): t for t in before.trials}
    for new in trials:
        old = there.get((new.task, new.model, new.source, new.seed), new)
        if old.digest != new.digest:
            raise DataError(
                f"{file} gives other scores for task {new.task}, model {new.model}, source {new.source}, seed {new.seed} than sweep "
                f"{before.sweep} has from an earlier import; give another name with --name, or delete the sweep to import it again"
            )


def _score(sweep: str, planned: PlannedTrial, row: _Row, now: datetime) -> Score:
    return Score(
        sweep=sweep,
        task=row.task,
        model=row.model,
        source=row.source,
        target=row.target,
        split=row.split,
        metric=row.metric,
        seed=row.seed,
        score=row.score,
        n=row.n,
        trial=planned.trial,
        digest=planned.digest,
        started=now,
        finished=now,
    )


def _merged(before: Plan, trials: Mapping[PlannedTrial, Sequence[_Row]], known: Callable[[str], Task | None]) -> Plan:
    """The plan of all imports into this sweep so far."""
    rows = [row for mine in trials.values() for row in mine]
    tasks = {name: _facts(before.tasks.get(name), [row for row in rows if row.task == name], known(name)) for name in _unique(rows, "task")}
    models = {name: ModelFacts(IMPORTED, "", None) for name in _unique(rows, "model")}
    return Plan(
        before.sweep,
        tuple(dict.fromkeys((*before.trials, *trials))),
        {**before.tasks, **tasks},
        {**before.models, **models},
    )


def _facts(before: TaskFacts | None, rows: Sequence[_Row], known: Task | None) -> TaskFacts:
    """What the tables must know of a task.

    A task of the package gives order, groups and normalization if it has every target of the file; otherwise the file is
    of other data under that name, and its own order and all targets serve.
    """
    targets = tuple(dict.fromkeys((*(before.targets if before else ()), *_unique(rows, "target"))))
    metrics = tuple(dict.fromkeys((*(before.metrics if before else ()), *_unique(rows, "metric"))))
    splits = _unique(rows, "split")
    split = before.eval_split if before else known.eval_split if known and known.eval_split in splits else splits[0]
    if known and set(targets) <= set(map(str, known.targets)):
        first = tuple(metric for metric in known.metrics if metric in metrics)
        ordered = tuple(dict.fromkeys((*first, *metrics)))
        return replace(facts_of(known, {}), metrics=ordered, eval_split=split)
    return TaskFacts(
        targets=targets,
        groups={"All": targets},
        metrics=metrics,
        eval_split=split,
        normalized=None,
        baseline=None,
        denominators=(),
        parallel=False,
        licence="",
        citation="",
        revisions={},
    )


def _unique(rows: Sequence[_Row], column: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(row, column)) for row in rows))
