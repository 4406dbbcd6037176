"""Run: pytest tests/test_recommend.py. Which source is recommended, how sure that is, and what is said of targets never measured."""

import csv
import itertools
import json
import math
import re
from importlib.resources import files

import committed
import numpy as np
import pandas as pd
import pytest
import scored
from test_docs import blocks
from typer.testing import CliRunner

from analysis import ranking, recommend, transfer, typology
from analysis.recommend import Question, advice, unseen
from analysis.recommend.wanted import wanted, weights_of
from analysis.reproduce import printed
from analysis.selection import Options, select
from xfer_ray import commit, planfile
from xfer_ray.cli import app
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.importing import import_scores
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial
from xfer_ray.results import Prediction, Results
from xfer_ray.storage import open_storage
from xfer_ray.tasks import TASKS

TARGETS = ("en-O", "de-HT-en", "sw-HT-en")
CELLS = {  # each row a source, each column a target
    "en-O": (0.80, 0.60, 0.40),
    "de-MT-en": (0.76, 0.75, 0.45),
    "sw-MT-en": (0.60, 0.50, 0.50),
    "ru-MT-en": (0.75, 0.70, 0.44),
}


def folder_of(tmp_path, cells=CELLS, *, seeds=3, items=300, predicted=True, skip=(), **facts) -> str:
    """A committed sweep whose cells are these: examples are right in a fixed share, which the seed moves a little."""
    found = Results(open_storage(str(tmp_path)), "mine")
    planned = []
    for (source, row), seed in itertools.product(cells.items(), range(seeds)):
        name = f"toy.tiny.{source}.s{seed}-{committed.DIGEST}"
        planned.append(PlannedTrial(name, "toy", "tiny", source, seed, committed.DIGEST))
        rng = np.random.default_rng([seed, list(cells).index(source)])
        right = {t: rng.permutation(items) < round(items * share) + seed for t, share in zip(TARGETS, row, strict=True)}
        rows = [
            Prediction(name, t, "last", str(i), "yes", "", {"accuracy": float(right[t][i])})
            for t in TARGETS
            if (source, t) not in skip
            for i in range(items)
        ]
        scores = committed.scores_of(rows, sweep="mine", source=source, seed=seed)
        commit.commit(found, scores, rows) if predicted else commit.put_scores(found, scores)
    task = scored.facts(TARGETS, parallel=True, **facts)
    planfile.write_plan(found, Plan("mine", tuple(planned), {"toy": task}, {"tiny": ModelFacts("encoder", "x", None)}))
    return f"{tmp_path}/mine"


def command(*arguments):
    """What a command prints on stdout; errors are raised."""
    ran = CliRunner().invoke(app, ["recommend", *arguments])
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def answer(cells=CELLS, **question):
    targets = TARGETS[: len(next(iter(cells.values())))]
    abilities = {("m", s, t): value for s, row in cells.items() for t, value in zip(targets, row, strict=True) if value is not None}
    plan = scored.plan({"toy": scored.facts(targets)}, ("m",), tuple(cells))
    options = Options(values="relative")
    selected = select(plan, scored.rows(abilities), options)
    asked = Question(**question)
    shares = wanted(asked.targets, asked.weights, targets).measured
    return recommend.recommend(selected, "m", shares, options, asked, None)


def values(found):
    return {one.source: one.value for one in found.sources}


# ------------------------------------------------------------------------------ values


def test_a_source_is_worth_its_weighted_mean_and_the_best_comes_first():
    found = answer(weights={"de": 1, "sw": 3})
    z = {s: (row[1] / 0.75, row[2] / 0.5) for s, row in CELLS.items()}
    assert values(found) == pytest.approx({s: (de + 3 * sw) / 4 for s, (de, sw) in z.items()})
    assert [one.source for one in found.sources] == ["de-MT-en", "sw-MT-en", "ru-MT-en", "en-O"]
    assert found.weights == {"de-HT-en": 0.25, "sw-HT-en": 0.75}
    assert [(one.worst_target, one.runs) for one in found.sources][:2] == [("sw-HT-en", 1), ("de-HT-en", 1)]
    assert found.sources[1].behind == pytest.approx(found.sources[0].value - found.sources[1].value)
    assert found.baseline == "en-O"


def test_weight_on_languages_never_measured_takes_nothing_from_the_others():
    assert values(answer(weights={"de": 3, "sw": 1, "yo": 4})) == pytest.approx(values(answer(weights={"de": 3, "sw": 1})))


def test_the_worst_case_is_the_least_over_the_targets():
    found = answer(measure="worst")
    assert values(found) == pytest.approx({s: min(row[0] / 0.8, row[1] / 0.75, row[2] / 0.5) for s, row in CELLS.items()})
    assert [(one.source, one.worst_target) for one in found.sources[:2]] == [("de-MT-en", "sw-HT-en"), ("ru-MT-en", "sw-HT-en")]
    assert all(one.worst == one.value for one in found.sources)


def test_zero_shot_differences_are_those_of_source_effects():
    found = answer(zero_shot=True)
    z = pd.DataFrame(CELLS, index=TARGETS).T / [0.8, 0.75, 0.5]
    effects = transfer.source_effects(z)
    assert {s: v - np.mean(list(values(found).values())) for s, v in values(found).items()} == pytest.approx(dict(effects))


def test_zero_shot_weights_are_those_of_the_least_squares():
    weights = np.array([0.5, 0.2, 0.3])
    counted = np.array([[transfer.language(s) != transfer.language(t) for t in TARGETS] for s in CELLS])
    cells = np.array(list(CELLS.values()))
    source, target = np.nonzero(counted)
    design = np.hstack([np.eye(4)[source], np.eye(3)[target]])
    heavy = np.repeat(np.arange(len(source)), np.array([5, 2, 3])[target])  # weights as repetitions
    solution = np.linalg.lstsq(design[heavy], cells[counted][heavy], rcond=None)[0]
    expected = solution[:4] + weights @ solution[4:]
    assert (ranking.effects_of(counted, weights) * cells).sum(axis=(1, 2)) == pytest.approx(expected)


def test_a_hole_leaves_its_source_without_a_value_and_is_named():
    cells = {**CELLS, "ru-MT-en": (0.75, None, 0.44)}
    found = answer(cells)
    assert math.isnan(values(found)["ru-MT-en"])
    assert found.sources[-1].source == "ru-MT-en"
    assert found.notes == ("toy.m: not ranked, for ru-MT-en has no value on de-HT-en",)
    assert not math.isnan(values(answer(cells, targets=("en", "sw")))["ru-MT-en"])
    assert "not ranked, for a value is missing: ru-MT-en" in advice.text([found])


def test_without_any_value_it_says_why():
    cells = {"en-O": (0.8, None, 0.4), "ru-MT-en": (0.7, 0.6, None)}
    with pytest.raises(DataError, match="no source of toy.m can be ranked: en-O has no value on de-HT-en, sw-HT-en; ru-MT-en has no"):
        answer(cells)


def test_zero_shot_cells_that_do_not_compare_sources_are_refused():
    with pytest.raises(DataError, match="the 2 zero-shot cells of these targets do not compare all sources; ask for more targets"):
        answer({s: CELLS[s] for s in ("en-O", "de-MT-en")} | {"sw-MT-en": (None, None, 0.5)}, targets=("en", "de"), zero_shot=True)


# ------------------------------------------------------------------------------ how sure


def test_the_probability_of_being_best_on_draws_with_a_known_answer():
    rng = np.random.default_rng(0)
    draws = rng.normal([0.0, 1.0, 0.0], 1.0, size=(200_000, 3))
    told = np.ones(3, dtype=bool)
    found = ranking.probability_best(draws, told, told)
    # of three normals, the middle one ahead by one deviation: integral of phi(x - 1) Phi(x)^2
    x = np.linspace(-8, 9, 20_001)
    below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    expected = np.trapezoid(np.exp(-((x - 1) ** 2) / 2) / math.sqrt(2 * math.pi) * below**2, x)
    assert found[1] == pytest.approx(expected, abs=0.005)
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(found[2], abs=0.005)
    assert ranking.probability_best(np.zeros((5, 2)), told[:2], told[:2]) == pytest.approx([0.5, 0.5])
    assert np.isnan(ranking.probability_best(draws, told, np.array([True, True, False]))).all()
    left_out = ranking.probability_best(draws, np.array([True, False, True]), told)
    assert np.isnan(left_out[1])
    assert left_out[0] == pytest.approx(0.5, abs=0.005)


def test_predictions_give_limits_and_a_probability(tmp_path):
    folder = folder_of(tmp_path, {**CELLS, "ru-MT-en": (0.76, 0.74, 0.45)}, seeds=3)
    found = json.loads(command(folder, "--json"))
    assert (found["task"], found["model"], found["measure"], found["conditional"]) == ("toy", "tiny", "average", False)
    best, *others = found["sources"]
    assert best["source"] == "de-MT-en"
    assert sum(one["p_best"] for one in found["sources"]) == pytest.approx(1)
    assert all(one["low"] < one["value"] < one["high"] for one in found["sources"])
    assert all(one["behind_low"] < one["behind"] < one["behind_high"] for one in others)
    assert found["not_worse"] == ["ru-MT-en"]  # 0.4 points behind; the others are 10 and more
    assert found["sources"][0]["runs"] == 3
    text = command(folder)
    assert text.startswith("Fine-tune tiny on de-MT-en: ")
    assert "de-MT-en cannot be told apart from ru-MT-en." in " ".join(text.split())


@pytest.mark.parametrize("question", [(), ("--measure", "worst"), ("--zero-shot",)])
def test_values_with_predictions_are_those_without(tmp_path, question):
    with_them = json.loads(command(folder_of(tmp_path / "a", seeds=1), "--json", *question))
    without = json.loads(command(folder_of(tmp_path / "b", seeds=1, predicted=False), "--json", *question))
    assert [(one["source"], one["value"]) for one in with_them["sources"]] == [(one["source"], one["value"]) for one in without["sources"]]
    for one in without["sources"]:
        assert [one[name] for name in ("low", "high", "p_best", "behind_low", "p")] == [None] * 5
    assert all(one["low"] <= one["value"] <= one["high"] for one in with_them["sources"])
    assert without["not_worse"] is None


def test_one_seed_and_no_predictions_are_said(tmp_path):
    assert "another seed may turn it" in " ".join(command(folder_of(tmp_path / "a", seeds=1)).split())
    assert "Neither predictions nor several seeds are stored" in " ".join(
        command(folder_of(tmp_path / "b", seeds=1, predicted=False)).split()
    )
    assert "nothing is known" not in command(folder_of(tmp_path / "d", seeds=3, predicted=False)), "three seeds tell of themselves"
    assert "another seed" not in command(folder_of(tmp_path / "c", seeds=2))


def test_the_same_question_gets_the_same_bytes(tmp_path):
    folder = folder_of(tmp_path, seeds=2)
    assert command(folder, "--json") == command(folder, "--json")


def test_a_source_without_predictions_is_ranked_but_nothing_is_said_of_it(tmp_path):
    folder = folder_of(tmp_path, seeds=2)
    for file in (tmp_path / "mine" / "predictions").glob("*.ru-MT-en.s1-*"):
        file.unlink()
    found = {one["source"]: one for one in json.loads(command(folder, "--json"))["sources"]}
    assert found["ru-MT-en"]["value"] is not None
    assert [found["ru-MT-en"][name] for name in ("low", "p_best", "behind_low", "p")] == [None] * 4
    assert found["sw-MT-en"]["low"] is not None
    assert found["sw-MT-en"]["p_best"] is None, "ru-MT-en could be the best as well"
    text = " ".join(command(folder).split())
    assert "Nothing is known of how sure the difference from ru-MT-en is." in text
    assert "Every other source" not in text


def brought(tmp_path, cells=CELLS, skip=(), seeds=3) -> str:
    """Scores of another program, without those of `skip` (source, target, seed)."""
    rng = np.random.default_rng(0)
    rows = [
        ("own", "m", source, seed, target, "accuracy", round(value + rng.normal() * 0.005, 4))
        for source, row in cells.items()
        for seed in range(seeds)
        for target, value in zip(TARGETS, row, strict=True)
        if (source, target, seed) not in skip
    ]
    columns = ["task", "model", "source", "seed", "target", "metric", "score"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "theirs.csv", index=False)
    import_scores(tmp_path / "theirs.csv", open_storage(str(tmp_path / "results")), name="theirs", percent=False, known={}.get)
    return f"{tmp_path}/results/theirs"


def test_a_source_whose_targets_have_differing_seeds_has_no_limits_and_the_reason_is_said(tmp_path):
    folder = brought(tmp_path, {**CELLS, "ru-MT-en": (0.9, 0.9, 0.6)}, skip={("ru-MT-en", "de-HT-en", 1)})
    ran = CliRunner().invoke(app, ["recommend", folder])
    assert re.match(r"Fine-tune m on ru-MT-en: \d+\.\d, the mean over 3 targets\. ", " ".join(ran.stdout.split()))
    assert "no intervals for ru-MT-en on de-HT-en: not all of its seeds have a score there\n" in ran.stderr
    assert "not all of its seeds" in CliRunner().invoke(app, ["tables", folder]).stderr


def test_what_is_drawn_anew_is_said(tmp_path):
    several, single = folder_of(tmp_path / "a", seeds=2), folder_of(tmp_path / "b", seeds=1)
    for folder, drawn in (
        (several, "when examples and seeds are drawn anew"),
        (single, "when examples are drawn anew"),
        (brought(tmp_path), "when seeds alone, on these very examples, are drawn anew"),
    ):
        assert drawn in " ".join(command(folder).split())
    (tmp_path / "a" / "mine" / "scores" / f"toy.tiny.ru-MT-en.s1-{committed.DIGEST}.parquet").unlink()
    assert "when examples, and seeds where there are several, are drawn anew" in " ".join(command(several).split())


def test_where_one_source_keeps_all_limits_away_it_is_named(tmp_path):
    one_seed = brought(tmp_path, skip={("de-MT-en", target, seed) for target in TARGETS for seed in (1, 2)})
    said = " ".join(command(one_seed).split())
    assert "Nothing is known of how sure this is, for of de-MT-en there is one seed and no predictions." in said
    assert "Neither predictions" not in said
    lost = folder_of(tmp_path / "lost", seeds=2)
    (tmp_path / "lost" / "mine" / "predictions" / f"toy.tiny.de-MT-en.s1-{committed.DIGEST}.parquet").unlink()
    said = " ".join(command(lost).split())
    assert "Nothing is known of how sure this is, for of de-MT-en a trial left no predictions." in said


def test_the_p_is_said_to_be_of_all_pairs_and_a_tiny_one_is_bounded(tmp_path):
    said = " ".join(command(folder_of(tmp_path, {**CELLS, "ru-MT-en": (0.1, 0.1, 0.1)}, seeds=2)).split())
    assert "p: of no difference from the best, which the data chose, so corrected for all pairs of sources (Holm); above 0.05" in said
    assert "<0.001" in said


# ------------------------------------------------------------------------------ the printed tables


def imported(tmp_path) -> str:
    """Table 2 as a user would bring it: a CSV file, and `import`. A model's own score is 0.6, on a source of its own."""
    table = printed.load("turc2021")[2]
    with (tmp_path / "table2.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "model", "source", "seed", "target", "metric", "score"])
        for model in table.models:
            for (source, target), z in table.matrix(model).stack().items():
                writer.writerow(["xnli", model, source, 0, target, "accuracy", 0.6 * z])
            for target in table.targets:
                writer.writerow(["xnli", model, f"{target[:2]}-O~own", 0, target, "accuracy", 0.6])
    known = {task.name: task for task in TASKS}
    import_scores(tmp_path / "table2.csv", open_storage(str(tmp_path / "results")), name="table2", percent=False, known=known.get)
    return f"{tmp_path}/results/table2"


OWN = ",".join(f"{target[:2]}-O~own" for target in printed.load("turc2021")[2].targets)


@pytest.mark.parametrize(
    ("model", "best"), [("mBERT", ["de-MT-en", "es-MT-en", "ru-MT-en"]), ("mT5", ["bg-MT-en", "zh-MT-en", "ru-MT-en"])]
)
def test_table_2_is_ranked_as_a_direct_computation_does(tmp_path, model, best):
    folder = imported(tmp_path)
    table = pd.read_csv(files("analysis.reproduce.printed") / "turc2021" / "table2.csv")
    table = table[table["model"] == model].set_index("source")
    targets = [column for column in table.columns if column.endswith(("-O", "-HT-en"))]
    assert len(targets) == 15
    z = table[targets] / 100
    z.iloc[1:] += z.iloc[0]  # printed are the baseline, then advantages over it
    for weights in ({}, {"sw-HT-en": 3, "ur-HT-en": 1}):
        shares = pd.Series(weights or dict.fromkeys(targets, 1), dtype=float)
        means = (z[list(shares.index)] * shares).sum(axis=1) / shares.sum()
        asked = ["--weights", "sw=3,ur=1"] if weights else []
        name = {"mBERT": "mbert", "mT5": "mt5-base"}[model]
        found = json.loads(command(folder, "--model", name, "--json", "--denominators", OWN, *asked))["sources"]
        ours = {one["source"]: one["value"] for one in found if "~" not in one["source"]}
        assert ours == pytest.approx(dict(means))
        assert list(ours) == sorted(ours, key=lambda source: -ours[source])
        if not weights:
            assert list(ours)[:3] == best == list(means.sort_values(ascending=False).index)[:3]


def test_several_models_need_a_name_for_json(tmp_path):
    folder = imported(tmp_path)
    with pytest.raises(DeclarationError, match="the results hold several models: mbert, mt5-base; --json shows one, name it with --model"):
        command(folder, "--json", "--denominators", OWN)
    assert command(folder, "--denominators", OWN).count("Fine-tune ") == 2


# ------------------------------------------------------------------------------ what is asked


def test_a_file_of_speakers_and_weights_written_out(tmp_path):
    file = tmp_path / "speakers.csv"
    file.write_text("language,name,speakers\nde,German,90\nsw,Swahili,10\n")
    assert weights_of(str(file)) == {"de": 90, "sw": 10}
    assert weights_of("de=90, sw=10") == {"de": 90, "sw": 10}
    asked = wanted((), weights_of(str(file)), TARGETS)
    assert asked.measured == pytest.approx({"de-HT-en": 0.9, "sw-HT-en": 0.1})
    assert wanted(("sw",), weights_of(str(file)), TARGETS).measured == {"sw-HT-en": 1.0}
    split = wanted(("de", "yo"), {"de": 3, "yo": 1, "en": 9}, TARGETS)
    assert (split.measured, split.unmeasured) == ({"de-HT-en": 0.75}, {"yo": 0.25})
    assert wanted((), {"de": 1, "sw": 0}, TARGETS).measured == {"de-HT-en": 1.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("language,speakers\nde,-1\n", "the weight of 'de' is '-1'; give a number of at least 0"),
        ("language,speakers\nde,nan\n", "the weight of 'de' is 'nan'; give a number of at least 0"),
        ("language,speakers\nde,inf\n", "the weight of 'de' is 'inf'; give a number of at least 0"),
        ("language,speakers\nde,=1+1\n", "the weight of 'de' is '=1+1'; give a number of at least 0"),
        ("language,speakers\nde\n", "the weight of 'de' is ''; give a number of at least 0"),
        ("language,speakers\nde,1\nde,2\n", "--weights names 'de' twice; give each target once"),
        ("language,speakers\n", "holds no weight; give at least one, such as de,0.5"),
        ("language,speakers\nde,1e308\nfr,1e308\n", "add up to more than a number can hold; give smaller ones"),
        (
            "name,number\nde,1\n",
            "has the columns 'name', 'number'; exactly one must be target or language, and exactly one weight, speakers or traffic",
        ),
        ("", "has the columns none; exactly one must be target or language"),
        ("language,speakers,traffic\nde,1,2\n", "has the columns 'language', 'speakers', 'traffic'; exactly one must be"),
        ("language,speakers,speakers\nde,1,2\n", "has the columns 'language', 'speakers', 'speakers'; exactly one must be"),
        ("target,language,speakers\nde-HT-en,de,1\n", "has the columns 'target', 'language', 'speakers'; exactly one must be"),
        (b"language,speakers\n\xff\xfe,1\n", "is not a CSV file in UTF-8: "),
        ('language,speakers\n"de,1\n', "is not a CSV file in UTF-8: "),
    ],
)
def test_hostile_files_of_weights_are_refused_in_one_sentence(tmp_path, content, message):
    file = tmp_path / "weights.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DeclarationError) as caught:
        weights_of(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "weights", "message"),
    [
        (("german",), None, "no target or language 'german'"),
        (("de-MT-en",), None, "no target or language 'de-MT-en'; did you mean 'de-HT-en'?"),
        (("qq",), None, "no target or language 'qq'"),
        (("<b>",), None, "no target or language '<b>'"),
        (("de", "de-HT-en"), None, "target de-HT-en is named twice; name it once"),
        (("de",), {"sw": 1}, "target de-HT-en has no weight; those with a weight: sw"),
        ((), {"de": 0, "sw": 0}, "the weights of de-HT-en, sw-HT-en are all 0, so nothing counts"),
        ((), {"de": 1, "de-HT-en": 1}, "the weights name one target twice, among 'de', 'de-HT-en'"),
    ],
)
def test_what_cannot_be_asked(asked, weights, message):
    with pytest.raises(DeclarationError) as caught:
        wanted(asked, weights, TARGETS)
    assert str(caught.value).startswith(message)


def test_other_questions_that_are_refused():
    with pytest.raises(DeclarationError, match="several targets are in de: de-O, de-HT-en; name one by its spelling"):
        wanted(("de",), None, ("de-O", "de-HT-en"))
    with pytest.raises(DeclarationError, match="--weights 'nothing.csv' is neither a file nor weights such as de=0.5,fr=0.5"):
        weights_of("nothing.csv")
    with pytest.raises(DeclarationError, match="no measure 'mean'"):
        Question(measure="mean")
    with pytest.raises(DeclarationError, match="no pre-training corpus 'c4'; did you mean 'mc4'"):
        Question(pretraining="c4")


# ------------------------------------------------------------------------------ targets never measured

LANGUAGES = ("en", "de", "fr", "ru", "tr", "sw", "zh", "hi", "ar", "vi")


def matrix_of(function, languages=LANGUAGES) -> pd.DataFrame:
    cells = [[1.0 if s == t else function(s, t) for t in languages] for s in languages]
    return pd.DataFrame(cells, index=[f"{s}-O" for s in languages], columns=[f"{t}-O" for t in languages])


def test_errors_of_left_out_languages_equal_a_loop():
    rng = np.random.default_rng(5)
    matrix = matrix_of(lambda s, t: rng.uniform(0.5, 1.0))
    matrix.iloc[2, 4] = np.nan
    features = rng.normal(size=(10, 10, 3))
    squares, means = [], []
    for held in range(10):
        kept = [i for i in range(10) if i != held]
        rows = {i: [j for j in kept if j != i and not np.isnan(matrix.iloc[i, j])] for i in kept}
        x = [features[i, j] - features[i, rows[i]].mean(axis=0) for i in kept for j in rows[i]]
        y = [matrix.iloc[i, j] - matrix.iloc[i, rows[i]].mean() for i in kept for j in rows[i]]
        x, y = np.array(x), np.array(y)
        scale = x.std(axis=0)
        slopes = np.linalg.inv(x.T @ x / np.outer(scale, scale) + 0.1 * len(y) * np.eye(3)) @ (x.T @ y / scale) / scale
        errors, plain = [], []
        for i in kept:
            if not np.isnan(matrix.iloc[i, held]):
                plain.append(matrix.iloc[i, rows[i]].mean() - matrix.iloc[i, held])
                errors.append(plain[-1] + (features[i, held] - features[i, rows[i]].mean(axis=0)) @ slopes)
        squares.append((np.mean(np.square(errors)), np.var(errors)))
        means.append((np.mean(np.square(plain)), np.var(plain)))
    found = unseen.skill(matrix, features)
    assert found.languages == 10
    assert (found.error, found.between) == pytest.approx(tuple(np.sqrt(np.mean(squares, axis=0))))
    assert (found.mean_error, found.mean_between) == pytest.approx(tuple(np.sqrt(np.mean(means, axis=0))))
    gains = np.array(means)[:, 1] - np.array(squares)[:, 1]
    assert (found.gain, found.doubt) == pytest.approx((gains.mean(), gains.std(ddof=1) / math.sqrt(10)))


@pytest.fixture(scope="module")
def syntax():
    pytest.importorskip("urielplus", reason="the extra `typology` is not installed")
    return typology.distances((*LANGUAGES, "yo", "pt"))["syntactic"]


def test_where_distance_makes_the_values_unmeasured_targets_are_ranked_by_it(syntax):
    level = dict(zip(LANGUAGES, np.linspace(0, 0.09, 10), strict=True))
    matrix = matrix_of(lambda s, t: 0.95 + level[s] - 0.5 * syntax.at[s, t])
    found = unseen.predict(matrix, {"pt": 1.0}, None)
    assert found.as_target.beats_the_mean
    assert found.as_target.between < 0.5 * found.as_target.mean_between
    truth = pd.Series({f"{s}-O": 0.95 + level[s] - 0.5 * syntax.at[s, "pt"] for s in LANGUAGES})
    told, means = pd.Series(found.values)[truth.index], unseen.zero_shot(matrix).mean(axis=1)
    assert told.corr(truth, method="spearman") > max(0.85, means.corr(truth, method="spearman"))
    assert (told - truth).std() < 0.5 * (means - truth).std()
    assert "de-O" not in unseen.predict(matrix, {"de": 0.5, "pt": 0.5}, None).values, "self-transfer is not predicted"


def test_where_nothing_explains_the_values_no_ranking_is_given(syntax):
    rng = np.random.default_rng(1)
    silent = 0
    for _ in range(12):
        found = unseen.predict(matrix_of(lambda s, t: rng.uniform(0.7, 1.0)), {"yo": 1.0}, None)
        silent += not found.values
        assert bool(found.values) == found.as_target.beats_the_mean
    assert silent >= 10


def test_too_few_languages_predict_nothing(tmp_path):
    pytest.importorskip("urielplus", reason="the extra `typology` is not installed")
    text = " ".join(command(folder_of(tmp_path, seeds=1), "--targets", "de,yo").split())
    assert "Prediction, not a measurement, for yo" in text
    assert "Too few languages were measured to leave one out, so nothing is predicted." in text
    found = json.loads(command(folder_of(tmp_path / "again", seeds=1), "--targets", "yo", "--json"))
    assert found["sources"] == []
    assert (found["predicted"]["weights"], found["predicted"]["sources"], found["predicted"]["as_target"]) == ({"yo": 1.0}, [], None)


def test_features_that_some_language_lacks_are_left_out_and_named(syntax):
    found = unseen.features(LANGUAGES, (*LANGUAGES, "ur"), typology.MC4)
    assert "phonological distance" in found.lacking
    assert "pre-training of the target" in found.names
    assert unseen.features(LANGUAGES, LANGUAGES, None).lacking == ("pre-training",)
    assert "pre-training of the target" in unseen.features(LANGUAGES, (*LANGUAGES, "am"), typology.WIKIPEDIA).lacking, (
        "mBERT saw no Amharic"
    )


# ------------------------------------------------------------------------------ text


def test_hostile_names_stay_text_in_what_is_printed():
    found = answer()
    evil = "\x1b[2J=cmd|' /C calc'!A0<script>"
    text = advice.text([recommend.Recommendation(**{**found.__dict__, "task": evil, "model": evil, "metric": evil})])
    assert "\x1b" not in text
    assert json.loads(json.dumps(advice.json(found)))["sources"][0]["low"] is None


# ------------------------------------------------------------------------------ the page


def test_what_the_page_shows_is_what_the_commands_print(tmp_path, monkeypatch):
    pytest.importorskip("urielplus", reason="the extra `typology` is not installed")
    monkeypatch.chdir(tmp_path)
    program, *shown = blocks("docs/choosing.md")
    exec(compile(program, "choosing.md", "exec"), {})
    assert CliRunner().invoke(app, shown[0].split()[1:]).exit_code == 0
    for said, printed_there in zip(shown[1::2], shown[2::2], strict=True):
        ran = CliRunner().invoke(app, said.split()[1:])
        assert ran.exit_code == 0, ran.output
        assert ran.stdout.startswith(printed_there.rstrip("\n")), f"if this is intended, the page should say:\n{ran.stdout}"
    assert len(shown) == 7


def test_a_source_that_leads_by_its_own_language_alone_is_said_to(tmp_path):
    cells = {"en-O": (0.80, 0.60, 0.45), "de-MT-en": (0.70, 0.80, 0.40), "sw-MT-en": (0.68, 0.55, 0.50)}
    found = answer(cells=cells, weights={"en": 1, "de": 4, "sw": 1})
    assert (found.sources[0].source, found.like_for_like) == ("de-MT-en", ("en-O",))
    said = command(folder_of(tmp_path, cells, seeds=2), "--weights", "en=1,de=4,sw=1")
    assert "Where its own language does not count (--zero-shot), en-O comes first." in " ".join(said.split())
    assert answer(cells=cells, weights={"en": 1, "de": 4, "sw": 1}, zero_shot=True).like_for_like == ()


def test_sources_that_do_not_differ_get_no_advice(tmp_path):
    said = command(folder_of(tmp_path, dict.fromkeys(CELLS, (0.6, 0.6, 0.6)), seeds=2))
    assert said.startswith("No source of tiny differs from another: 100.0, the mean over 3 targets.")


def test_weight_that_nobody_measured_stands_in_the_first_sentence_and_in_the_json(tmp_path):
    folder = folder_of(tmp_path, seeds=2)
    said = " ".join(command(folder, "--weights", "de=1,nl=3").split())
    assert "over 1 target with 25 % of the weight (nobody measured the rest, see below)" in said
    assert json.loads(command(folder, "--weights", "de=1,nl=3", "--json"))["unmeasured"] == pytest.approx(0.75)


def test_a_source_alone_is_not_called_the_best(tmp_path):
    said = " ".join(command(folder_of(tmp_path, {"en-O": CELLS["en-O"]}, seeds=2, normalized=False)).split())
    assert "No other source is ranked, so there is nothing to compare it with." in said
    assert "probability" not in said.partition("source |")[0]
    assert "Every other source" not in said


def test_weights_of_many_targets_are_no_name_of_a_file():
    text = ",".join(f"{a}{b}=0.0666666667" for a in "abcde" for b in "abcde")
    assert len(weights_of(text)) == 25
