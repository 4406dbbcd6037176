"""Reading the results of 10,000 trials, 1.5 million rows of scores, with the cache of `xfer-ray compact` and without.

The files of scores are made up: 10,000 of 150 rows, in the columns and the layout of a sweep's. Then, in one process whose page cache
is warm: the mean score of each source, target and metric by DuckDB and by pandas from the files of the cache, the same through the
package's own reader, which hashes every small file before it believes the cache, and by pandas from the folder of small files.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from benchmarks import harness
from benchmarks.harness import OURS, Bar, Measure, Setting
from xfer_ray import compact
from xfer_ray.core import Score
from xfer_ray.results import Results, flat_table, schema_of, to_bytes
from xfer_ray.sources import Corpus
from xfer_ray.storage import open_storage

CODES = ("en", "de", "es", "fr", "sw", "tr", "vi", "ar", "bg", "el", "hi", "ru", "ur", "th", "zh")
TARGETS = tuple(str(Corpus(code) if code == "en" else Corpus(code, "HT", Corpus("en"))) for code in CODES)
METRICS = tuple(f"metric_{number}" for number in range(10))  # of each target: 150 rows a trial
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
COLUMNS = ["source", "target", "metric", "score"]
SMALL_FILES, READER, DUCKDB = "pandas on the small files", "the package's reader, cache written", "DuckDB on the cache"


def make(folder: Path, trials: int) -> Results:
    """So many committed files of scores; only names, seeds and scores differ."""
    found, draw = Results(open_storage(str(folder)), "many"), random.Random(0)
    for number in range(trials):
        source, seed = TARGETS[number % len(TARGETS)], number // len(TARGETS)
        name = f"many.model.{source}.s{seed}-0123456789ab"
        found.storage.create(found.table("scores", name), to_bytes(_rows(name, source, seed, draw)))
    return found


def _rows(trial: str, source: str, seed: int, draw: random.Random) -> pa.Table:
    table = _template()
    own = {"trial": [trial] * len(table), "source": [source] * len(table), "seed": [seed] * len(table)}
    for name, values in {**own, "score": [draw.random() for _ in range(len(table))]}.items():
        column = schema_of(Score).field(name)
        table = table.set_column(table.schema.get_field_index(name), column, pa.array(values, column.type))
    return table


@functools.cache
def _template() -> pa.Table:
    """The rows of one trial."""
    rows = [
        Score(
            sweep="many", task="many", model="model", source="", target=target, split="test", metric=metric, seed=0, score=0.0, n=5010,
            trial="", digest="0123456789ab", recipe="{}" * 300, versions="{}" * 80, device="cpu", host="node", started=WHEN, finished=WHEN,
        )
        for target in TARGETS
        for metric in METRICS
    ]  # fmt: skip
    return flat_table(Score, rows)


def grouped(frame: pd.DataFrame) -> pd.Series:
    """The mean score by source, target and metric."""
    return frame.groupby(COLUMNS[:-1])["score"].mean()


def from_cache(folder: Path) -> pd.Series:
    """By pandas, from the files that `compact` has made."""
    return grouped(pd.read_parquet(folder / "many/cache", columns=COLUMNS))


def by_duckdb(folder: Path) -> pd.Series:
    """By DuckDB, from the same files."""
    asked = f"select source, target, metric, avg(score) as score from '{folder}/many/cache/*.parquet' group by all order by all"
    means: pd.Series = duckdb.connect().execute(asked).df().set_index(COLUMNS[:-1])["score"]
    return means


def from_small_files(folder: Path) -> pd.Series:
    """By pandas, from the files that the trials have left."""
    return grouped(pd.read_parquet(folder / "many/scores", columns=COLUMNS))


def benchmark(setting: Setting) -> Iterator[Measure]:
    """Four ways to the same means."""
    trials = setting.size(10_000, 120)
    found = make(setting.scratch, trials)
    compact.compact(found)
    sides = {
        OURS: lambda: from_cache(setting.scratch),
        DUCKDB: lambda: by_duckdb(setting.scratch),
        READER: lambda: grouped(compact.read_scores(found)),
        SMALL_FILES: lambda: from_small_files(setting.scratch),
    }
    first, *rest = (side() for side in sides.values())
    for other in rest:
        pd.testing.assert_series_equal(first, other)
    costs = harness.interleaved(sides, setting.size(3, 1), warm_up=0)
    rows = f"{trials * len(TARGETS) * len(METRICS):,} rows"
    for name, title in ((DUCKDB, DUCKDB), (OURS, "pandas on the cache"), (READER, READER)):
        yield Measure(
            f"group-by over {rows}, {title}", "s", tuple(cost.wall for cost in costs[name]), Bar(0.5, "most"), {name: tuple(costs[name])}
        )
    yield harness.ratio(f"group-by over {rows} by pandas", costs, SMALL_FILES, by="wall")


if __name__ == "__main__":
    harness.run(__file__, __doc__, benchmark)
