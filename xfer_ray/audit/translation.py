"""What a translation lost, and how sure it is of what it kept: from the audit tables beside translated corpora.

An audit table has a row for each gold answer of each question of the origin, or for each example of a task of pairs; its columns are the
fields of `translation.fate.Fate`. Several tables, of one benchmark and split, are read side by side: a comparison of sources needs the
questions that survived in all of them (§4 of Turc et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xfer_ray.errors import DataError
from xfer_ray.identity import Json
from xfer_ray.translation.projection import BUCKETS

if TYPE_CHECKING:
    import pandas as pd

    Tables = Mapping[str, pd.DataFrame]

FARTHEST = 10  # XTREME's threshold; greater distances are counted as one
DISTANCES = (*map(str, range(FARTHEST + 1)), "more", "none")
"""Edit distances of answers; "none" for those that were not looked for, since a text was translated to nothing."""


@dataclass(frozen=True)
class Yield:
    """How many questions are left of a corpus after each step; `exact` is None in a task of pairs, which has no answers to find.

    A question passes a step if one of its gold answers does.
    """

    corpus: str
    questions: int
    translated: int
    exact: int | None
    kept: int

    @property
    def percent(self) -> float:
        """The share of the origin's questions that are kept, in percent."""
        return 100 * self.kept / self.questions

    def json(self) -> dict[str, Json]:
        """As `audit translation --json` prints it."""
        return {**self.__dict__, "percent": self.percent}


@dataclass(frozen=True)
class Length:
    """Of the `n` translated answers of a length in characters that were looked for, how many are exact, and how many are kept."""

    corpus: str
    bucket: str
    n: int
    exact: int
    kept: int


@dataclass(frozen=True)
class Fault:
    """How many questions have a translation that looks wrong in this way, such as "second:looping"."""

    corpus: str
    fault: str
    n: int


@dataclass(frozen=True)
class Audit:
    """Some translated corpora side by side. `shared` are the ids that all of them kept; `distances` has a count for each of DISTANCES."""

    yields: tuple[Yield, ...]
    shared: tuple[str, ...]
    lengths: tuple[Length, ...]
    distances: Mapping[str, tuple[int, ...]]
    faults: tuple[Fault, ...]

    def json(self) -> dict[str, Json]:
        """As `audit translation --json` prints it."""
        return {
            "yields": [one.json() for one in self.yields],
            "shared": len(self.shared),
            "lengths": [dict(one.__dict__) for one in self.lengths],
            "distances": {corpus: dict(zip(DISTANCES, counts, strict=True)) for corpus, counts in self.distances.items()},
            "faults": [dict(one.__dict__) for one in self.faults],
        }


WORST = ("id", "gold", "faults", "reason", "distance", "translated", "answer")


@dataclass(frozen=True)
class Worst:
    """A question to look at: what is suspicious about it, why it was lost, and what its answer became."""

    id: str
    gold: int
    faults: str
    reason: str
    distance: int
    translated: str
    answer: str

    def json(self) -> dict[str, Json]:
        """As `audit translation --worst N --json` prints it."""
        return dict(self.__dict__)


# ------------------------------------------------------------------------------ counting


def audit(tables: Tables) -> Audit:
    """Count what became of the questions of an origin in each corpus; `tables`: corpus spelling -> audit table of one split.

    DataError where there is nothing to count, or where no question is left that all corpora have.
    """
    if not tables:
        raise DataError("no corpus has an audit table, so there is nothing to audit; translate one with: xfer-ray translate")
    for corpus, table in tables.items():
        if table.empty:
            raise DataError(f"the audit table of {corpus} is empty; an audit has a row for each question of the origin")
    spans = {corpus: table for corpus, table in tables.items() if has_answers(table)}
    return Audit(
        yields=tuple(_yield(corpus, table) for corpus, table in tables.items()),
        shared=shared(tables),
        lengths=tuple(length for corpus, table in spans.items() for length in _lengths(corpus, table)),
        distances={corpus: _distances(table) for corpus, table in spans.items()},
        faults=tuple(fault for corpus, table in tables.items() for fault in _faults(corpus, table)),
    )


def has_answers(table: pd.DataFrame) -> bool:
    """Whether answers were looked for, as in question answering; pairs have none."""
    return bool((table["length"] > 0).any())


def shared(tables: Tables) -> tuple[str, ...]:
    """The ids that every corpus kept, in the order of the first; DataError if several corpora have none in common."""
    common = set.intersection(*({*table["id"]} for table in tables.values()))
    if not common:
        raise DataError(
            f"the intersection is empty: {', '.join(tables)} have no id in common, so they are no translations of one corpus and split"
        )
    kept = {corpus: dict.fromkeys(table.loc[table["kept"], "id"]) for corpus, table in tables.items()}
    found = tuple(id_ for id_ in next(iter(kept.values())) if all(id_ in ids for ids in kept.values()))
    if not found and len(tables) > 1:
        counts = ", ".join(f"{corpus} {len(ids)}" for corpus, ids in kept.items())
        raise DataError(f"the intersection is empty: no question was kept in all corpora ({counts}), so no training set is common to them")
    return found


def _yield(corpus: str, table: pd.DataFrame) -> Yield:
    def questions(passed: pd.Series[bool]) -> int:
        return int(table.loc[passed, "id"].nunique())

    return Yield(
        corpus=corpus,
        questions=int(table["id"].nunique()),
        translated=questions(table["reason"] != "empty"),
        exact=questions(table["method"] == "exact") if has_answers(table) else None,
        kept=questions(table["kept"]),
    )


def _lengths(corpus: str, table: pd.DataFrame) -> Iterator[Length]:
    for bucket in BUCKETS:
        mine = table[(table["bucket"] == bucket) & (table["distance"] >= 0)]
        if len(mine):
            yield Length(corpus, bucket, len(mine), int((mine["method"] == "exact").sum()), int(mine["kept"].sum()))


def _distances(table: pd.DataFrame) -> tuple[int, ...]:
    """How many answers were found at each of DISTANCES."""
    found = table["distance"]
    none = int((found < 0).sum())
    return (*(int((found == distance).sum()) for distance in range(FARTHEST + 1)), int((found > FARTHEST).sum()), none)


def _faults(corpus: str, table: pd.DataFrame) -> Iterator[Fault]:
    """Questions by fault; one that has it in several golds counts once."""
    marked = table.loc[table["faults"] != "", ["id", "faults"]]
    each = marked.assign(fault=marked["faults"].str.split()).explode("fault").drop_duplicates(["id", "fault"])
    for fault, n in each["fault"].value_counts().sort_index().items():
        yield Fault(corpus, str(fault), int(n))


def worst(table: pd.DataFrame, n: int = 10) -> tuple[Worst, ...]:
    """The questions to look at first: those with most faults, then those whose answer is farthest from what was found.

    One row a question; those without a fault whose answer was found exactly are none.
    """
    far = (table["distance"].clip(lower=0) / table["length"].clip(lower=1)).where(table["reason"] != "empty", float("inf"))
    ranked = table.assign(many=[len(faults.split()) for faults in table["faults"]], far=far)
    ranked = ranked[(ranked["many"] > 0) | (ranked["far"] > 0)].sort_values(["many", "far"], ascending=False, kind="stable")
    columns = [ranked.drop_duplicates("id").head(n)[field].tolist() for field in WORST]
    return tuple(Worst(*values) for values in zip(*columns, strict=True))
