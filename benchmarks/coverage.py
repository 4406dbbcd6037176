"""Whether the intervals hold what they promise: a simulated truth, sampled and judged again and again.

    python -m benchmarks.coverage [--simulations 2000] [--output docs/uncertainty.md]

Three sources are scored on three parallel targets of 300 items each. An answer is right with a probability that is the truth of that
source and target, plus what the item adds (the same for all), plus what the seed adds; half of the luck is the item's, so that the same
item tends to go right or wrong for everyone. `ratio` is the standard deviation between seeds, over that of a mean over the examples.
The truth is known, so one can count how often an interval, of 1,000 draws, holds it. The oracle's width is that of an interval that
knows the true standard error: 2 x 1.96 deviations of the estimates over all simulations. False alarms are counted where all sources are
alike: how often one of two p-values, by Student's t and corrected by Holm, is below 5 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis import significance
from analysis.outcomes import Block, Outcomes
from analysis.significance import Contrast, Estimates

LANGUAGES = ("en", "de", "ru")
ITEMS = 300
RATIOS = (0.0, 0.3, 1.0, 3.0)
SEEDS = (3, 10)
TRUTH = np.array([[0.64, 0.52, 0.50], [0.55, 0.62, 0.54], [0.54, 0.53, 0.60]])
OWN = dict(zip(LANGUAGES, LANGUAGES, strict=True))
ALL = significance.mean_over(LANGUAGES)
ASKED = {
    "cell, relative ability": Contrast("de", {"ru": 1.0}),
    "cell, advantage": Contrast("de", {"ru": 1.0}, over="en"),
    "average, relative ability": Contrast("de", ALL),
    "average, advantage": Contrast("de", ALL, over="en"),
}
EXAMPLE_DEVIATION = np.sqrt(0.25 / ITEMS)  # of a mean over the items, about


@dataclass(frozen=True)
class Judged:
    """One statistic over all simulations: how often its interval held the truth, its mean width, and that of an oracle's."""

    statistic: str
    coverage: float
    width: float
    oracle: float


def outcomes(truth: NDArray[np.float64], ratio: float, seeds: int, generator: np.random.Generator) -> Outcomes:
    """One sample: what each source's seeds answered, (seeds x items x targets) of 0 and 1."""
    item = generator.uniform(-0.1, 0.1, size=(ITEMS, 1))
    luck = generator.uniform(size=(ITEMS, 1))
    scores = {}
    for source, chances in zip(LANGUAGES, truth, strict=True):
        moved = np.clip(generator.normal(size=(seeds, 1, len(LANGUAGES))), -3, 3) * ratio * EXAMPLE_DEVIATION
        own = generator.uniform(size=(seeds, ITEMS, len(LANGUAGES)))
        drawn = np.where(generator.uniform(size=own.shape) < 0.5, luck, own)
        scores[source] = (drawn < chances + item + moved).astype(float)
    held = tuple(range(seeds))
    return Outcomes("simulated", LANGUAGES, dict.fromkeys(LANGUAGES, held), (Block(LANGUAGES, tuple(map(str, range(ITEMS))), scores),))


def simulated(contrasts: Sequence[Contrast], truth: NDArray[np.float64], ratio: float, seeds: int, number: int) -> Iterator[Estimates]:
    """What is found about contrasts of relative abilities, in each of so many samples."""
    for i in range(number):
        sample = outcomes(truth, ratio, seeds, np.random.default_rng([i, seeds, int(10 * ratio)]))
        yield significance.estimate(significance.resample(sample, resamples=1_000, seed=i), contrasts, OWN)


def covered(ratio: float, seeds: int, number: int) -> list[Judged]:
    """How often the intervals hold the truth."""
    factors = significance.coefficients(list(ASKED.values()), LANGUAGES, LANGUAGES)
    true = (factors * (TRUTH / np.diag(TRUTH))).sum(axis=(1, 2))
    found = list(simulated(list(ASKED.values()), TRUTH, ratio, seeds, number))
    low, high, value = (np.stack([getattr(one, name) for one in found]) for name in ("low", "high", "value"))
    held = ((low <= true) & (true <= high)).mean(axis=0)
    oracle = 2 * 1.96 * value.std(axis=0)
    return [Judged(name, *map(float, row)) for name, *row in zip(ASKED, held, (high - low).mean(axis=0), oracle, strict=True)]


def false_alarms(ratio: float, seeds: int, number: int) -> float:
    """How often corrected tests of two sources over a third find any difference where all are alike."""
    alike = np.repeat(TRUTH[:1] * 0 + 0.57, 3, axis=0)
    contrasts = [Contrast(source, ALL, over="en") for source in ("de", "ru")]
    return float(np.mean([np.min(significance.holm(one.p)) < 0.05 for one in simulated(contrasts, alike, ratio, seeds, number)]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How often the intervals hold a simulated truth.")
    parser.add_argument("--simulations", type=int, default=2_000, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there too, after the line that says so")
    given = parser.parse_args()
    lines = ["| ratio | seeds | statistic | coverage | width | oracle's width | false alarms |", "|---|---|---|---|---|---|---|"]
    for ratio in RATIOS:
        for seeds in SEEDS:
            alarms = false_alarms(ratio, seeds, given.simulations)
            for judged in covered(ratio, seeds, given.simulations):
                lines.append(
                    f"| {ratio:g} | {seeds} | {judged.statistic} | {100 * judged.coverage:.1f} % "
                    f"| {100 * judged.width:.2f} | {100 * judged.oracle:.2f} | {100 * alarms:.1f} % |"
                )
                print(lines[-1], flush=True)
    if given.output:
        before = given.output.read_text(encoding="utf-8").split("<!-- coverage -->")[0]
        given.output.write_text(before + "<!-- coverage -->\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
