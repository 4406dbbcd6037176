"""A table of somebody else's scores, CSV or Parquet, as rows; what cannot be meant is refused with the row where it stands."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.sources import Corpus, Source, parse_source

REQUIRED = ("task", "model", "source", "seed", "target", "metric", "score")
OPTIONAL = {"n": "0", "split": "unknown"}  # and what stands for an absent or empty value
MOST_ROWS = 1_000_000  # a small file can decode to a great table
_BARE = re.compile(r"[^-+=@]*")  # a language
_NAME = re.compile(r"[^.\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,63}")


@dataclass(frozen=True)
class Row:
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
        """Task, model, source and seed: what one trial is of."""
        return self.task, self.model, self.source, self.seed


def rows_of(file: Path, percent: bool, note: Callable[[str], None]) -> list[Row]:
    """The rows of a table, all of them good, and no two of one score; `note` hears what looks like a mistake."""
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
    rows = [_row({name: columns[name][i] for name in columns}, f"{file}, row {i + 1}", percent) for i in range(count)]
    small = [i for i, row in enumerate(rows) if percent and 0 < row.score <= 0.01]
    if small:
        note(
            f"{file}: {len(small)} of {count} scores are not above 1, such as {table['score'][small[0]]} in row {small[0] + 1}, and were "
            "taken for percent as the others; if they are fractions, mend the file and give another name with --name"
        )
    _refuse_duplicates(file, rows)
    return rows


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
        said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
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
    table = pd.read_parquet(io.BytesIO(data))
    named = [name for name in table.index.names if name is not None and name not in table]  # pandas makes columns of an index
    table = table.reset_index(level=named).reset_index(drop=True)
    return {str(name): [None if pd.isna(value) else value for value in table[name]] for name in table}


def _refuse_long(file: Path, rows: int) -> None:
    if rows > MOST_ROWS:
        raise DataError(f"{file} has more than {MOST_ROWS} rows; split it by task or model")


def _row(row: Mapping[str, str], where: str, percent: bool) -> Row:
    for column in ("task", "model", "metric", "split"):
        if not _NAME.fullmatch(row[column]):
            raise DataError(f"{where}: {column} {row[column]!r} is not a name of 1 to 64 characters")
    return Row(
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


def _refuse_duplicates(file: Path, rows: Sequence[Row]) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for number, row in enumerate(rows, start=1):
        key = (*row.run, row.target, row.split, row.metric)
        if key in seen:
            raise DataError(f"{file}, rows {seen[key]} and {number} both give {' '.join(map(str, key))}; keep one")
        seen[key] = number
