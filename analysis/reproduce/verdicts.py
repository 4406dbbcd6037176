"""Whether statistics are above 0, and how sure that is: all of them, or any.

With intervals it holds if every one that it needs is above 0 by its own 95 % interval, and does not hold if one is below 0 after Holm's
correction for how many there are; else one cannot tell. Without predictions there are no intervals, and figures alone decide, which
says nothing about chance.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from analysis import significance
from analysis.blocks import ALPHA
from analysis.reproduce.evidence import Estimate

HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "cannot tell", "not run"


@dataclass(frozen=True)
class Finding:
    """A verdict, the statistic that decides it or comes nearest, and what that is of; `alone`: by figures without intervals."""

    verdict: str
    by: str = ""
    estimate: Estimate = field(default_factory=lambda: Estimate(math.nan))
    alone: bool = False

    def denied(self) -> "Finding":
        """The verdict on the opposite claim."""
        return replace(self, verdict={HOLDS: FAILS, FAILS: HOLDS}.get(self.verdict, self.verdict))


def every(found: Mapping[str, Estimate]) -> Finding:
    """Whether all are above 0."""
    return _all(found, alone=lambda value: value > 0)


def some(found: Mapping[str, Estimate]) -> Finding:
    """Whether any is above 0, which is not so if all are below."""
    below = _all({by: -one for by, one in found.items()}, alone=lambda value: value >= 0).denied()
    return replace(below, estimate=-below.estimate)


def _all(found: Mapping[str, Estimate], alone: Callable[[float], bool]) -> Finding:
    """Whether all are above 0, or as `alone` says of figures; a hole leaves it open, unless another one is below."""
    there = {by: one for by, one in found.items() if not math.isnan(one.value)}
    if not there:
        return Finding(NOT_RUN)
    hole = next((by for by in found if by not in there), "")
    bare = any(math.isnan(one.low) for one in there.values())
    if bare:
        weakest = min(there, key=lambda by: there[by].value)
        below, above = [by for by, one in there.items() if not alone(one.value)], all(alone(one.value) for one in there.values())
    else:
        weakest = min(there, key=lambda by: there[by].low)
        corrected = dict(zip(there, significance.holm(np.array([one.p for one in there.values()])), strict=True))
        below = [by for by, one in there.items() if one.value < 0 and corrected[by] < ALPHA]
        above = all(one.low > 0 for one in there.values())
    if below:
        decisive = min(below, key=lambda by: there[by].value)
        return Finding(FAILS, decisive, there[decisive], bare)
    if hole:
        return Finding(OPEN, f"{hole}: a hole", there[weakest], bare)
    return Finding(HOLDS if above else OPEN, weakest, there[weakest], bare)


def side(gain: Estimate) -> bool | None:
    """Whether one is above 0; None if it cannot be told."""
    if math.isnan(gain.low):
        return None if math.isnan(gain.value) else gain.value > 0
    return None if gain.low <= 0 <= gain.high else gain.low > 0
