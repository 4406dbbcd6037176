"""Intervals and tests for the rows of a table, from one model's resampled abilities."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analysis import significance, transfer
from analysis.blocks import Block, Interval, Row
from analysis.significance import Contrast, Estimates, Resampled, mean_over
from analysis.transfer import Groups

Own = Mapping[str, str] | None
DIFFERENCES = ("advantage", "ability-difference")


def judged(block: Block, targets: Sequence[str], groups: Groups, resampled: Resampled, *, own: Own = None, common: bool = False) -> Block:
    """The block with an interval for each cell that has a value.

    The sources of a column that are compared with the same baseline are one family of tests. `own`: the denominators, target -> source,
    where values are relative. `common`: averages leave out the targets that are not zero-shot for both.
    """
    columns = [*((target,) for target in targets), *map(tuple, groups.values())]
    contrasts = [
        _gap(row.source, column, targets) if row.values == "gap" else _contrast(row, block.baseline, column, common=common)
        for row in block.rows
        for column in columns
    ]
    relative = {row.values for row in block.rows} <= {"relative", "advantage"}
    found = significance.estimate(resampled, contrasts, own if relative else None)
    compared = np.array([contrast.over is not None for contrast in contrasts])
    p = np.where(compared, found.p, np.nan).reshape(len(block.rows), len(columns))
    corrected = np.apply_along_axis(significance.holm, 0, p).ravel()
    told = [interval_of(found, corrected, i) for i in range(len(contrasts))]
    by_row = [told[i : i + len(columns)] for i in range(0, len(told), len(columns))]
    return replace(block, rows=tuple(_with(row, intervals) for row, intervals in zip(block.rows, by_row, strict=True)))


def unbounded(model: str, resampled: Resampled, own: Iterable[Mapping[str, str]]) -> list[str]:
    """A note on the targets where a ratio has no bounds, for its denominator may be 0; `own`: the denominators that are in use."""
    targets = dict.fromkeys(target for each in own for target in significance.unbounded(resampled, each))
    of = f"no intervals of {model} on {', '.join(targets)}"
    return [f"{of}: among so few right answers a resample may have none to divide by"] * bool(targets)


def _contrast(row: Row, over: str | None, targets: Sequence[str], *, common: bool) -> Contrast:
    """The mean over targets, less the baseline's where the row shows differences."""
    if common and over is not None:
        targets = transfer.common_targets(row.source, over, targets)
    return Contrast(row.source, mean_over(targets), over if row.values in DIFFERENCES and row.source != over else None)


def _gap(source: str, column: Sequence[str], targets: Sequence[str]) -> Contrast:
    """At home minus the mean over targets, as `transfer.transfer_gap`."""
    weights = {target: -weight for target, weight in mean_over(column).items()}
    home = [target for target in targets if transfer.at_home(source, target)]
    return Contrast(source, weights | {home[0]: 1 + weights.get(home[0], 0)} if len(home) == 1 else {})


def interval_of(found: Estimates, p: NDArray[np.floating], i: int) -> Interval | None:
    """What is known of one of the estimates, with its corrected `p`; None of a hole."""
    if np.isnan(found.value[i]):
        return None
    low, high, corrected, detectable = (float(of[i]) for of in (found.low, found.high, p, found.detectable))
    return Interval(low, high, corrected, detectable, conditional=bool(found.conditional[i]))


def _with(row: Row, intervals: Sequence[Interval | None]) -> Row:
    return replace(row, intervals=tuple(None if np.isnan(cell) else told for cell, told in zip(row.cells, intervals, strict=True)))
