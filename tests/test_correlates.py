"""Run: pytest tests/test_correlates.py. What advantages go along with: the arithmetic, its size on null data, and what is said."""

import json
import math
import shutil
import subprocess
import sys
from itertools import permutations

import committed
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import scored
from typer.testing import CliRunner

from analysis import correlates, transfer, typology
from analysis.correlates import factors, mantel
from analysis.correlates.factors import Factor
from analysis.recommend import unseen
from xfer_ray import commit, planfile
from xfer_ray.cli import app
from xfer_ray.errors import SetupError
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial
from xfer_ray.results import Prediction, Results
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage

LANGUAGES = ("en", "de", "ru", "sw", "tr", "zh", "hi")
uriel = pytest.mark.skipif(not typology.installed(), reason="the extra `typology` is not installed")


def random_matrix(rng, languages=LANGUAGES) -> pd.DataFrame:
    """Source, target and pair effects; no value at home."""
    many = len(languages)
    cells = rng.normal(size=(many, 1)) + rng.normal(size=(1, many)) + rng.normal(size=(many, many))
    np.fill_diagonal(cells, np.nan)
    return pd.DataFrame(cells, index=[f"{s}-O" for s in languages], columns=[f"{t}-O" for t in languages])


def random_distances(rng, languages=LANGUAGES) -> pd.DataFrame:
    points = rng.normal(size=(len(languages), 2))
    return pd.DataFrame(np.linalg.norm(points[:, None] - points, axis=2), index=languages, columns=languages)


# ------------------------------------------------------------------------------ arithmetic


def test_effects_are_the_source_effects_and_the_rest_has_no_means():
    matrix = random_matrix(np.random.default_rng(0))
    parts = mantel.split(matrix)
    assert dict(parts.sources) == pytest.approx(dict(transfer.source_effects(matrix)))
    assert parts.rest.sum(axis=0).tolist() == pytest.approx([0] * 7, abs=1e-9)
    assert parts.rest.sum(axis=1).tolist() == pytest.approx([0] * 7, abs=1e-9)
    apart = matrix.where(np.array([[(i < 3) == (j < 3) for j in range(7)] for i in range(7)]))
    assert mantel.split(apart).sources.isna().all(), "two groups of sources without a common target do not compare"


def test_a_partial_correlation_equals_one_by_regression():
    rng = np.random.default_rng(1)
    matrix, distances = random_matrix(rng), random_distances(rng)
    (found,), lacking = mantel.correlations(matrix, [Factor("distance", "pair", distances)], "advantage", resamples=50)
    cells = [(i, j) for i in range(7) for j in range(7) if i != j]
    design = np.array([[*(i == k for k in range(7)), *(j == k for k in range(7))] for i, j in cells], dtype=float)
    left = [
        values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        for values in (np.array([table.iloc[cell] for cell in cells]) for table in (matrix, distances))
    ]
    assert found.r == pytest.approx(np.corrcoef(*left)[0, 1])
    assert (found.languages, lacking) == (7, [])


@pytest.mark.parametrize("level", ["source", "target"])
def test_effects_go_along_with_facts_by_rank(level):
    rng = np.random.default_rng(6)
    matrix, facts = random_matrix(rng), pd.Series(rng.normal(size=7), index=LANGUAGES)
    (found,), _ = mantel.correlations(matrix, [Factor("size", level, facts)], "gap", resamples=1)
    effects = transfer.source_effects(matrix if level == "source" else matrix.T)
    assert found.r == pytest.approx(scipy.stats.spearmanr(effects.to_numpy(), facts.to_numpy()).statistic)


def test_the_p_value_equals_a_loop_over_orders():
    """Five languages have 120 orders; as many random ones come close to all of them."""
    rng = np.random.default_rng(3)
    languages = LANGUAGES[:5]
    matrix, distances = random_matrix(rng, languages), random_distances(rng, languages)
    rest = mantel.split(matrix).rest.to_numpy()
    off = ~np.eye(5, dtype=bool)

    def correlation(table):
        frame = pd.DataFrame(np.where(off, table, np.nan), index=matrix.index, columns=matrix.columns)
        return np.corrcoef(mantel.split(frame).rest.to_numpy()[off], rest[off])[0, 1]

    all_orders = [abs(correlation(distances.to_numpy()[np.ix_(order, order)])) for order in permutations(range(5))]
    exact = np.mean(np.array(all_orders) >= all_orders[0] - 1e-12)
    (found,), _ = mantel.correlations(matrix, [Factor("distance", "pair", distances)], "advantage", resamples=4000)
    assert found.p == pytest.approx(exact, abs=0.03)


def test_on_null_data_one_in_twenty_is_below_five_percent():
    rng = np.random.default_rng(11)
    pairs, sources = [], []
    for _ in range(300):
        matrix = random_matrix(rng)
        facts = [
            Factor("distance", "pair", random_distances(rng)),
            Factor("size", "source", pd.Series(rng.normal(size=7), index=LANGUAGES)),
        ]
        (pair, source), _ = mantel.correlations(matrix, facts, "advantage", resamples=199)
        pairs.append(pair.p <= 0.05)
        sources.append(source.p <= 0.05)
    assert 0.02 < np.mean(pairs) < 0.085  # 5 % give or take 2.8 standard errors of 300 simulations
    assert 0.02 < np.mean(sources) < 0.085


def test_a_plain_test_over_cells_would_err_more_often():
    """Why languages are exchanged: facts of a source, repeated over its cells, look like many observations."""
    rng = np.random.default_rng(12)
    plain = 0
    for _ in range(200):
        matrix = random_matrix(rng)
        fact = np.repeat(rng.normal(size=(7, 1)), 7, axis=1)
        off = ~np.eye(7, dtype=bool)
        r = np.corrcoef(matrix.to_numpy()[off], fact[off])[0, 1]
        plain += abs(r) * math.sqrt(40 / (1 - r**2)) > 2.02  # Student's t with 40 degrees of freedom
    assert plain / 200 > 0.1


@pytest.mark.parametrize("level", ["pair", "source", "target"])
def test_limits_are_those_of_everything_done_again_without_each_language(level):
    """With a second source in German and one target that is no source: both go with their language, or stay."""
    rng = np.random.default_rng(14)
    matrix = random_matrix(rng).drop(index="hi-O")
    matrix.loc["de-MT-en"] = matrix.loc["de-O"] + rng.normal(size=7)
    facts = random_distances(rng) if level == "pair" else pd.Series(rng.normal(size=7), index=LANGUAGES)
    counted = [language for language in LANGUAGES if (level, language) != ("source", "hi")]

    def found(table: pd.DataFrame) -> mantel.Correlation:
        return mantel.correlations(table, [Factor("fact", level, facts)], "advantage", resamples=1)[0][0]

    everything = found(matrix)
    without = [matrix[[not name.startswith(gone) for name in matrix.index]].drop(columns=f"{gone}-O") for gone in counted]
    left = np.array([math.atanh(found(table).r) for table in without])
    error = math.sqrt((len(counted) - 1) * left.var())
    limits = [math.tanh(math.atanh(everything.r) + sign * scipy.stats.t.ppf(0.975, len(counted) - 1) * error) for sign in (-1, 1)]
    assert everything.languages == len(counted)
    assert [everything.low, everything.high] == pytest.approx(limits, abs=1e-9)


def traits(rng, many, *, related) -> np.ndarray:
    """Two traits of each language, (2 x languages x 2); of related ones mostly the family's, whose largest has nearly half of all."""
    if not related:
        return rng.normal(size=(2, many, 2))
    families = np.random.default_rng(5).normal(scale=1.5, size=(2, 8, 2))
    drawn = rng.choice(8, size=many, p=(0.45, 0.12, 0.1, 0.08, 0.07, 0.06, 0.06, 0.06))
    return families[:, drawn] + rng.normal(scale=0.4, size=(2, many, 2))


def of_random_languages(rng, many, *, related) -> tuple[np.ndarray, np.ndarray]:
    """A measure that the distance in one trait makes, and that in another; and the distance in the first."""
    points = traits(rng, many, related=related)
    distance, other = np.linalg.norm(points[:, :, None] - points[:, None], axis=3)
    return 0.7 * distance + other + rng.normal(scale=0.3, size=(many, many)), distance


def population_correlation(*, related) -> float:
    """Of so many languages that leaving out the diagonal makes no difference."""
    tables = of_random_languages(np.random.default_rng(0), 1500, related=related)
    left = [table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) for table in tables]
    return float(np.corrcoef(*map(np.ravel, left))[0, 1])


def share_of_limits_that_hold_the_population(languages: int, number: int, *, related: bool) -> float:
    truth, names, held = population_correlation(related=related), [f"q{letter}a" for letter in "abcdefghijklmn"[:languages]], []
    for i in range(number):
        rng = np.random.default_rng([i, languages])
        measure, distance = of_random_languages(rng, languages, related=related)
        matrix = random_matrix(rng, names)
        matrix = matrix.where(matrix.isna(), measure + 3 * rng.normal(size=(languages, 1)) + rng.normal(size=(1, languages)))
        fact = Factor("distance", "pair", pd.DataFrame(distance, index=names, columns=names))
        (found,), _ = mantel.correlations(matrix, [fact], "advantage", resamples=1)
        held.append(found.low <= truth <= found.high)
    return float(np.mean(held))


def test_limits_hold_the_correlation_of_the_population():
    assert population_correlation(related=False) == pytest.approx(0.54, abs=0.02)
    assert share_of_limits_that_hold_the_population(7, 100, related=False) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("languages", [6, 14])
@pytest.mark.parametrize("related", [False, True])
def test_limits_hold_the_correlation_of_the_population_of_related_languages_too(languages, related):
    """Some 98 % of unrelated languages, and 95 % of related ones; the standard error is 1 point."""
    share = share_of_limits_that_hold_the_population(languages, 500, related=related)
    assert (0.92 if related else 0.95) <= share, share


def test_what_is_there_is_found_and_its_limits_hold_it():
    rng = np.random.default_rng(2)
    languages = tuple(f"q{letter}a" for letter in "abcdefghijklmno")
    distances = random_distances(rng, languages)
    matrix = random_matrix(rng, languages) - 2 * distances.to_numpy()
    (found,), _ = mantel.correlations(matrix, [Factor("distance", "pair", distances)], "advantage", resamples=500)
    assert found.low < found.r < found.high < 0
    assert found.p < 0.01


def test_the_same_seed_gives_the_same_numbers_and_holm_goes_over_the_facts():
    rng = np.random.default_rng(4)
    matrix = random_matrix(rng)
    facts = [Factor(str(i), "pair", random_distances(rng)) for i in range(3)]
    first, second = (mantel.correlations(matrix, facts, "gap", resamples=99)[0] for _ in range(2))
    assert first == second
    least = min(first, key=lambda one: one.p)
    assert least.corrected == pytest.approx(min(1, 3 * least.p))


def test_what_cannot_be_told_is_named_with_its_reason():
    rng = np.random.default_rng(5)
    matrix, constant = random_matrix(rng), pd.DataFrame(1.0, index=LANGUAGES, columns=LANGUAGES)
    holes = random_distances(rng)
    holes.loc["sw"] = holes["sw"] = np.nan
    few = pd.Series({"en": 1.0, "de": 2.0, "ru": 3.0})
    facts = [Factor("constant", "pair", constant), Factor("holes", "pair", holes), Factor("few", "target", few)]
    found, lacking = mantel.correlations(matrix, facts, "advantage", resamples=20)
    assert [(one.factor, one.languages) for one in found] == [("holes", 6)]
    assert lacking == [("constant", "the fact does not vary"), ("few", mantel.TOO_FEW)]


def test_advantages_are_zero_shot_for_source_and_baseline():
    values = pd.DataFrame({"en-O": (0.9, 0.8), "de-O": (0.6, 0.7), "sw-O": (0.4, 0.45)}, index=["en-O", "de-O"])
    found = mantel.advantages(values, {"en-O": "en-O", "de-O": "en-O"})
    assert list(found.index) == ["de-O"]
    assert found.loc["de-O"].tolist() == pytest.approx([np.nan, np.nan, 0.05], nan_ok=True)


# ------------------------------------------------------------------------------ facts


@uriel
def test_distances_are_those_of_the_package_that_brings_the_tables(tmp_path):
    """In a copy, for the package copies its tables into itself."""
    shutil.copytree(typology.tables().parents[1], tmp_path / "urielplus")
    program = """
import logging, sys, urielplus.urielplus as package
logging.disable(logging.CRITICAL)
uriel = package.URIELPlus()
for kind in ("genetic", "geographic", "syntactic", "phonological", "inventory"):
    for a, b in (("eng", "deu"), ("eng", "ara"), ("tha", "zho"), ("rus", "bul"), ("swa", "vie")):
        print(kind, a, b, uriel.new_distance(kind, a, b))
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = {"eng": "en", "deu": "de", "ara": "ar", "tha": "th", "zho": "zh", "rus": "ru", "bul": "bg", "swa": "sw", "vie": "vi"}
    ours = typology.distances(list(names.values()))
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert len(lines) == 25
    for kind, a, b, printed in lines:
        assert ours[kind].at[names[a], names[b]] == pytest.approx(float(printed), abs=5.1e-5), (kind, a, b)


@uriel
def test_distances_are_symmetric_and_unknown_ones_are_holes():
    found = typology.distances(["en", "ur", "de", "qaa"])
    for table in found.values():
        assert np.array_equal(table.to_numpy(), table.T.to_numpy(), equal_nan=True)
        assert table.loc["qaa"].isna().all()
    assert math.isnan(found["phonological"].at["en", "ur"])
    assert found["syntactic"].at["en", "en"] == pytest.approx(0, abs=1e-6)


def test_without_the_extra_one_sentence_says_what_gives_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"typological distances need the package urielplus; pip install 'xfer-ray\[typology\]' gives it"):
        typology.tables()


def test_scripts_and_codes_of_languages():
    assert [typology.script(code) for code in ("de", "ru", "hi", "zh", "zh_Hant", "el")] == ["Latn", "Cyrl", "Deva", "Hans", "Hant", "Grek"]
    assert [typology.iso3(code) for code in ("de", "sw", "zh", "yo", "qq")] == ["deu", "swa", "zho", "yor", ""]


def test_pre_training_sizes_are_known_of_checkpoints_by_name_and_of_no_other():
    assert typology.pretraining("google/mt5-base").sizes["ru"] == 713
    assert typology.pretraining("google-bert/bert-base-multilingual-cased").name == "wikipedia"
    assert typology.pretraining("./mt5-uniform") is None
    for corpus in typology.PRETRAINING:
        assert all(size > 0 for size in corpus.sizes.values())
        assert all(typology.is_language(code) for code in corpus.sizes), corpus.name


def test_shares_of_test_data(tmp_path):
    found = Results(open_storage(str(tmp_path)), "mine")
    rows = {
        "el-HT-en": (("a", "b", "MIT"), ("a", "a", "αβγ"), ("NS", "b", "1906"), ("a", " ", "Lady Gaga")),
        "de-HT-en": (("a", "b", "MIT"), ("a", "c", "x"), ("a", "d", "y"), ("a", "e", "z")),
    }
    for target, items in rows.items():
        examples = tuple(Example(str(i), first, second, (answer,)) for i, (first, second, answer) in enumerate(items))
        commit.put_examples(found, "toy", target, Examples(examples))
    ascii_only, defects = factors.of_test_data(found, "toy", ("el-HT-en", "de-HT-en", "ru-HT-en"))
    assert (ascii_only.name, dict(ascii_only.values)) == ("ASCII answers", {"el": 0.5})
    assert dict(defects.values) == {"el": 0.75, "de": 0.0}


# ------------------------------------------------------------------------------ the command


def folder_of(tmp_path, selections=("last",)) -> str:
    """Six languages with themselves as sources; a source is better on what is near, and the oracle is two points ahead."""
    found, planned = Results(open_storage(str(tmp_path)), "mine"), []
    languages = LANGUAGES[:6]
    targets = tuple(f"{language}-O" for language in languages)
    rng = np.random.default_rng(0)
    for source in targets:
        name = f"toy.tiny.{source}.s0-{committed.DIGEST}"
        planned.append(PlannedTrial(name, "toy", "tiny", source, 0, committed.DIGEST))
        share = {t: 0.8 if t == source else rng.uniform(0.4, 0.7) for t in targets}
        rows = [
            Prediction(name, t, chosen, str(i), "yes", "", {"accuracy": float(i < 100 * share[t] + 2 * (chosen == "oracle"))})
            for chosen in selections
            for t in targets
            for i in range(100)
        ]
        commit.commit(found, committed.scores_of(rows, sweep="mine", source=source), rows)
    task = scored.facts(targets, parallel=True, normalized=False)
    checkpoint = "google-bert/bert-base-multilingual-cased"
    planfile.write_plan(found, Plan("mine", tuple(planned), {"toy": task}, {"tiny": ModelFacts("encoder", checkpoint, None)}))
    return f"{tmp_path}/mine"


def command(*arguments):
    ran = CliRunner().invoke(app, ["correlates", *arguments])
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.stdout


@uriel
def test_the_command_tells_every_fact_by_model_and_measure(tmp_path):
    folder = folder_of(tmp_path)
    (found,) = json.loads(command(folder, "--json"))
    assert (found["model"], found["values"], list(found["selections"])) == ("tiny", "ability", ["last"])
    told = {(one["measure"], one["factor"]) for one in found["correlations"]}
    assert {("advantage", "genetic distance"), ("gap", "same script"), ("gap", "pre-training of the source")} <= told
    assert all(0 < one["p"] <= one["corrected"] <= 1 for one in found["correlations"])
    bounded = [one for one in found["correlations"] if one["low"] is not None]
    assert all(-1 <= one["low"] <= one["r"] <= one["high"] <= 1 for one in bounded)
    assert {one["factor"] for one in found["correlations"] if one not in bounded} == {"genetic distance", "same script"}
    text = command(folder)
    assert "--: no limits, for one of the languages has all that varies" in text
    assert "toy, tiny, accuracy: what goes along with its zero-shot advantage" in text
    assert "every score is of the selection last" in text
    assert command(folder) == text


@uriel
def test_selections_stand_side_by_side(tmp_path):
    folder = folder_of(tmp_path, ("last", "source-dev", "oracle"))
    (found,) = json.loads(command(folder, "--json"))
    assert list(found["selections"]) == ["source-dev", "last", "oracle"]
    scores = pd.read_parquet(f"{folder}/scores")
    for selection, means in found["selections"].items():
        assert means == pytest.approx(dict(scores[scores["selection"] == selection].groupby("source")["score"].mean()))
    text = command(folder)
    assert "oracle - source-dev" in text
    assert all(
        line.split()[-1] in ("+2.0", "+1.7", "+1.8", "+1.9") for line in text.splitlines() if line.startswith("en-O") and "+" in line
    )


@uriel
def test_mixtures_and_hostile_names_do_no_harm():
    matrix = pd.DataFrame(1.0, index=["en-O", "de-O+ru-O"], columns=["en-O", "sw-O"])
    assert list(unseen.single(matrix).index) == ["en-O"]
    evil = "\x1b[2J<b>"
    one = correlates.Correlates(evil, evil, evil, "ability", (), ((evil, evil),), {evil: {"en-O": math.nan}})
    assert "\x1b" not in correlates.text((one,))
    assert json.dumps(correlates.json(one), allow_nan=False)


def test_without_a_zero_shot_cell_nothing_correlates(tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("task,model,source,seed,target,metric,score\nmine,tiny,en,0,en,accuracy,0.5\n")
    storage = str(tmp_path / "results")
    assert CliRunner().invoke(app, ["import", str(table), "--storage", storage]).exit_code == 0
    done = CliRunner().invoke(app, ["correlates", f"{storage}/own", "--baseline", "en-O"])
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "mine, tiny, accuracy: no correlation can be told" in told
    assert "not told: 12 correlations, for the fact and the measure are known together of fewer than 5 languages" in told
    assert "genetic" not in told
    assert "URIEL" not in told
