"""Many small files read as one: a cache of scores under RESULTS/cache, which holds nothing that scores/ does not say.

A segment holds the rows of many scores files, with the size and the sha256 of each. It speaks for a trial only while the
file that is there now has that sha256, so every file is still read and hashed; what is saved is making sense of its Parquet,
which takes forty times as long. A listing would be cheaper and would not do: a trial that was redone has other times in its
file and now and then the same size, a flipped bit changes no size, and the times of files are never asked. What a segment
does not know, or knows otherwise, is read from its own file.

A segment is named by the sha256 of its bytes, is never changed, and is created if absent, so runs, readers and other
compactions may go on meanwhile: who finds a segment gone or damaged reads the small files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xfer_ray.core import Score
from xfer_ray.errors import DataError
from xfer_ray.results import Results, done, from_bytes, rows_of, schema_of, stems, to_bytes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SEGMENT_TRIALS = 10_000  # a segment of so many is left alone; smaller ones are made anew with what came since
FEW = 100  # so many small files are read sooner than the segments
AT_ONCE = 100  # files that a thread reads in one go
FAR_THREADS = 32  # where a read waits for the network
_VERSION = 1
_MARK = b"xfer_ray.segment"
_NAME = re.compile(r"[0-9a-f]{64}\.parquet")


@dataclass(frozen=True)
class File:
    """A scores file that a segment holds: which bytes it had, and how many rows."""

    trial: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Segment:
    """A cache file: the rows of many scores files, one after the other."""

    path: str
    files: tuple[File, ...]
    table: pa.Table


@dataclass(frozen=True)
class Held:
    """Where the rows of a scores file are among those of all segments."""

    file: File
    start: int


@dataclass(frozen=True)
class Compacted:
    """What a compaction left: trials that the segments hold, those that it added or renewed, segments, and their bytes."""

    trials: int
    added: int
    segments: int
    size: int


# ------------------------------------------------------------------------------ read


def read(results: Results, trials: Sequence[str]) -> pa.Table:
    """The rows of scores of some trials, in their order; a damaged file is a DataError."""
    segments = _segments(results) if len(trials) > FEW else ()
    table, _ = _gather(results, trials, segments)
    return table


def read_scores(results: Results, trials: Collection[str] | None = None) -> pd.DataFrame:
    """The scores of some trials, or of all committed ones, in the columns of `Score`; a damaged file is a DataError."""
    frame: pd.DataFrame = read(results, sorted(done(results) if trials is None else trials)).to_pandas()
    return frame


def read_rescored(results: Results, metric: str, trials: Collection[str]) -> pd.DataFrame:
    """What `xfer-ray rescore` found for some trials by a metric, in the columns of `Score`.

    A trial that was not rescored is a DataError that gives the command; one rescored where the metric has no value has no rows.
    """
    there = stems(results, f"rescored/{metric}", ".parquet")
    missing = sorted(set(trials) - there)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(set(trials))} trials have no {metric} yet, {missing[0]} among them; "
            f"`xfer-ray rescore {results.url} --metric {metric}` computes it from their predictions"
        )
    return _read_all(results, [results.rescored(metric, trial) for trial in sorted(set(trials))])


def _read_all(results: Results, paths: Sequence[str]) -> pd.DataFrame:
    """The rows of scores tables, one file after the other."""
    import pyarrow as pa

    with ThreadPoolExecutor() as pool:
        tables = list(pool.map(lambda path: rows_of(results.storage.read(path), path), paths))
    # pandas takes rows out of ten thousand pieces a thousand times slower than out of one
    frame: pd.DataFrame = pa.concat_tables(tables or [schema_of(Score).empty_table()]).combine_chunks().to_pandas()
    return frame


def _gather(results: Results, trials: Sequence[str], segments: Sequence[Segment]) -> tuple[pa.Table, list[File]]:
    """The rows of the trials in their order, from segments where these are right, and what the trials' files are."""
    import numpy as np
    import pyarrow as pa

    held = {where.file.trial: where for where in _where(segments)}
    tables = [schema_of(Score).empty_table(), *(segment.table for segment in segments)]
    length, files, places = sum(table.num_rows for table in tables), [], []
    for file, fresh in _look(results, trials, held):
        files.append(file)
        places.append(np.arange(file.rows) + (held[file.trial].start if fresh is None else length))
        if fresh is not None:
            tables.append(fresh)
            length += file.rows
    rows = np.concatenate(places) if places else np.arange(0)
    table = pa.concat_tables(tables).replace_schema_metadata(None).combine_chunks()
    return (table if np.array_equal(rows, np.arange(table.num_rows)) else table.take(pa.array(rows))), files


def _where(segments: Iterable[Segment]) -> Iterator[Held]:
    start = 0
    for segment in segments:
        for file in segment.files:
            yield Held(file, start)
            start += file.rows


def _look(results: Results, trials: Sequence[str], held: Mapping[str, Held]) -> Iterator[tuple[File, pa.Table | None]]:
    """What each trial's file is, and its rows if `held` does not have them of these very bytes."""

    def look(some: Sequence[str]) -> list[tuple[File, pa.Table | None]]:
        return [_look_at(results, trial, held.get(trial)) for trial in some]

    with ThreadPoolExecutor(None if results.storage.is_local else FAR_THREADS) as pool:
        for found in pool.map(look, _parts(trials, AT_ONCE)):
            yield from found


def _look_at(results: Results, trial: str, held: Held | None) -> tuple[File, pa.Table | None]:
    path = results.table("scores", trial)
    data = results.storage.read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if held is not None and held.file.sha256 == sha256:
        return held.file, None
    table = rows_of(data, path)
    return File(trial, len(data), sha256, table.num_rows), table


def _parts(trials: Sequence[str], number: int) -> list[Sequence[str]]:
    return [trials[first : first + number] for first in range(0, len(trials), number)]


def _segments(results: Results) -> tuple[Segment, ...]:
    """The segments that are what they were when they were written, and that this version can read."""
    found = (_segment(results, path) for path in _paths(results))
    return tuple(segment for segment in found if isinstance(segment, Segment))


def _paths(results: Results) -> list[str]:
    folder = results.folder("cache")
    return [f"{folder}/{name}" for name in sorted(results.storage.sizes(folder)) if _NAME.fullmatch(name)]


def _segment(results: Results, path: str) -> Segment | str:
    """A segment, or why there is none: what it is called says which bytes it has."""
    try:
        data = results.storage.read(path)
        if hashlib.sha256(data).hexdigest() != path.rpartition("/")[2].removesuffix(".parquet"):
            return f"its {len(data)} bytes are not those that it is named by"
        table = from_bytes(data, path)
        said = json.loads((table.schema.metadata or {}).get(_MARK, b"{}"))
        if said.get("version") != _VERSION or not table.schema.equals(schema_of(Score)):
            return ""  # of another version, which may be right
        files = tuple(File(*file) for file in said["files"])
        return Segment(path, files, table) if sum(file.rows for file in files) == table.num_rows else "it lacks rows"
    except FileNotFoundError:
        return ""  # another compaction has replaced it
    except (DataError, ValueError, KeyError, TypeError) as error:
        return str(error)


# ------------------------------------------------------------------------------ write


def compact(results: Results) -> Compacted:
    """Bring the cache up to date with the scores files, which it leaves alone."""
    before, there = _paths(results), sorted(done(results))
    segments = _segments(results)
    known = {file.trial: file for segment in segments for file in segment.files}
    for path in set(before) - {segment.path for segment in segments}:
        results.storage.delete(path)  # damaged: it may have the very name of what is written below
    full = [segment for segment in segments if len(segment.files) == SEGMENT_TRIALS and _is_current(results, segment, set(there))]
    kept = {file.trial for segment in full for file in segment.files}
    files = [file for segment in full for file in segment.files]
    written = {segment.path for segment in full}
    for some in _parts([trial for trial in there if trial not in kept], SEGMENT_TRIALS):
        table, found = _gather(results, some, segments)
        written.add(_put(results, table, found))
        files += found
    for path in set(before) - written:
        results.storage.delete(path)
    sizes = results.storage.sizes(results.folder("cache"))
    size = sum(sizes.get(path.rpartition("/")[2], 0) for path in written)
    return Compacted(len(files), sum(known.get(file.trial) != file for file in files), len(written), size)


def _is_current(results: Results, segment: Segment, there: set[str]) -> bool:
    """Whether every file that a segment holds is there and has the bytes that it had."""
    if not there.issuperset(file.trial for file in segment.files):
        return False
    held = {where.file.trial: where for where in _where([segment])}
    look = functools.partial(_look_at, results)
    return all(look(file.trial, held[file.trial])[1] is None for file in segment.files)


def _put(results: Results, table: pa.Table, files: Sequence[File]) -> str:
    said = {"version": _VERSION, "files": [[file.trial, file.size, file.sha256, file.rows] for file in files]}
    data = to_bytes(table.replace_schema_metadata({_MARK: json.dumps(said).encode()}))
    path = f"{results.folder('cache')}/{hashlib.sha256(data).hexdigest()}.parquet"
    results.storage.create(path, data)
    return path


# ------------------------------------------------------------------------------ check


def faults(results: Results) -> Iterator[tuple[str, str]]:
    """By path, what is wrong with a segment: its bytes, or rows that are not those of the file that it claims to hold."""
    there = done(results)
    for path in _paths(results):
        segment = _segment(results, path)
        reason = _fault(results, segment, there) if isinstance(segment, Segment) else segment
        if reason:
            yield path, reason


def _fault(results: Results, segment: Segment, there: set[str]) -> str:
    for where in _where([segment]):
        if where.file.trial in there:
            path = results.table("scores", where.file.trial)
            data = results.storage.read(path)
            mine = segment.table.slice(where.start, where.file.rows).replace_schema_metadata(None)
            if hashlib.sha256(data).hexdigest() == where.file.sha256 and not mine.equals(rows_of(data, path)):
                return f"its rows of trial {where.file.trial} are not those of {path}"
    return ""
