"""The files of a sweep: their names, their tables, and how one is read. `commit.py` says how a trial becomes done."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from xfer_ray.core import Score
from xfer_ray.errors import DataError
from xfer_ray.sources import Example
from xfer_ray.storage import Storage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SUMMED_UP = b"xfer_ray.predictions"
_TRIAL = re.compile(r"[^/]+\.s\d+-[0-9a-f]{12}")


@dataclass(frozen=True)
class Results:
    """Where the files of one sweep lie: the only place where their names are made."""

    storage: Storage
    sweep: str

    @property
    def url(self) -> str:
        """The folder of this sweep, as a user would name it."""
        return f"{self.storage.url}/{self.sweep}"

    @property
    def plan(self) -> str:
        """What is planned."""
        return f"{self.sweep}/sweep.json"

    def table(self, kind: Literal["scores", "predictions", "curves", "examples"], name: str) -> str:
        """A Parquet file: by trial, or `<task>.<target>` for examples."""
        return f"{self.sweep}/{kind}/{name}.parquet"

    def rescored(self, metric: str, trial: str) -> str:
        """The Parquet file of a metric computed later from a trial's predictions; the columns of scores."""
        return f"{self.sweep}/rescored/{metric}/{trial}.parquet"

    def record(self, kind: Literal["failures", "running", "conflicts"], trial: str) -> str:
        """A JSON file about a trial."""
        return f"{self.sweep}/{kind}/{trial}.json"

    def log(self, trial: str) -> str:
        """The log of a trial's attempts."""
        return f"{self.sweep}/logs/{trial}.log"

    def checkpoints(self, trial: str) -> str:
        """The folder of the checkpoints of a trial that is not done."""
        return f"{self.sweep}/checkpoints/{trial}"

    def model(self, trial: str) -> str:
        """The folder of a fine-tuned model."""
        return f"{self.sweep}/models/{trial}"

    def folder(self, kind: str) -> str:
        """The folder of one kind of file."""
        return f"{self.sweep}/{kind}"


# ------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class Prediction:
    """One answer of a model: to which example, legal or not, and its value by each metric."""

    trial: str
    target: str
    selection: str
    example: str
    prediction: str
    illegal: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """A point of a learning curve: what the model of a trial scored after some step, on a corpus that may choose the checkpoint."""

    trial: str
    step: int
    corpus: str
    split: str
    metric: str
    score: float


@functools.cache
def schema_of(kind: type) -> pa.Schema:
    """The columns of a flat table whose rows are a frozen dataclass: its fields in their order, never null."""
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), datetime: pa.timestamp("us", tz="UTC")}
    hints = typing.get_type_hints(kind)
    return pa.schema([pa.field(f.name, types[hints[f.name]], nullable=False) for f in dataclasses.fields(kind)])


def flat_table(kind: type, rows: Sequence[typing.Any]) -> pa.Table:
    """Frozen dataclasses of one kind as a table, one row each: `Score`, `Point`, and the like."""
    import pyarrow as pa

    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=schema_of(kind))


def scores_table(scores: Sequence[Score], predictions: str = "") -> pa.Table:
    """Scores as a table; its metadata, where pandas and its like do not look, name the sha256 of the predictions file that it sums up."""
    table = flat_table(Score, scores)
    return table.replace_schema_metadata({_SUMMED_UP: predictions}) if predictions else table


def summed_up(scores: pa.Table) -> str:
    """The sha256 of the predictions file that a table of scores sums up; empty where it does not say, as that of imported ones."""
    return str((scores.schema.metadata or {}).get(_SUMMED_UP, b"").decode())


def predictions_table(predictions: Sequence[Prediction]) -> pa.Table:
    """Predictions as a table: one row per example, one float column per metric."""
    import pyarrow as pa

    names = [f.name for f in dataclasses.fields(Prediction) if f.name != "scores"]
    metrics = list(predictions[0].scores) if predictions else []
    columns = {name: pa.array([getattr(p, name) for p in predictions], pa.string()) for name in names}
    columns |= {metric: pa.array([p.scores[metric] for p in predictions], pa.float64()) for metric in metrics}
    schema = pa.schema([pa.field(name, array.type, nullable=False) for name, array in columns.items()])
    return pa.table(columns, schema=schema)


def examples_table(examples: Sequence[Example]) -> pa.Table:
    """Texts and answers as a table; the answers of an example are one JSON list, so that the table is flat."""
    import pyarrow as pa

    rows = [{"id": e.id, "first": e.first, "second": e.second, "answers": json.dumps(e.answers, ensure_ascii=False)} for e in examples]
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("id", "first", "second", "answers")])
    return pa.Table.from_pylist(rows, schema=schema)


def to_bytes(table: pa.Table) -> bytes:
    """A whole Parquet file, serialized in memory so that a failing writer leaves nothing; every page with a checksum."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def from_bytes(data: bytes, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file, or some of its columns; checksums verified, a damaged one is a DataError that names it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{name} is damaged: {reason}; `xfer-ray check --repair` moves it away, and the next run does it again") from error


# ------------------------------------------------------------------------------ read


def is_done(results: Results, trial: str) -> bool:
    """Whether this trial is committed."""
    return results.storage.exists(results.table("scores", trial))


def done(results: Results) -> set[str]:
    """The trials that are committed, by the names of files alone; other names are not ours and do not count."""
    return {name for name in stems(results, "scores", ".parquet") if _TRIAL.fullmatch(name)}


def stems(results: Results, kind: str, ending: str) -> set[str]:
    """The names of one kind of file, without their ending; what others left there has no part in it."""
    names = results.storage.sizes(results.folder(kind))
    return {name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith(".")}


def sizes_of(results: Results, trials: Collection[str]) -> dict[str, int]:
    """Bytes of the scores and predictions of each of some trials."""
    sizes = [results.storage.sizes(results.folder(kind)) for kind in ("scores", "predictions")] if trials else []
    return {trial: sum(found.get(f"{trial}.parquet", 0) for found in sizes) for trial in trials}


def rows_of(data: bytes, path: str) -> pa.Table:
    """The table in a scores file; DataError where it is damaged or has other columns."""
    table = from_bytes(data, path)
    if not table.schema.equals(schema_of(Score)):
        raise DataError(f"{path} does not have the columns of a scores table; `xfer-ray check` says more")
    return table


def read_predictions(results: Results, trial: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The predictions of one trial, whole or those of some columns that it has."""
    path = results.table("predictions", trial)
    frame: pd.DataFrame = from_bytes(results.storage.read(path), path, columns).to_pandas()
    return frame


def put_json(results: Results, path: str, value: Mapping[str, object], *, durable: bool = True) -> None:
    """Put a small JSON file, for people to read."""
    results.storage.replace(path, json.dumps(value, indent=1, ensure_ascii=False).encode(errors="backslashreplace"), durable=durable)


def read_json(results: Results, path: str) -> dict[str, typing.Any] | None:
    """A small JSON file, or None if there is none."""
    try:
        found: dict[str, typing.Any] = json.loads(results.storage.read(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{results.storage.url}/{path} is not JSON: {error}; delete it, or restore it") from error
    if not isinstance(found, dict):
        raise DataError(f"{results.storage.url}/{path} holds a JSON {type(found).__name__}, not an object; delete it, or restore it")
    return found
