"""What tables say of errors: marks, intervals, and where there are none, from the predictions of a results folder."""

import csv
import io
import random

import numpy as np
import pyarrow
import pytest
import scipy.stats
from committed import DIGEST, scores_of
from typer.testing import CliRunner

from analysis import outcomes, significance, tables
from analysis.render import render
from analysis.selection import Options, select
from analysis.significance import Contrast, mean_over
from xfer_ray import commit, compact, planfile, results
from xfer_ray.cli import app
from xfer_ray.errors import DataError
from xfer_ray.planfile import ModelFacts, Plan, PlannedTrial, TaskFacts
from xfer_ray.results import Prediction, Results
from xfer_ray.storage import open_storage

TARGETS = ("en-O", "de-HT-en", "ru-HT-en")
OWN = {"en-O": "en-O", "de-HT-en": "de-MT-en", "ru-HT-en": "ru-MT-en"}
TRUTH = {"en-O": (0.9, 0.6, 0.6), "de-MT-en": (0.7, 0.85, 0.75), "ru-MT-en": (0.72, 0.61, 0.8)}


def answered(trial: str, source: str, seed: int, items: int) -> list[Prediction]:
    """The same luck for everyone, so that differences are sure; items in an order of their own."""
    rng, own = random.Random(0), random.Random(f"{source} {seed}")
    luck = {str(i): rng.random() for i in range(items)}
    found = [
        Prediction(trial, target, "last", item, "yes", "", {"accuracy": float(chance + own.uniform(-0.05, 0.05) < truth)})
        for target, truth in zip(TARGETS, TRUTH[source], strict=True)
        for item, chance in luck.items()
    ]
    own.shuffle(found)
    return found


def folder(where, *, seeds=3, items=150, sources=tuple(TRUTH), without=(), parallel=True) -> Results:
    found = Results(open_storage(str(where)), "toy")
    planned = []
    for source in sources:
        for seed in range(seeds):
            trial = f"toy.tiny.{source}.s{seed}-{DIGEST}"
            planned.append(PlannedTrial(trial, "toy", "tiny", source, seed, DIGEST))
            predictions = answered(trial, source, seed, items)
            commit.commit(found, scores_of(predictions, source=source, seed=seed), predictions)
            if source in without:
                (where / "toy" / "predictions" / f"{trial}.parquet").unlink()
    facts = TaskFacts(TARGETS, {"Far": TARGETS[1:], "All": TARGETS}, ("accuracy",), "test", True, None, (), parallel, "", "", {})
    planfile.write_plan(found, Plan("toy", tuple(planned), {"toy": facts}, {"tiny": ModelFacts("encoder", "x", None)}))
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Results:
    return folder(tmp_path_factory.mktemp("three"))


def row_of(built: tables.Tables, source: str) -> tables.Row:
    return next(row for block in built.blocks for row in block.rows if row.source == source)


@pytest.mark.parametrize(
    ("values", "source", "contrasts", "normalized"),
    [
        ("paper", "ru-MT-en", [Contrast("ru-MT-en", {t: 1.0}, "en-O") for t in TARGETS], True),
        ("paper", "en-O", [Contrast("en-O", {t: 1.0}) for t in TARGETS], True),
        ("ability", "ru-MT-en", [Contrast("ru-MT-en", {t: 1.0}) for t in TARGETS], False),
        ("gap", "ru-MT-en", [Contrast("ru-MT-en", {"ru-HT-en": 1.0, t: -1.0} if t != "ru-HT-en" else {t: 0.0}) for t in TARGETS], False),
    ],
)
def test_the_intervals_of_a_row_are_those_of_its_contrasts(three, values, source, contrasts, normalized):
    row = row_of(tables.read(three, Options(values=values)), source)
    selected = select(planfile.read_plan(three), compact.read_scores(three), Options())
    found = outcomes.read(three, selected, "tiny")
    groups = {"Far": TARGETS[1:], "All": TARGETS}
    told = significance.estimate(significance.resample(found), contrasts, OWN if normalized else None)
    assert row.cells[:3] == pytest.approx(told.value.tolist(), abs=1e-12)
    assert [i.low for i in row.intervals[:3]] == pytest.approx(told.low.tolist(), abs=1e-6)
    assert [i.high for i in row.intervals[:3]] == pytest.approx(told.high.tolist(), abs=1e-6)
    over = contrasts[0].over
    if values == "paper":
        averages = significance.estimate(
            significance.resample(found), [Contrast(source, mean_over(of), over) for of in groups.values()], OWN
        )
        assert row.cells[3:] == pytest.approx(averages.value.tolist(), abs=1e-12)
        assert [i.low for i in row.intervals[3:]] == pytest.approx(averages.low.tolist(), abs=1e-6)


def test_common_averages_leave_out_what_is_not_zero_shot(three):
    row = row_of(tables.read(three, Options(values="common")), "ru-MT-en")
    assert [told is None for told in row.intervals] == [True, False, True, False, False]
    assert row.intervals[-1].low == pytest.approx(row.intervals[1].low, abs=1e-6)  # de is all that is left


def test_tests_are_corrected_within_a_column(three):
    built = tables.read(three, Options())
    selected = select(planfile.read_plan(three), compact.read_scores(three), Options())
    held = significance.resample(outcomes.read(three, selected, "tiny"))
    raw = significance.estimate(held, [Contrast(s, {"ru-HT-en": 1.0}, "en-O") for s in ("de-MT-en", "ru-MT-en")], OWN).p
    shown = [row_of(built, source).intervals[2].p for source in ("de-MT-en", "ru-MT-en")]
    assert shown == pytest.approx(significance.holm(raw).tolist())
    assert np.isnan(row_of(built, "en-O").intervals[2].p)


def test_a_table_marks_what_is_significant_in_every_format(three):
    built = tables.read(three, Options())
    text = render(built)
    line = next(line for line in text.splitlines() if line.startswith("de^MT"))
    assert line == "de^MT  | -24.9* | +30.7* +19.6* | +25.2*  +8.5*"
    assert "* differs from 0 at 5 %, corrected for the number of sources (Holm)" in text
    assert "one seed" not in text
    assert r"-24.9\*" in render(built, "markdown")
    assert r"$-$24.9\rlap{\textsuperscript{*}}" in render(built, "latex")
    assert "<td>-24.9<sup>*</sup></td>" in render(built, "html")
    line = next(line for line in text.splitlines() if line.startswith("ru^MT"))
    assert line == "ru^MT  | -23.2* |  -1.1  +26.2* | +12.6*  +0.6"


def test_intervals_stand_under_the_values_and_have_rows_in_the_csv(three):
    built = tables.read(three, Options(intervals=True))
    lines = render(built, intervals=True).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("ru^MT"))
    assert lines[at + 1].count("[") == 5
    rows = list(csv.DictReader(io.StringIO(render(built, "csv", intervals=True))))
    mine = {row["values"]: row for row in rows if row["source"] == "ru-MT-en"}
    assert list(mine) == ["advantage", "advantage-low", "advantage-high", "advantage-p"]
    low, value, high = (float(mine[kind]["->All"]) for kind in ("advantage-low", "advantage", "advantage-high"))
    assert low < value < high
    assert 0 < float(mine["advantage-p"]["->All"]) <= 1
    assert [row["values"] for row in csv.DictReader(io.StringIO(render(built, "csv")))] == ["relative", "advantage", "advantage"]


def test_one_seed_says_what_it_cannot_say(tmp_path):
    assert "one seed: marks and intervals hold for these very models" in render(tables.read(folder(tmp_path, seeds=1), Options())).replace(
        "\n", " "
    )


def test_table_1_marks_its_verdicts(three):
    text = render(tables.read(three, Options(layout="summary")))
    assert "x (de^MT +8.5*)" in text
    assert "no test of significance" not in text
    assert "no test of significance" in render(tables.read(three, Options(layout="summary", marks=False))).replace("\n", " ")


def test_one_seed_without_predictions_has_no_marks_and_the_reason_is_said_where_intervals_were_asked_for(tmp_path):
    found = folder(tmp_path, seeds=1, without=tuple(TRUTH))
    assert tables.read(found, Options()).notes == ()
    built = tables.read(found, Options(intervals=True))
    assert built.notes == ("no intervals for model tiny: there are no predictions to resample, and no source has several seeds",)
    assert built.intervals == ()
    assert "*" not in render(built)


def test_several_seeds_without_predictions_tell_of_seeds_alone(tmp_path):
    found = folder(tmp_path, seeds=4, without=tuple(TRUTH))
    built = tables.read(found, Options(values="ability", intervals=True))
    assert built.notes == ("tiny left no predictions: intervals and marks tell of its seeds alone, on these very examples",)
    scores = compact.read_scores(found).query("source == 'ru-MT-en' and target == 'de-HT-en'")["score"]
    told = row_of(built, "ru-MT-en").intervals[1]
    half = scipy.stats.t.ppf(0.975, 3) * scores.std() / 2  # the textbook's interval of a mean of four
    assert (told.low, told.high) == pytest.approx((scores.mean() - half, scores.mean() + half), rel=0.02)
    text = render(tables.read(found, Options())).replace("\n", " ")
    assert "corrected for the number of sources (Holm): seeds alone, on these very examples (no predictions)" in text


def test_a_single_seed_among_several_without_predictions_has_no_interval(tmp_path):
    found = folder(tmp_path, seeds=3, without=tuple(TRUTH))
    for seed in (1, 2):
        (tmp_path / "toy" / "scores" / f"toy.tiny.ru-MT-en.s{seed}-{DIGEST}.parquet").unlink()
    built = tables.read(found, Options(values="ability"))
    assert "no intervals for ru-MT-en: one seed and no predictions" in built.notes
    assert row_of(built, "ru-MT-en").intervals == (None,) * 5


def test_a_source_without_predictions_is_named_and_has_values_alone(tmp_path):
    built = tables.read(folder(tmp_path, without=("ru-MT-en",)), Options())
    assert built.notes == (f"no intervals for ru-MT-en: toy.tiny.ru-MT-en.s0-{DIGEST} left no predictions with accuracy",)
    assert row_of(built, "ru-MT-en").intervals == (None,) * 5
    # its model is the denominator of its own column, and so behind every average
    assert [told is None for told in row_of(built, "de-MT-en").intervals] == [False, False, True, True, True]


def test_ratios_of_seeds_have_no_intervals(three):
    built = tables.read(three, Options(seed_mean="ratios", intervals=True))
    assert built.notes == ("no intervals for model tiny: seeds are averaged after the ratio",)


def test_the_provenance_layout_has_intervals(tmp_path):
    built = tables.read(folder(tmp_path, sources=("en-O", "de-MT-en", "ru-MT-en")), Options(layout="provenance"))
    assert [told is None for row in built.blocks[0].rows for told in row.intervals] == [False, False]


def test_the_command_prints_them(three):
    url = f"{three.url}".removeprefix("file://")
    asked = CliRunner().invoke(app, ["tables", url, "--intervals"])
    assert asked.exit_code == 0, asked.output
    assert "[" in asked.output
    plain = CliRunner().invoke(app, ["tables", url, "--no-marks"])
    assert "*" not in plain.output


def test_predictions_that_hold_an_example_twice_are_refused(tmp_path):
    found = folder(tmp_path, seeds=1, sources=("en-O",))
    trial = f"toy.tiny.en-O.s0-{DIGEST}"
    twice = answered(trial, "en-O", 0, 10)
    found.storage.replace(found.table("predictions", trial), results.to_bytes(results.predictions_table([*twice, *twice[:1]])))
    asked = CliRunner().invoke(app, ["tables", f"{found.url}".removeprefix("file://")])
    assert "more than once" in str(asked.exception)


def rewritten(found: Results, change, source: str = "ru-MT-en") -> None:
    """The predictions of a source's first trial, changed."""
    path = found.table("predictions", f"toy.tiny.{source}.s0-{DIGEST}")
    frame = results.from_bytes(found.storage.read(path), path).to_pandas()
    found.storage.replace(path, results.to_bytes(pyarrow.Table.from_pandas(change(frame), preserve_index=False)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.assign(accuracy=1.0), "on en-O are not those that its score sums up: 150 of mean 1.0000, not 150 of 0."),
        (lambda frame: frame.iloc[: len(frame) // 2], "are not those that its score sums up"),
        (lambda frame: frame[frame["target"] != "ru-HT-en"], "on ru-HT-en are not those that its score sums up: 0 of mean nan"),
        (lambda frame: frame.iloc[:0], "are not those that its score sums up: 0 of mean nan"),
        (lambda frame: frame.drop(columns="example"), "do not have the columns of predictions"),
        (lambda frame: frame.assign(accuracy=np.nan), "do not have the columns of predictions"),
        (lambda frame: frame.assign(accuracy="1"), "do not have the columns of predictions"),
    ],
)
def test_predictions_that_are_not_those_of_the_scores_are_refused(tmp_path, change, sentence):
    found = folder(tmp_path, seeds=1)
    rewritten(found, change)
    with pytest.raises(DataError, match=sentence):
        tables.read(found, Options())
    assert tables.read(found, Options(marks=False)).blocks, "the scores themselves are as they were"


def test_too_few_examples_are_not_drawn_anew(tmp_path):
    built = tables.read(folder(tmp_path, seeds=1, items=9), Options())
    assert built.notes == ("no intervals on en-O, de-HT-en, ru-HT-en: fewer than 10 examples are too few to be drawn anew",)
    assert built.intervals == ()


def test_a_denominator_that_may_be_0_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(TRUTH, "ru-MT-en", (0.5, 0.5, 0.25))
    built = tables.read(folder(tmp_path, seeds=1, items=20), Options())
    assert "no intervals of tiny on ru-HT-en: among so few right answers a resample may have none to divide by" in built.notes
    assert row_of(built, "de-MT-en").intervals[2] is None
    assert row_of(built, "de-MT-en").intervals[1] is not None


def test_sources_that_answered_different_examples_are_refused(tmp_path):
    found = folder(tmp_path, seeds=1)
    rewritten(found, lambda frame: frame.assign(example="other " + frame["example"]))
    with pytest.raises(DataError, match="en-O and ru-MT-en answered different examples of en-O"):
        tables.read(found, Options())
