"""How sure an order of sources is, where the data choose which of them is compared with the others."""

import numpy as np
import pandas as pd
import pytest

from analysis import ranking, significance
from analysis.outcomes import Block, Outcomes
from analysis.significance import Contrast

SOURCES = tuple(f"{language}-O" for language in ("de", "en", "es", "fi", "fr", "it", "ja", "ru", "zh"))
TARGET = ("sw-O",)


def alike(number: int, items: int = 150) -> Outcomes:
    """One sample of nine models that answer equally well, one seed each."""
    generator = np.random.default_rng(number)
    scores = {source: (generator.uniform(size=(1, items, 1)) < 0.6).astype(float) for source in SOURCES}
    return Outcomes("m", TARGET, dict.fromkeys(SOURCES, (0,)), (Block(TARGET, tuple(map(str, range(items))), scores),))


def known(outcomes: Outcomes, *, least: bool = False, resamples: int = 500) -> ranking.Known:
    resampled = significance.resample(outcomes, resamples=resamples)
    matrix = pd.DataFrame(resampled.abilities, index=SOURCES, columns=list(TARGET))
    ranked = ranking.ranking_of(matrix, np.ones(1), least=least, zero_shot=False)
    return ranking.known_of(ranked, matrix, resampled, None)


def test_the_best_of_nine_that_are_alike_is_seldom_told_from_any_other():
    alarms = [np.nanmin(known(alike(number)).p) < 0.05 for number in range(500)]
    assert np.mean(alarms) < 0.06  # with a correction for eight comparisons, as if the best had been named beforehand, it is 0.13


def test_the_p_of_a_pair_is_corrected_for_all_pairs_however_values_are_made():
    outcomes = alike(3)
    pairs = [Contrast(one, {"sw-O": 1.0}, over=other) for i, one in enumerate(SOURCES) for other in SOURCES[i + 1 :]]
    found = significance.estimate(significance.resample(outcomes, resamples=20_000), pairs)
    corrected = significance.holm(found.p)
    for least, near in ((False, 0.02), (True, 0.15)):  # of the least, tails are counted
        told = known(outcomes, least=least, resamples=20_000)
        best = SOURCES[int(np.flatnonzero(np.isnan(told.p))[0])]
        for contrast, p in zip(pairs, corrected, strict=True):
            if best in (contrast.source, contrast.over):
                other = contrast.over if contrast.source == best else contrast.source
                assert told.p[SOURCES.index(other)] == pytest.approx(p, rel=near, abs=1e-9)


def test_p_hardly_depends_on_which_resamples_are_drawn():
    outcomes, contrast = alike(5), [Contrast("de-O", {"sw-O": 1.0}, over="zh-O"), Contrast("fr-O", {"sw-O": 1.0}, over="it-O")]
    found = np.array([significance.estimate(significance.resample(outcomes, seed=seed), contrast).p for seed in range(6)])
    assert (found.std(axis=0) / found.mean(axis=0)).max() < 0.03
