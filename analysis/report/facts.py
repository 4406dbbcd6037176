"""What a report says, as values: everything that the page shows is in a `Report`. Scores are fractions, NaN is a hole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Which source is best for a model and task: its average over all targets, its advantage, and how sure that is.

    `over` is the best baseline there is under its budget; `equal` are sources with the same average, and `alike` says that all have it.
    `sure` is significance after correction over `compared` sources; `first` has the highest average of all, the baseline included, with
    probability `chance`, and `rivals` are not surely behind it; `unranked` lack a score; `why` says what keeps the answer, or its
    sureness, away.
    """

    best: str = ""
    equal: tuple[str, ...] = ()
    alike: bool = False
    over: str = ""
    value: float = float("nan")
    gain: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    sure: bool = False
    compared: int = 0
    first: str = ""
    chance: float = float("nan")
    rivals: tuple[str, ...] = ()
    detectable: float = float("nan")
    conditional: bool = False
    like_for_like: tuple[str, ...] = ()
    unranked: tuple[str, ...] = ()
    runs: int = 0
    targets: int = 0
    why: str = ""

    @property
    def leading(self) -> tuple[str, ...]:
        """The best source and its equals."""
        return (self.best, *self.equal)


def at(frame: pd.DataFrame, source: str, column: str) -> float:
    """One number of a frame of a finding."""
    return cast(float, frame.at[source, column])


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One model on one task. Frames have a row per source and a column per target, then one per group, named ->GROUP.

    `values` are relative abilities or the metric itself (`kind`); `gains` the advantages over `baselines`; `low`, `high`
    and `p` (corrected over sources, by column) belong to the gains. `limits`: of the averages over all targets, where they are known.
    """

    task: str
    model: str
    metric: str
    kind: str
    targets: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    baselines: Mapping[str, str | None]
    values: pd.DataFrame
    limits: Mapping[str, tuple[float, float]]
    gains: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    p: pd.DataFrame
    effects: Mapping[str, float]
    runs: tuple[int, int]
    answer: Answer
    latex: str

    @property
    def baseline(self) -> str | None:
        """The one that all sources are compared with; None where they have none, or several."""
        overs = set(self.baselines.values())
        return next(iter(overs)) if len(overs) == 1 else None

    @property
    def name(self) -> str:
        """How files and anchors call it."""
        return f"{self.task}.{self.model}"


@dataclass(frozen=True)
class Illegal:
    """Outputs of a model that are no answer: of `n`, by kind, from one source; `worst` is the target with most."""

    task: str
    model: str
    source: str
    n: int
    kinds: Mapping[str, int]
    worst: str
    worst_share: float

    @property
    def share(self) -> float:
        """Of all outputs."""
        return sum(self.kinds.values()) / self.n


@dataclass(frozen=True)
class Shown:
    """An example on which two sources disagree."""

    id: str
    first: str
    second: str
    gold: tuple[str, ...]
    prediction: str
    other: str
    gained: bool


@dataclass(frozen=True)
class Disagreement:
    """Where a source and its baseline, both of one seed, answer a target differently: how often each is better, and some examples."""

    task: str
    model: str
    source: str
    over: str
    target: str
    seed: int
    better: int
    worse: int
    examples: tuple[Shown, ...]


@dataclass(frozen=True)
class Defect:
    """Something wrong with what was read or what came out: on what, what it is, and how many of how many."""

    task: str
    where: str
    what: str
    n: int
    of: int


@dataclass(frozen=True)
class Curve:
    """A learning curve of a source, averaged over its seeds: steps and fractions."""

    task: str
    model: str
    source: str
    metric: str
    steps: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Coverage:
    """The trials of a model on a task: how many are planned and done; the failed ones with their errors; the missing ones."""

    task: str
    model: str
    planned: int
    done: int
    failed: Mapping[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Ran:
    """What was run of a model on a task: rows of name and value."""

    task: str
    model: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page of a sweep; `silent` says what has no scores, `unsaid` what cannot be said for want of files."""

    sweep: str
    findings: tuple[Finding, ...]
    silent: tuple[str, ...]
    unsaid: Mapping[str, str]
    notes: tuple[str, ...]
    curves: tuple[Curve, ...]
    illegal: tuple[Illegal, ...]
    disagreements: tuple[Disagreement, ...]
    defects: tuple[Defect, ...]
    checked: int
    coverage: tuple[Coverage, ...]
    ran: tuple[Ran, ...]
