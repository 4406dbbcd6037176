"""What is known of one model on one task, measured here or printed in a paper, so that one question can be asked of both."""

import math
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import significance
from analysis.reproduce.printed import Printed
from analysis.significance import Contrast, Resampled

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Values of one model, (sources x targets), fractions: Z where the task is normalized, else E; NaN is a hole.

    `abilities`: E behind Z, where it is known. `resampled`: None where no predictions are known, so that there is no interval.
    `denominators`: target -> source; None where values are E. `groups`: name -> targets.
    """

    task: str
    model: str
    baseline: str
    groups: Map[str, tuple[str, ...]]
    values: pd.DataFrame
    abilities: pd.DataFrame | None = None
    denominators: Map[str, str] | None = None
    resampled: Resampled | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """The sources that are compared with the baseline."""
        return tuple(source for source in map(str, self.values.index) if source != self.baseline)

    def in_language(self, language: str) -> str:
        """The source of a language, "ru" -> ru-MT-en."""
        (found,) = (source for source in self.others if source.partition("-")[0] == language)
        return found


@dataclass(frozen=True)
class Estimate:
    """A statistic, a fraction, with its 95 % interval (NaN: none), two-sided p-value of "it is 0", and draws where there are any.

    `conditional`: a single seed stands behind it, so the interval holds for those very models.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    conditional: bool = False
    draws: Array | None = field(default=None, compare=False, repr=False)

    def __neg__(self) -> "Estimate":
        draws = None if self.draws is None else -self.draws
        return Estimate(-self.value, -self.high, -self.low, self.p, self.conditional, draws)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference from a statistic of another model, whose draws are independent of these.

        Both models answered the same examples; as that is not used, the interval is rather too wide than too narrow.
        """
        value, conditional = self.value - other.value, self.conditional or other.conditional
        if self.draws is None or other.draws is None:
            return Estimate(value, conditional=conditional)
        draws = self.draws - other.draws
        low, high = np.quantile(draws, [0.025, 0.975])
        tail = min((draws <= 0).sum(), (draws >= 0).sum())
        return Estimate(value, float(low), float(high), min(1.0, 2 * (int(tail) + 1) / (len(draws) + 1)), conditional, draws)


def contrast(source: str, targets: Iterable[str], over: str | None = None) -> Contrast:
    """The mean over some targets of a source's values, less that of another source."""
    return Contrast(source, significance.mean_over(tuple(targets)), over)


def estimated(evidence: Evidence, contrasts: Sequence[Contrast]) -> list[Estimate]:
    """Each contrast of the values, with an interval where there are predictions behind all of it."""
    if not contrasts:
        return []
    cells = by_cell(evidence.values)
    values = [_value(cells, one) for one in contrasts]
    if evidence.resampled is None:
        return [Estimate(value) for value in values]
    held = set(evidence.resampled.targets)
    asked = [one if held.issuperset(one.targets) else Contrast(one.source, {}, one.over) for one in contrasts]
    found = significance.estimate(evidence.resampled, asked, evidence.denominators)
    return [
        Estimate(value, float(found.low[i]), float(found.high[i]), float(found.p[i]), bool(found.conditional[i]), found.draws[:, i])
        if not math.isnan(value) and not math.isnan(found.low[i])
        else Estimate(value)
        for i, value in enumerate(values)
    ]


def by_cell(matrix: pd.DataFrame) -> dict[tuple[str, str], float]:
    """A matrix by (source, target)."""
    rows, columns = map(str, matrix.index), list(map(str, matrix.columns))
    return {
        (s, t): value
        for s, row in zip(rows, matrix.to_numpy(dtype=float).tolist(), strict=True)
        for t, value in zip(columns, row, strict=True)
    }


def _value(cells: Map[tuple[str, str], float], asked: Contrast) -> float:
    signs = [(asked.source, 1), *([(asked.over, -1)] if asked.over else [])]
    total = sum(sign * weight * cells.get((source, t), math.nan) for source, sign in signs for t, weight in asked.targets.items())
    return round(total, 12) + 0.0  # what cancels is 0, not what floats leave of it


def of_printed(table: Printed, model: str) -> Evidence:
    """The printed table of a model, without intervals."""
    return Evidence(task=table.task, model=model, baseline=table.baseline, groups=table.groups, values=table.matrix(model))


def of_averages(table: Printed, kind: str) -> Evidence:
    """One column of Table 4, HT or MT, which prints averages only: they stand for the single target of a group."""
    gains = {source: row["->All"] for (_, source), row in table.rows.items() if source.split("-")[1] == kind}
    values = pd.DataFrame({"->All": {table.baseline: 0.0, **gains}})
    return Evidence(task=table.task, model="", baseline=table.baseline, groups={"All": ("->All",)}, values=values)
