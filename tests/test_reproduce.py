"""Run: pytest tests/test_reproduce.py. The paper's tables as data, and a made-up sweep beside them; test_claims.py has the claims."""

import csv
import io
import json
import math

import committed
import numpy as np
import pytest
from printed_sweep import ITEMS, put_questions, sweep_in, truth
from typer.testing import CliRunner

from analysis import reproduce
from analysis.formats import WIDEST
from analysis.reproduce import claims, comparison, printed, verdicts
from analysis.reproduce import text as reproduce_text
from analysis.reproduce.evidence import Estimate, by_cell, contrast, estimated, of_printed
from analysis.reproduce.verdicts import HOLDS, NOT_RUN, OPEN
from xfer_ray.cli import app
from xfer_ray.compact import read_scores
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.importing import import_scores
from xfer_ray.storage import open_storage
from xfer_ray.tasks import TASKS

EPSILON = 1e-9
RESAMPLES = 200
KNOWN = {one.name: one for one in TASKS}
TABLES = printed.load("turc2021")
REPAIRED = printed.load("turc2021", repaired=True)

# ------------------------------------------------------------------------------ the tables as data


def corpus(name):
    """A printed name in corpus spelling: de^MT -> de-MT-en, en^o->ru^MT -> ru-MT-en, fi^o -> fi-O."""
    origin, _, last = name.rpartition("->")
    language, provenance = last.split("^")
    return f"{language}-O" if provenance == "o" else f"{language}-{provenance}-{origin.partition('^')[0] or 'en'}"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_package_holds_what_the_paper_prints(paper):
    for number, table in TABLES.items():
        if number == 4:
            columns = {
                (row["train_data"].partition("^")[0], kind): row[kind] for row in rows_of(paper / "table4.csv") for kind in ("HT", "MT")
            }
            expected = {f"{one}-{kind}-en": float(value) / 100 for (one, kind), value in columns.items() if one != "en"}
            assert {source: row["->All"] for (_, source), row in table.rows.items()} == expected
            continue
        found = {}
        for row in rows_of(paper / f"table{number}.csv"):
            name = printed.MODELS[row.pop("model")], corpus(row.pop("source"))
            column = {c: c if c.startswith("->") else corpus(c) if "^" in c else f"->{c}" for c in row}
            found[name] = {column[c]: float(value) / 100 for c, value in row.items()}
        assert table.rows == found, number
    shares = {corpus(row["test_set"]): float(row["pct_ascii"].rstrip("%")) / 100 for row in rows_of(paper / "table7.csv")}
    assert printed.ascii_only("turc2021") == shares


def test_only_the_row_that_is_repaired_contradicts_its_averages():
    """Cells and averages are printed to 0.1, so an average of printed cells is compatible with the printed one within 0.1."""

    def off(tables):
        return {
            (number, model, source, column)
            for number, table in tables.items()
            for (model, source), row in table.rows.items()
            for column, value in row.items()
            if number != 4 and column.startswith("->")
            if abs(np.mean([row[t] for t in table.groups[column[2:]]]) - value) > 0.001 + EPSILON
        }

    assert off(TABLES) == {(2, "mt5-base", "hi-MT-en", column) for column in ("->LL", "->M", "->All")}
    assert off(REPAIRED) == set()


def test_a_matrix_is_the_baseline_and_what_the_others_add_to_it():
    matrix = TABLES[5].matrix("mbert")
    assert matrix.loc["en-O", "th-HT-en"] == pytest.approx(0.363)
    assert matrix.loc["ru-MT-en", "th-HT-en"] == pytest.approx(0.363 + 0.082)
    assert list(matrix.index) == ["en-O", "de-MT-en", "ru-MT-en"]


def test_another_paper_is_refused():
    with pytest.raises(DeclarationError, match="no paper 'turc2020'; did you mean 'turc2021'"):
        printed.load("turc2020")


# ------------------------------------------------------------------------------ a printed cell beside ours


@pytest.mark.parametrize(
    ("value", "low", "high", "shown", "error", "expected"),
    [
        (0.700, 0.68, 0.72, 0.7204, 0.0, "agrees"),  # by its rounding: it may have been 0.7199
        (0.700, 0.68, 0.72, 0.7206, 0.0, "differs"),
        (0.700, 0.68, 0.72, 0.7206, 0.01, "agrees"),
        (0.700, 0.60, 0.72, 0.6300, 0.0, "agrees"),  # the interval reaches further down than up
        (0.700, 0.60, 0.72, 0.7700, 0.0, "differs"),
        (0.700, 0.68, 0.72, 0.7290, 0.01, "differs"),  # sqrt(2.0^2 + 1.96^2) = 2.80
        (0.700, 0.68, 0.72, 0.7270, 0.01, "agrees"),
        (0.700, math.nan, math.nan, 0.7, 0.0, "no interval"),
        (math.nan, math.nan, math.nan, 0.7, 0.01, "no interval"),
    ],
)
def test_whether_a_printed_value_agrees(value, low, high, shown, error, expected):
    assert comparison.verdict(shown, Estimate(value, low, high), error) == expected


def test_the_sampling_error_of_a_printed_figure():
    table, evidence = TABLES[5], of_printed(TABLES[5], "mbert")
    abilities = by_cell(table.matrix("mbert"))
    english, russian = math.sqrt(0.822 * 0.178 / 1190), math.sqrt(0.748 * 0.252 / 1190)  # 82.2, and 7.4 less
    assert comparison.sampling_error(table, evidence, abilities, "en-O", ("en-O",)) == pytest.approx(english)
    assert comparison.sampling_error(table, evidence, abilities, "ru-MT-en", ("en-O",)) == pytest.approx(math.hypot(english, russian))
    both = [comparison.sampling_error(table, evidence, abilities, "ru-MT-en", (t,)) for t in ("en-O", "th-HT-en")]
    assert comparison.sampling_error(table, evidence, abilities, "ru-MT-en", ("en-O", "th-HT-en")) == pytest.approx(sum(both) / 2)


def test_the_sampling_error_of_a_printed_ratio_is_that_of_simulated_ratios():
    table = TABLES[2]
    evidence = of_printed(table, "mbert")
    own = dict.fromkeys(table.targets, "en-O") | {"de-HT-en": "de-MT-en"}
    evidence = evidence.__class__(**{**evidence.__dict__, "denominators": own})
    abilities = by_cell(evidence.values * 0.7)
    e, d = (abilities[source, "de-HT-en"] for source in ("en-O", "de-MT-en"))
    rng = np.random.default_rng(0)
    ratios = rng.binomial(5010, e, 200_000) / rng.binomial(5010, d, 200_000)
    assert comparison.sampling_error(table, evidence, abilities, "en-O", ("de-HT-en",)) == pytest.approx(ratios.std(), rel=0.02)
    own_cell = comparison.sampling_error(table, evidence, abilities, "de-MT-en", ("de-HT-en",))
    assert own_cell == pytest.approx(comparison.sampling_error(table, evidence, abilities, "en-O", ("de-HT-en",))), "Z(de→de) is 100"


def test_a_hole_has_no_sampling_error():
    table = TABLES[2]
    evidence = of_printed(table, "mbert")
    assert math.isnan(comparison.sampling_error(table, evidence, {}, "en-O", ("en-O",)))
    assert math.isnan(comparison.sampling_error(table, evidence, by_cell(evidence.values.drop("de-MT-en")), "de-MT-en", ("en-O",)))


# ------------------------------------------------------------------------------ a sweep beside the paper

PARTS = {("xnli", "mt5-base"), ("xquad", "mbert"), ("xquad", "mt5-base"), ("pawsx", "mbert")}
WITHOUT = ("xquad.mt5-base.ru-MT-en",)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    found = sweep_in(tmp_path_factory.mktemp("swept"), PARTS, without=WITHOUT)
    put_questions(found, {target: round(1000 * share) for target, share in printed.ascii_only("turc2021").items()})
    return found


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def reproduced(swept, told):
    return reproduce.read(swept, "turc2021", resamples=RESAMPLES, note=told.append)


def part(found, number, model):
    (one,) = (one for one in found.comparisons if (one.table, one.model) == (number, model))
    return one


def test_what_was_run_is_compared_and_what_was_not_is_named_with_its_command(reproduced, told):
    run = {(one.table, one.model) for one in reproduced.comparisons if one.cells}
    assert run == {(2, "mt5-base"), (3, "mbert"), (5, "mbert"), (5, "mt5-base"), (7, "")}
    commands = {(one.table, one.model): one.command for one in reproduced.comparisons if not one.cells}
    assert set(commands) == {
        (2, "mbert"),
        (3, "mt5-base"),
        (4, "mbert"),
        (5, "mt5-uniform"),
        *((n, m) for n in (6, 8) for m in ("mt5-base", "mt5-uniform")),
    }
    assert commands[4, "mbert"] == "xfer-ray run sweeps/paper.py --only task=xnli-swapped,model=mbert"
    assert told[0] == f"xnli with mt5-base: {RESAMPLES} resamples"
    assert len(told) == len(PARTS)


def test_a_sweep_of_the_printed_truth_agrees_in_most_cells(reproduced):
    cells = [cell for number, model in ((2, "mt5-base"), (3, "mbert"), (5, "mbert")) for cell in part(reproduced, number, model).cells]
    told = [cell.verdict for cell in cells if not cell.repaired]
    assert "no interval" not in told
    assert told.count("agrees") / len(told) > 0.85  # the cells of a column share a denominator, so that one draw is often off by more
    assert all(cell.allowing == "agrees" for cell in cells if cell.verdict == "agrees")
    assert any(cell.allowing == "agrees" for cell in cells if cell.verdict == "differs")


def test_a_cell_is_what_was_measured_less_what_is_printed(reproduced, swept):
    one = next(cell for cell in part(reproduced, 5, "mbert").cells if (cell.source, cell.column) == ("ru-MT-en", "th-HT-en"))
    scores = read_scores(swept)
    of = scores[(scores["task"] == "xquad") & (scores["model"] == "mbert") & (scores["target"] == "th-HT-en")].set_index("source")["score"]
    assert one.ours.value == pytest.approx(of["ru-MT-en"] - of["en-O"], abs=EPSILON)
    assert one.difference == pytest.approx(of["ru-MT-en"] - of["en-O"] - 0.082, abs=EPSILON)
    width = 1.96 * math.sqrt(sum(e * (1 - e) for e in (truth(TABLES[5], "mbert", s, "th-HT-en") for s in ("en-O", "ru-MT-en"))) / ITEMS)
    assert one.ours.high - one.ours.low == pytest.approx(2 * width, rel=0.15)


def test_a_hole_stays_one_and_is_named(reproduced):
    cells = part(reproduced, 5, "mt5-base").cells
    holes = [cell for cell in cells if math.isnan(cell.ours.value)]
    assert {cell.source for cell in holes} == {"ru-MT-en"}
    assert {cell.verdict for cell in holes} == {"no interval"}
    assert "missing: xquad.mt5-base.ru-MT-en" in reproduced.notes
    greek = next(check for check in reproduced.checks if check.claim == "from de and ru, el loses most")
    assert greek.finding.verdict != HOLDS


def test_one_seed_is_conditional_and_three_are_not(reproduced):
    assert all(cell.ours.conditional for cell in part(reproduced, 5, "mbert").cells)
    assert not any(cell.ours.conditional for cell in part(reproduced, 3, "mbert").cells)


def test_both_what_is_printed_and_its_repair_are_compared(reproduced):
    cells = [
        cell for cell in part(reproduced, 2, "mt5-base").cells if cell.source == "hi-MT-en" and cell.column in ("hi-HT-en", "vi-HT-en")
    ]
    assert [(cell.column, cell.printed, cell.repaired) for cell in cells] == [
        ("vi-HT-en", 0.006, False),
        ("vi-HT-en", -0.006, True),
        ("hi-HT-en", 0.01, False),
        ("hi-HT-en", 0.07, True),
    ]
    assert cells[3].verdict == "agrees"
    assert cells[2].difference - cells[3].difference == pytest.approx(0.06)


def test_claims_of_what_was_not_run_are_not_run(reproduced):
    now = {(check.where, check.task, *check.models): check.finding for check in reproduced.checks}
    assert now["Table 6, §7.2", "tydiqa-fi", "mt5-base"].verdict == NOT_RUN
    assert now["Table 2, §7.1", "xnli", "mbert", "mt5-base"].verdict == NOT_RUN, "one of two models is not enough"
    assert now["Table 7, §7.2", "xquad"].verdict == HOLDS
    table_1 = now["Table 1", "xquad", "mt5-base"]
    assert table_1.estimate.low < table_1.estimate.value < table_1.estimate.high


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(swept, reproduced):
    again, other = (reproduce.read(swept, "turc2021", resamples=RESAMPLES, seed=seed, note=str) for seed in (0, 1))
    first = json.dumps(reproduce.as_json(reproduced))
    assert json.dumps(reproduce.as_json(again)) == first != json.dumps(reproduce.as_json(other))


def test_a_difference_of_two_models_has_the_error_of_both():
    rng = np.random.default_rng(0)
    one, other = (Estimate(0.05, 0, 0, 1, draws=rng.normal(0.05, sd, 100_000)) for sd in (0.03, 0.04))
    found = one - other
    assert (found.low, found.high) == (pytest.approx(-1.96 * 0.05, abs=2e-3), pytest.approx(1.96 * 0.05, abs=2e-3))
    assert found.p > 0.9
    assert math.isnan((one - Estimate(0.0)).low)


def test_table_4_is_compared_by_provenance_with_whatever_model_ran_it(tmp_path):
    found = sweep_in(tmp_path, {("xnli-swapped", "mbert")}, without=("xnli-swapped.mbert.th-HT-en",))
    found = reproduce.read(found, "turc2021", resamples=100, note=str)
    cells = {cell.source: cell for cell in part(found, 4, "mbert").cells}
    assert len(cells) == 28
    assert math.isnan(cells["de-HT-en"].ours.value), "its average holds a column whose denominator, th-HT-en, was not run"
    assert abs(cells["de-MT-en"].difference) < 0.1
    assert all(cell.ours.low < cell.ours.value < cell.ours.high for source, cell in cells.items() if "-MT-" in source)
    assert any("th-HT-en" in note for note in found.notes)


def test_other_sources_of_a_sweep_change_nothing(tmp_path):
    """A second source in German would be another denominator for it; what the paper compares is told."""
    scores = {
        ("en-O", "en-O"): 0.8,
        ("en-O", "de-HT-en"): 0.6,
        ("de-MT-en", "en-O"): 0.7,
        ("de-MT-en", "de-HT-en"): 0.75,
        ("de-HT-en", "de-HT-en"): 0.9,
    }
    lines = [f"xnli,mbert,{source},0,{target},accuracy,{score}" for (source, target), score in scores.items()]
    (tmp_path / "more.csv").write_text("\n".join(["task,model,source,seed,target,metric,score", *lines]))
    found = import_scores(tmp_path / "more.csv", open_storage(str(tmp_path / "results")), name="more", percent=False, known=KNOWN.get)
    cells = {(cell.source, cell.column): cell.ours.value for cell in part(reproduce.read(found, "turc2021", note=str), 2, "mbert").cells}
    assert cells["en-O", "de-HT-en"] == pytest.approx(0.6 / 0.75)
    assert cells["de-MT-en", "en-O"] == pytest.approx((0.7 - 0.8) / 0.8)
    assert math.isnan(cells["de-MT-en", "->All"])


def test_a_target_without_questions_leaves_table_7_open(tmp_path):
    found = sweep_in(tmp_path, {("xquad", "mbert")}, predictions=False)
    put_questions(found, {"el-HT-en": 94, "ar-HT-en": 4})
    found = reproduce.read(found, "turc2021", note=str)
    assert [cell.verdict for cell in part(found, 7, "").cells].count("no interval") == 4
    (check,) = (check for check in found.checks if check.where.startswith("Table 7"))
    assert (check.finding.verdict, check.finding.by) == (OPEN, "hi-HT-en: a hole")


# ------------------------------------------------------------------------------ scores without predictions


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Table 2's cells as a user would bring them."""
    folder = tmp_path_factory.mktemp("imported")
    with (folder / "paper.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "model", "source", "seed", "target", "metric", "score"])
        for model in ("mbert", "mt5-base"):
            matrix = REPAIRED[2].matrix(model)
            for source in matrix.index:
                for target in matrix.columns:
                    writer.writerow(["xnli", model, source, 0, target, "accuracy", 0.6 * matrix.loc[source, target]])
    found = import_scores(folder / "paper.csv", open_storage(str(folder / "results")), name="paper", percent=False, known=KNOWN.get)
    return reproduce.read(found, "turc2021", note=str)


def test_the_papers_own_figures_differ_from_it_by_rounding_only(imported):
    cells = [cell for model in ("mbert", "mt5-base") for cell in part(imported, 2, model).cells]
    assert {cell.verdict for cell in cells} == {"no interval"}
    unlike = {(cell.source, cell.column, cell.repaired) for cell in cells if abs(cell.difference) > 0.001 + 1e-3}
    assert unlike == {("hi-MT-en", "hi-HT-en", False), ("hi-MT-en", "vi-HT-en", False)}


def test_claims_without_predictions_are_those_of_the_figures(imported):
    run = [check for check in imported.checks if check.task == "xnli" and check.where != "Table 4"]
    assert all(check.finding.alone and math.isnan(check.finding.estimate.low) for check in run)
    printed_checks = {(check.claim, check.where, check.models): check.finding.verdict for check in reproduce.of_paper("turc2021").checks}
    assert {(check.claim, check.where, check.models): check.finding.verdict for check in run}.items() <= printed_checks.items()
    assert "(figures)" in reproduce_text.render(imported)


# ------------------------------------------------------------------------------ formats and the command


def command(*arguments):
    return CliRunner().invoke(app, ["reproduce", *arguments])


def test_the_text_names_what_was_not_run_and_marks_what_differs(reproduced):
    text = reproduce_text.render(reproduced)
    assert "xfer-ray run sweeps/paper.py --only task=tydiqa-fi,model=mt5-base" in text
    assert "Table 5, xquad, mbert: ours less printed; one seed" in text
    assert any(line.startswith("hi-MT-en repaired") for line in text.splitlines())
    (row,) = (line for line in text.splitlines() if line.startswith("ru-MT-en |") and "--" in line)
    assert set(row.partition("|")[2].split()) == {"--", "|"}, "the trial that was not run"
    assert "nan" not in text
    assert max(map(len, text.splitlines())) <= WIDEST


def test_the_csv_has_a_row_for_each_cell_and_claim(reproduced):
    rows = list(csv.DictReader(io.StringIO(reproduce_text.render(reproduced, "csv"))))
    cells = [row for row in rows if row["kind"] == "cell"]
    assert len(cells) == sum(len(one.cells) for one in reproduced.comparisons)
    assert sum(row["kind"].startswith("claim: ") for row in rows) == len(reproduced.checks)
    for row in cells:
        if row["ours"]:
            assert float(row["ours"]) - float(row["printed"]) == pytest.approx(float(row["difference"]), abs=2e-6)
    assert {row["by"] for row in rows if row["verdict"] == NOT_RUN and row["kind"] == "table"} == {
        one.command for one in reproduced.comparisons if not one.cells
    }


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "html", "csv"])
def test_a_hostile_name_stays_text(reproduced, style):
    hostile = "=1+1<b>&\x1b[31m"
    one = comparison.Comparison(4, "xnli-swapped", hostile, part(reproduced, 5, "mbert").cells)
    check = claims.Check("the same", "Table 4", "xnli-swapped", (hostile,), verdicts.Finding(HOLDS))
    text = reproduce_text.render(reproduce.Reproduction("a paper", (one,), (check,)), style)
    assert "\x1b" not in text or style == "csv"
    assert "<b>" not in text or style in ("text", "latex", "csv")
    assert style != "csv" or {row["model"][0] for row in csv.DictReader(io.StringIO(text))} == {"'"}


def test_the_claims_of_the_paper_itself_from_the_command():
    told = command("--printed")
    assert told.exit_code == 0
    _, *claims_of = told.stdout.split("(Table 1, ")
    found = {claim.partition(")")[0]: [row.split("|")[2].split()[0] for row in claim.splitlines()[1:3]] for claim in claims_of[:2]}
    assert found == {"xnli": ["+2.0", "+2.9"], "pawsx": ["+1.3", "+1.8"]}
    document = json.loads(command("--printed", "--json", "--paper", "turc2021").stdout)
    assert document["paper"] == "Turc et al. 2021 (arXiv 2106.16171)"
    first = document["claims"][0]
    assert (first["verdict"], first["low"], first["figures_alone"], first["by"]) == ("holds", None, True, "de-MT-en")
    assert first["value"] == pytest.approx(2.02)


def test_a_sweep_from_the_command(swept):
    told = command(swept.url, "--resamples", "1000", "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert {one["table"] for one in document["comparisons"]} == {2, 3, 4, 5, 6, 7, 8}
    assert "missing: xquad.mt5-base.ru-MT-en" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((), DeclarationError, "give either RESULTS, such as results/paper, or --printed"),
        (("somewhere", "--printed"), DeclarationError, "give either RESULTS"),
        (("--printed", "--paper", "turc"), DeclarationError, "no paper 'turc'"),
        (("--printed", "--format", "pdf"), DeclarationError, "no format 'pdf'"),
    ],
)
def test_misuse_is_one_sentence(arguments, error, sentence):
    told = command(*arguments)
    assert isinstance(told.exception, error)
    assert sentence in str(told.exception)


def test_results_of_other_tasks_have_nothing_to_compare(tmp_path):
    with pytest.raises(DataError, match="holds no score of a task and model of Turc et al. 2021"):
        reproduce.read(committed.sweep_in(tmp_path), "turc2021", note=str)


def test_a_contrast_of_a_source_that_is_not_there_is_a_hole():
    evidence = of_printed(TABLES[5], "mbert")
    asked = [contrast("fr-MT-en", ("en-O",)), contrast("en-O", ("ro-HT-en",)), contrast("en-O", ("en-O",), "fr-MT-en")]
    assert all(math.isnan(one.value) for one in estimated(evidence, asked))


def test_another_metric_than_the_printed_one_is_named_and_not_compared(tmp_path):
    file = tmp_path / "f1.csv"
    file.write_text("task,model,source,seed,target,metric,score\nxnli,mbert,en,0,en,f1,0.8\nxquad,mbert,en,0,en,f1,0.8\n")
    found = import_scores(file, open_storage(str(tmp_path / "results")), name="f1", percent=False, known=KNOWN.get)
    told = reproduce.read(found, "turc2021", note=str)
    assert "xnli.mbert is scored by f1, and Table 2 prints accuracy: not compared" in told.notes
    assert [bool(one.cells) for one in told.comparisons if one.model == "mbert" and one.table in (2, 5)] == [False, True]
