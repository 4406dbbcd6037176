"""Run: pytest tests/test_transfer.py. The equations against loops over dictionaries, and their own laws."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import transfer
from xfer_ray.errors import DataError

LANGUAGES = ("en", "de", "sw", "zh")
TARGETS = ("en-O", "de-HT-en", "sw-HT-en", "zh-HT-en")
SOURCES = ("en-O", "de-MT-en", "sw-MT-en", "zh-MT-en")
OWN = dict(zip(TARGETS, SOURCES, strict=True))
GROUPS = {"LH": ("en-O", "de-HT-en"), "All": TARGETS}
fractions = st.floats(0.05, 1.0)
abilities = st.lists(fractions, min_size=16, max_size=16).map(lambda cells: np.reshape(cells, (4, 4)))
quick = settings(deadline=None, max_examples=40)


def matrix(cells):
    return pd.DataFrame(cells, index=SOURCES, columns=TARGETS, dtype=float)


def in_a_loop(cells):
    """Eq. 1 to 4 over dictionaries: Z, advantage, and the means of advantages."""
    e = {(s, t): cells[i][j] for i, s in enumerate(SOURCES) for j, t in enumerate(TARGETS)}
    z = {(s, t): value / e[OWN[t], t] for (s, t), value in e.items()}
    gain = {(s, t): value - z["en-O", t] for (s, t), value in z.items()}
    means = {
        (s, g): sum(z[s, t] for t in members) / len(members) - sum(z["en-O", t] for t in members) / len(members)
        for s in SOURCES
        for g, members in GROUPS.items()
    }
    return z, gain, means


@quick
@given(abilities)
def test_the_equations_equal_loops_over_dictionaries(cells):
    z, gain, means = in_a_loop(cells)
    relative = transfer.relative_ability(matrix(cells), OWN)
    advantages = transfer.advantage(relative, "en-O")
    averages = transfer.average(advantages, GROUPS)
    for s in SOURCES:
        for t in TARGETS:
            assert relative.at[s, t] == pytest.approx(z[s, t])
            assert advantages.at[s, t] == pytest.approx(gain[s, t], abs=1e-12)
        for g in GROUPS:
            assert averages.at[s, g] == pytest.approx(means[s, g], abs=1e-12)


@quick
@given(abilities)
def test_the_model_of_a_language_has_its_whole_ability_there(cells):
    relative = transfer.relative_ability(matrix(cells), OWN)
    assert all(relative.at[source, target] == pytest.approx(1) for target, source in OWN.items())


@quick
@given(abilities, st.integers(0, 3), st.floats(0.1, 1.0))
def test_a_target_that_gets_uniformly_harder_keeps_its_relative_abilities(cells, column, factor):
    harder = cells.copy()
    harder[:, column] *= factor
    pd.testing.assert_frame_equal(transfer.relative_ability(matrix(harder), OWN), transfer.relative_ability(matrix(cells), OWN))


@quick
@given(abilities)
def test_self_transfer_cancels_in_equation_4(cells):
    z, _, _ = in_a_loop(cells)
    advantage = transfer.average(transfer.advantage(transfer.relative_ability(matrix(cells), OWN), "en-O"), {"All": TARGETS})
    for source in SOURCES[1:]:
        theirs = sum(z[source, t] for t in TARGETS if OWN[t] != source)  # no diagonal in either sum
        english = sum(z["en-O", t] for t in TARGETS if OWN[t] != "en-O")
        assert advantage.at[source, "All"] == pytest.approx((theirs - english) / len(TARGETS), abs=1e-12)


@quick
@given(abilities, st.integers(0, 3), st.integers(0, 3))
def test_no_mean_is_taken_over_a_hole(cells, row, column):
    holed = cells.copy()
    holed[row, column] = np.nan
    averages = transfer.average(matrix(holed), GROUPS)
    for s in SOURCES:
        for g, members in GROUPS.items():
            assert math.isnan(averages.at[s, g]) == (s == SOURCES[row] and TARGETS[column] in members)


def test_a_missing_denominator_is_a_column_of_holes():
    relative = transfer.relative_ability(matrix(np.full((4, 4), 0.5)), {t: s for t, s in OWN.items() if t != "sw-HT-en"})
    assert relative["sw-HT-en"].isna().all()
    assert relative.drop(columns="sw-HT-en").notna().all(axis=None)


def test_a_denominator_of_zero_is_refused():
    cells = np.full((4, 4), 0.5)
    cells[2, 2] = 0
    with pytest.raises(DataError) as error:
        transfer.relative_ability(matrix(cells), OWN)
    assert str(error.value) == (
        "the denominator of column sw-HT-en is 0: the model fine-tuned on sw-MT-en scores nothing there, "
        "so no relative ability exists; `xfer-ray tables --values ability` shows the scores themselves"
    )


def test_seeds_are_averaged_and_counted():
    scores = pd.DataFrame(
        [("en-O", "de-HT-en", 0, 0.4), ("en-O", "de-HT-en", 1, 0.6), ("de-MT-en", "de-HT-en", 0, 0.7), ("en-O", "en-O", 0, 0.9)],
        columns=["source", "target", "seed", "score"],
    )
    assert transfer.ability(scores).at["en-O", "de-HT-en"] == pytest.approx(0.5)
    assert transfer.runs(scores).at["en-O", "de-HT-en"] == 2
    assert math.isnan(transfer.ability(scores).at["de-MT-en", "en-O"])
    assert transfer.runs(scores).at["de-MT-en", "en-O"] == 0


def test_common_targets_are_zero_shot_for_the_source_and_its_baseline():
    cells = [[1, 0.8, 0.6, 0.5], [0.9, 1, 0.7, 0.7], [0, 0, 0, 0], [0, 0, 0, 0]]
    averages = transfer.common_target_advantage(matrix(cells), "en-O", GROUPS)
    assert averages.at["de-MT-en", "All"] == pytest.approx((0.1 + 0.2) / 2)  # sw and zh only
    assert math.isnan(averages.at["de-MT-en", "LH"])  # en and de are their own
    assert transfer.common_targets("en-MT-de-MT-en", "en-O", TARGETS) == TARGETS[1:]


@quick
@given(st.lists(fractions, min_size=4, max_size=4), st.lists(fractions, min_size=4, max_size=4), abilities)
def test_source_effects_find_what_was_put_in_and_ignore_the_diagonal(sources, targets, noise):
    cells = np.add.outer(sources, targets)
    np.fill_diagonal(cells, np.diag(noise))
    effects = transfer.source_effects(matrix(cells))
    assert list(effects.index) == list(SOURCES)
    assert effects.to_numpy() == pytest.approx(np.array(sources) - np.mean(sources), abs=1e-9)


def test_source_effects_are_holes_where_cells_do_not_connect_the_sources():
    cells = np.full((4, 4), np.nan)
    cells[0, 1] = cells[1, 0] = cells[2, 3] = cells[3, 2] = 0.5
    assert transfer.source_effects(matrix(cells)).isna().all()


def test_the_transfer_gap_is_home_minus_target():
    cells = np.arange(16).reshape(4, 4) / 16
    gap = transfer.transfer_gap(matrix(cells))
    assert gap.at["de-MT-en", "zh-HT-en"] == pytest.approx((5 - 7) / 16)
    assert gap.at["sw-MT-en", "sw-HT-en"] == 0
    assert transfer.transfer_gap(matrix(cells).drop(columns="de-HT-en")).loc["de-MT-en"].isna().all()
