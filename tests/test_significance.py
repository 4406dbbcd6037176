"""Intervals and tests: against textbook formulas, and against a truth that is known."""

import itertools

import numpy as np
import pytest
import scipy.stats

from analysis.outcomes import Block, Outcomes
from analysis.significance import Contrast, estimate, holm, mean_over, resample
from benchmarks import coverage

TARGETS = ("en-O", "de-HT-en")
OWN = {"en-O": "en-O", "de-HT-en": "de-MT-en"}
ITEMS = 400


def scores(seed: int, *, seeds: int = 3, items: int = ITEMS, seed_deviation: float = 0.05) -> dict[str, np.ndarray]:
    """0 and 1, (seeds, items, targets) for each of three sources; items are shared."""
    rng = np.random.default_rng(seed)
    luck = rng.uniform(size=(items, 1))
    found = {}
    for source, truth in {"en-O": (0.8, 0.6), "de-MT-en": (0.65, 0.75), "ru-MT-en": (0.6, 0.66)}.items():
        moved = rng.normal(0, seed_deviation, size=(seeds, 1, 2))
        own = rng.uniform(size=(seeds, items, 2))
        found[source] = (np.where(rng.uniform(size=own.shape) < 0.6, luck, own) < np.array(truth) + moved).astype(float)
    return found


def outcomes(found: dict[str, np.ndarray], targets=TARGETS, *, parallel: bool = True) -> Outcomes:
    seeds = {source: tuple(range(len(held))) for source, held in found.items()}
    items = tuple(map(str, range(next(iter(found.values())).shape[1])))
    if parallel:
        blocks = (Block(targets, items, found),)
    else:
        blocks = tuple(Block((t,), items, {s: held[:, :, [i]] for s, held in found.items()}) for i, t in enumerate(targets))
    return Outcomes("m", targets, seeds, blocks)


def cell(source: str, target: str, over: str | None = None) -> Contrast:
    return Contrast(source, {target: 1.0}, over)


def test_values_are_ratios_of_means_over_seeds_and_examples():
    found = scores(1)
    told = estimate(resample(outcomes(found), resamples=200), [cell("ru-MT-en", "de-HT-en"), cell("ru-MT-en", "de-HT-en", "en-O")], OWN)
    ru, de, en = (found[s][:, :, 1].mean() for s in ("ru-MT-en", "de-MT-en", "en-O"))
    assert told.value == pytest.approx([ru / de, (ru - en) / de], abs=1e-12)
    unnormalized = estimate(resample(outcomes(found), resamples=200), [Contrast("ru-MT-en", mean_over(TARGETS), "en-O")])
    assert unnormalized.value == pytest.approx([found["ru-MT-en"].mean() - found["en-O"].mean()], abs=1e-12)


def test_with_one_seed_the_deviation_is_that_of_the_delta_method():
    found = scores(2, seeds=1)
    told = estimate(resample(outcomes(found)), [cell("ru-MT-en", "de-HT-en", "en-O")], OWN)
    ru, de, en = (found[s][0, :, 1] for s in ("ru-MT-en", "de-MT-en", "en-O"))
    pull = (ru - en) / de.mean() - (ru.mean() - en.mean()) / de.mean() ** 2 * de  # the influence of each item
    deviation = pull.std() / np.sqrt(ITEMS)
    assert told.draws[:, 0].std() == pytest.approx(deviation, rel=0.03)
    assert told.high[0] - told.low[0] == pytest.approx(2 * 1.96 * deviation, rel=0.04)
    assert told.conditional.tolist() == [True]


def test_with_several_seeds_the_variance_is_that_of_a_two_way_table():
    found = scores(3, seeds=12, seed_deviation=0.08)
    told = estimate(resample(outcomes(found)), [cell("ru-MT-en", "de-HT-en")])
    x = found["ru-MT-en"][:, :, 1]
    k, n = x.shape
    of_seeds, of_items, all_of_them = x.mean(axis=1), x.mean(axis=0), x.mean()
    interaction = sum((x[i, j] - of_seeds[i] - of_items[j] + all_of_them) ** 2 for i, j in itertools.product(range(k), range(n))) / (
        (k - 1) * (n - 1)
    )
    variance = of_items.var() / n + of_seeds.var(ddof=1) / k - interaction / (n * k)
    low, high = told.value[0] - told.low[0], told.high[0] - told.value[0]
    assert (low + high) / 2 == pytest.approx(2.14 * np.sqrt(variance), rel=0.08)  # t with 11 to 15 degrees of freedom
    assert not told.conditional[0]


def test_what_does_not_depend_on_chance_has_no_width():
    told = estimate(resample(outcomes(scores(4)), resamples=500), [cell("de-MT-en", "de-HT-en"), cell("en-O", "de-HT-en", "en-O")], OWN)
    assert told.value.tolist() == [1.0, 0.0]
    assert told.low.tolist() == told.high.tolist() == [1.0, 0.0]
    assert told.p[1] == 1.0


def test_a_single_seed_elsewhere_does_not_make_a_contrast_conditional():
    found = scores(5)
    found["ru-MT-en"] = found["ru-MT-en"][:1]
    told = estimate(resample(outcomes(found), resamples=100), [cell("en-O", "de-HT-en"), cell("ru-MT-en", "de-HT-en")], OWN)
    assert told.conditional.tolist() == [False, True]


def test_the_same_seed_gives_the_same_bytes_whatever_is_resampled_beside_it():
    found = scores(6)
    asked = [cell("en-O", "de-HT-en")]
    once, twice, other = (estimate(resample(outcomes(found), seed=seed), asked) for seed in (7, 7, 8))
    assert once.draws.tobytes() == twice.draws.tobytes() != other.draws.tobytes()
    fewer = {source: found[source] for source in ("de-MT-en", "en-O")}
    assert estimate(resample(outcomes(fewer), seed=7), asked).draws == pytest.approx(once.draws, abs=1e-5)


def test_paired_differences_are_surer_than_unpaired_ones():
    held = resample(outcomes(scores(9, seed_deviation=0.0)))
    paired = estimate(held, [cell("ru-MT-en", "de-HT-en", "en-O")])
    apart = [resample(outcomes({s: scores(9, seed_deviation=0.0)[s]}), seed=seed) for seed, s in enumerate(("ru-MT-en", "en-O"))]
    one, other = (estimate(of, [cell(of.sources[0], "de-HT-en")]) for of in apart)
    unpaired = np.quantile(one.draws - other.draws, [0.025, 0.975])
    assert paired.high[0] - paired.low[0] < 0.85 * (unpaired[1] - unpaired[0])


def test_test_sets_that_are_not_parallel_are_drawn_apart():
    alike = scores(10, seeds=1)
    alike = {source: np.repeat(held[:, :, :1], 2, axis=2) for source, held in alike.items()}  # the second target is the first
    asked = [Contrast("ru-MT-en", {"en-O": 1.0, "de-HT-en": -1.0})]
    together, apart = (estimate(resample(outcomes(alike, parallel=parallel)), asked) for parallel in (True, False))
    assert together.low[0] == together.high[0] == 0.0
    assert apart.high[0] - apart.low[0] > 0.05


def test_holes_stay_holes():
    found = scores(11)
    found["ru-MT-en"][:, :, 1] = np.nan
    asked = [
        cell("ru-MT-en", "de-HT-en"), cell("ru-MT-en", "en-O"), Contrast("ru-MT-en", mean_over(TARGETS), "en-O"),
        cell("tr-MT-en", "en-O"), Contrast("en-O", {}), cell("en-O", "de-HT-en", "tr-MT-en"),
    ]  # fmt: skip
    told = estimate(resample(outcomes(found), resamples=100), asked)
    for numbers in (told.value, told.low, told.high, told.p, told.detectable):
        assert np.isnan(numbers).tolist() == [True, False, True, True, True, True]
    lost = estimate(
        resample(outcomes(scores(11)), resamples=100), [cell("ru-MT-en", "de-HT-en"), cell("ru-MT-en", "en-O")], {"en-O": "en-O"}
    )
    assert np.isnan(lost.value).tolist() == [True, False]


def test_a_target_that_lacks_some_items_is_averaged_over_its_own():
    found = scores(12)
    for held in found.values():
        held[:, : ITEMS // 2, 1] = np.nan
    told = estimate(resample(outcomes(found)), [cell("ru-MT-en", "en-O"), cell("ru-MT-en", "de-HT-en")])
    assert told.value[1] == pytest.approx(found["ru-MT-en"][:, ITEMS // 2 :, 1].mean(), abs=1e-12)
    alone = estimate(resample(outcomes({s: held[:, ITEMS // 2 :] for s, held in found.items()})), [cell("ru-MT-en", "de-HT-en")])
    assert told.high[1] - told.low[1] == pytest.approx(alone.high[0] - alone.low[0], rel=0.1)


def test_models_that_answer_alike_do_not_differ():
    found = scores(13)
    found["ru-MT-en"] = found["en-O"].copy()
    told = estimate(resample(outcomes(found, parallel=False)), [Contrast("ru-MT-en", mean_over(TARGETS), "en-O")], OWN)
    assert told.value[0] == pytest.approx(0, abs=1e-12)
    alone = {source: held[:1] for source, held in found.items()}
    told = estimate(resample(outcomes(alone)), [Contrast("ru-MT-en", mean_over(TARGETS), "en-O")], OWN)
    assert (told.low[0], told.high[0], told.p[0]) == (0.0, 0.0, 1.0)


def test_a_denominator_that_may_be_0_bounds_nothing():
    found = scores(14, items=6)
    found["de-MT-en"][:] = 0.0
    found["de-MT-en"][:, 0] = 1.0
    told = estimate(resample(outcomes(found)), [cell("ru-MT-en", "de-HT-en"), cell("ru-MT-en", "en-O")], OWN)
    assert np.isnan(told.low).tolist() == [True, False]


def paired(differences: np.ndarray) -> Outcomes:
    """Two models, one seed, whose answers to one target differ by this much in each example."""
    base = np.full((1, len(differences), 1), 0.5)
    return outcomes({"en-O": base, "de-MT-en": base + differences[None, :, None]}, ("en-O",))


def test_with_one_seed_p_is_that_of_the_paired_t_test_however_few_examples_there_are():
    for items in (10, 200):
        differences = np.random.default_rng(items).normal(0.5 / np.sqrt(items), 0.3, size=items)
        told = estimate(resample(paired(differences), resamples=40_000), [cell("de-MT-en", "en-O", "en-O")])
        expected = scipy.stats.ttest_1samp(differences, 0)
        assert told.p[0] == pytest.approx(expected.pvalue, rel=0.05)
        half = expected.confidence_interval().high - differences.mean()
        assert (told.high[0] - told.low[0]) / 2 == pytest.approx(half, rel=0.04)


def test_ten_examples_are_told_apart_no_more_often_than_they_should_be():
    """Two models that are equally good and answer half of the examples alike, over all that can come of it."""
    level = 0.0
    for better, worse in [(b, w) for b in range(11) for w in range(11 - b) if b != w]:
        differences = np.repeat([1.0, -1.0, 0.0], [better, worse, 10 - better - worse])
        told = estimate(resample(paired(differences), resamples=20_000), [cell("de-MT-en", "en-O", "en-O")])
        level += scipy.stats.multinomial.pmf([better, worse, 10 - better - worse], 10, [0.25, 0.25, 0.5]) * (told.p[0] < 0.05)
    assert level < 0.055  # by the normal distribution it is 0.096


@pytest.mark.parametrize(("answers", "p"), [(4, 0.046), (5, 0.025), (6, 0.014)])
def test_a_handful_of_answers_all_one_way_is_rather_too_sure(answers, p):
    """As docs/uncertainty.md says: twice to thrice as sure as a sign test, however many examples there are."""
    told = estimate(resample(paired(np.arange(2000) < answers)), [cell("de-MT-en", "en-O", "en-O")])
    assert told.p[0] == pytest.approx(p, abs=0.004)
    assert 2 < scipy.stats.binomtest(answers, answers).pvalue / told.p[0] < 4


def test_what_does_not_vary_at_all_is_as_sure_as_a_sign_test_of_its_examples():
    asked = [cell("de-MT-en", "en-O", "en-O")]
    assert estimate(resample(paired(np.full(10, 0.25)), resamples=50), asked).p[0] == pytest.approx(2 / 2**10)
    seeds_alone = outcomes({"en-O": np.full((3, 1, 1), 0.5), "de-MT-en": np.full((3, 1, 1), 0.75)}, ("en-O",))
    told = estimate(resample(seeds_alone, resamples=50), asked)
    assert (told.value[0], told.p[0]) == (0.25, 1.0)


def test_a_denominator_that_may_come_near_0_does_not_hide_a_difference():
    right = {"en-O": 60, "ru-MT-en": 90, "de-MT-en": 12}  # of 100, and the last one is the denominator
    found = {source: (np.arange(100) < many)[None, :, None].astype(float) for source, many in right.items()}
    told = estimate(resample(outcomes(found, ("de-HT-en",))), [cell("ru-MT-en", "de-HT-en", "en-O")], OWN)
    assert told.low[0] > 0
    assert told.p[0] < 0.01  # by the variance of the resampled ratios it is 0.04


def test_no_limit_of_an_ability_is_below_0_and_differences_have_both_signs():
    found = {"en-O": np.zeros((1, 40, 1)), "de-MT-en": (np.arange(40) < 2)[None, :, None].astype(float)}
    told = estimate(resample(outcomes(found, ("en-O",))), [cell("de-MT-en", "en-O"), cell("de-MT-en", "en-O", "en-O")])
    assert told.low[0] == 0.0 > told.low[1]


def test_holm_steps_down():
    assert holm(np.array([0.01, 0.04, 0.03, np.nan])) == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_a_difference_of_the_detectable_size_is_found_four_times_out_of_five():
    found, sizes = [], []
    for i in range(500):
        rng = np.random.default_rng(i)
        base = rng.uniform(size=(1, 100, 1))
        pair = {"en-O": base, "de-MT-en": base + rng.normal(0.056, 0.2, size=base.shape)}  # 0.056 = 2.8 x 0.2 / sqrt(100)
        told = estimate(resample(outcomes(pair, ("en-O",)), resamples=400, seed=i), [cell("de-MT-en", "en-O", "en-O")])
        found.append(told.p[0] < 0.05)
        sizes.append(told.detectable[0])
    assert np.mean(sizes) == pytest.approx(0.056, rel=0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_intervals_hold_the_truth_and_tests_their_level_on_a_small_grid():
    judged = coverage.covered(1.0, 3, 250)
    assert all(0.92 <= one.coverage <= 1 for one in judged)
    assert all(one.oracle < one.width < 3 * one.oracle for one in judged)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", coverage.RATIOS)
@pytest.mark.parametrize("seeds", coverage.SEEDS)
def test_intervals_hold_the_truth_and_tests_their_level(ratio, seeds):
    for one in coverage.covered(ratio, seeds, 2_000):  # whose standard error is 0.5 points
        assert 0.93 <= one.coverage <= (0.97 if seeds == 10 else 1), one
    assert coverage.false_alarms(ratio, seeds, 500) <= 0.05 + 0.0195  # two standard errors of a share of 5 %
