"""Printed cells beside ours: the difference, and whether it is more than chance."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from analysis.reproduce.claims import Key
from analysis.reproduce.evidence import Estimate, Evidence, by_cell, contrast, estimated
from analysis.reproduce.printed import ROUNDING, Printed

AGREES, DIFFERS, NO_INTERVAL = "agrees", "differs", "no interval"
_NORMAL = 1.96  # a normal deviate of 95 %, two-sided
Cells = Mapping[tuple[str, str], float]  # (source, target) -> a fraction


@dataclass(frozen=True)
class Cell:
    """A printed cell beside ours, fractions; NaN is a hole. `repaired`: not what is printed there, but what must have been meant.

    `verdict`: whether the printed value, give or take its rounding, lies in our 95 % interval. `allowing`: whether it does if the printed
    value has an error of sampling of its own (`sampling_error`); by how much the paper's seeds vary, nobody knows.
    """

    source: str
    column: str
    printed: float
    ours: Estimate
    verdict: str
    allowing: str
    repaired: bool = False

    @property
    def difference(self) -> float:
        """Ours less the printed one."""
        return self.ours.value - self.printed


@dataclass(frozen=True)
class Comparison:
    """One model's part of one table. Without cells it was not run, and `command` runs it."""

    table: int
    task: str
    model: str
    cells: tuple[Cell, ...] = ()
    command: str = ""


def compared(table: Printed, repaired: Printed, evidence: Mapping[Key, Evidence]) -> Iterator[Comparison]:
    """Each model's part of a table; that of a table whose model is not stated, with every model that was run."""
    averages = table.models == ("",)
    run = dict.fromkeys(model for task, model, _ in evidence if task == table.task)
    for model in (run or {"": None}) if averages else table.models:
        if model not in run:
            wanted = model or "mbert"
            command = f"xfer-ray run sweeps/paper.py --only task={table.task},model={wanted}"
            yield Comparison(table.number, table.task, wanted, command=command)
            continue
        parts = {kind: evidence[table.task, model, kind] for kind in (("HT", "MT") if averages else ("",))}
        cells = [cell for kind, part in parts.items() for cell in _cells(table, repaired, part, "" if averages else model, kind)]
        yield Comparison(table.number, table.task, model, tuple(cells))


def _cells(table: Printed, repaired: Printed, evidence: Evidence, model: str, kind: str) -> list[Cell]:
    """The cells of a model; in Table 4 those of one provenance. A cell that needs repair is there twice."""
    asked = [
        (source, column, value, meant)
        for (of, source), row in table.rows.items()
        if of == model and (not kind or source.split("-")[1] == kind)
        for column, value in row.items()
        for meant in dict.fromkeys((value, repaired.rows[of, source][column]))
    ]
    contrasts = [
        contrast(source, _targets(table, column), None if source == table.baseline else table.baseline) for source, column, *_ in asked
    ]
    known = evidence.abilities if table.normalized else table.matrix(model)
    abilities = {} if known is None else by_cell(known)
    found = []
    for (source, column, value, meant), ours in zip(asked, estimated(evidence, contrasts), strict=True):
        error = sampling_error(table, evidence, abilities, source, _targets(table, column))
        found.append(Cell(source, column, meant, ours, verdict(meant, ours), verdict(meant, ours, error), meant != value))
    return found


def _targets(table: Printed, column: str) -> tuple[str, ...]:
    return table.groups[column.removeprefix("->")] if column.startswith("->") else (column,)


def verdict(value: float, ours: Estimate, error: float = 0.0) -> str:
    """Whether a printed value agrees with ours: |printed - ours| <= sqrt(reach^2 + (1.96 error)^2) + rounding.

    `reach` is how far our interval goes towards the printed value; with no `error`, the value lies in the interval or does not.
    """
    if math.isnan(ours.low) or math.isnan(error):
        return NO_INTERVAL
    reach = ours.high - ours.value if value > ours.value else ours.value - ours.low
    return AGREES if abs(value - ours.value) <= math.hypot(reach, _NORMAL * error) + ROUNDING + 1e-9 else DIFFERS


def sampling_error(table: Printed, evidence: Evidence, abilities: Cells, source: str, targets: tuple[str, ...]) -> float:
    """The standard error of a printed figure from drawing n test examples, a fraction.

    E of S on T, e: sqrt(e (1 - e) / n), exact for accuracy and an upper bound for F1. Z = e / d of it and the denominator's score d:
    Z sqrt((1 - e) / (n e) + (1 - d) / (n d)), and 0 for Z(T→T). A difference from the baseline: the root of the sum of both squares,
    as if their errors were independent. An average: the mean of its cells' errors, as if they were one. All three err towards too
    large. `abilities` are E (sources x targets), the printed ones, or ours where only Z is printed. NaN where one of them is a hole.
    """
    named = (source,) if source == table.baseline else (source, table.baseline)
    return fmean(math.hypot(*(_error(table, evidence, abilities, one, target) for one in named)) for target in targets)


def _error(table: Printed, evidence: Evidence, abilities: Cells, source: str, target: str) -> float:
    n, score = table.n[target], _share(abilities, source, target)
    if not table.normalized:
        return score * math.sqrt((1 - score) / (n * score))
    own = (evidence.denominators or {}).get(target, "")
    if own == source:
        return 0.0
    divisor = _share(abilities, own, target)
    return score / divisor * math.sqrt((1 - score) / (n * score) + (1 - divisor) / (n * divisor))


def _share(abilities: Cells, source: str, target: str) -> float:
    found = abilities.get((source, target), math.nan)
    return found if found > 0 else math.nan


def answers_compared(shares: Mapping[str, float], ours: Mapping[str, float]) -> Comparison:
    """Table 7: the share of answers that are ASCII only, by target; both are counts of the same public questions."""
    if not ours:
        return Comparison(7, "xquad", "", command="xfer-ray audit answers xquad")
    found = []
    for target, share in shares.items():
        value = ours.get(target, math.nan)
        one = Estimate(value, value, value)
        found.append(Cell("", target, share, one, verdict(share, one), verdict(share, one)))
    return Comparison(7, "xquad", "", tuple(found))
