"""Run: pytest tests/test_tables.py. Which numbers stand in a table, what is refused, and how it looks."""

import csv
import io
import math
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import scored
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import rules
from analysis.blocks import Interval
from analysis.render import render
from analysis.selection import Options
from analysis.tables import Block, Row, Tables, build, read
from xfer_ray.commit import put_scores
from xfer_ray.core import Score
from xfer_ray.errors import DataError, DeclarationError, XferRayError
from xfer_ray.planfile import ModelFacts, write_plan
from xfer_ray.results import Results
from xfer_ray.storage import open_storage

TARGETS = ("en-O", "de-HT-en", "sw-HT-en")
SOURCES = ("en-O", "de-MT-en", "sw-MT-en")
GROUPS = {"LH": ("en-O", "de-HT-en"), "All": TARGETS}
CELLS = {  # hand-made: each row a source, each column a target
    "en-O": (0.8, 0.6, 0.4),
    "de-MT-en": (0.76, 0.75, 0.45),
    "sw-MT-en": (0.6, 0.5, 0.5),
}
TASK = scored.facts(TARGETS, groups=GROUPS)
GOLDEN = Path(__file__).parent / "golden"


def abilities(cells=CELLS, model="m", targets=TARGETS):
    return {(model, s, t): value for s, row in cells.items() for t, value in zip(targets, row, strict=True)}


def table(cells=CELLS, *, task=TASK, sources=None, scores=None, seeds=(0,), models=("m",), **options) -> Tables:
    scores = scored.rows(abilities(cells)) if scores is None else scores
    return build(scored.plan({"toy": task}, models, sources or tuple(cells), seeds), scores, Options(**options))


def sentence(error: type[XferRayError], make) -> str:
    with pytest.raises(error) as caught:
        make()
    return str(caught.value)


# ------------------------------------------------------------------------------ values


def test_the_baseline_shows_relative_abilities_and_the_others_advantages():
    tables = table({name: CELLS[name] for name in ("de-MT-en", "en-O", "sw-MT-en")})
    (block,) = tables.blocks
    assert block.baseline == "en-O"
    assert [(row.source, row.values, row.runs) for row in block.rows] == [
        ("en-O", "relative", 1),
        ("de-MT-en", "advantage", 1),
        ("sw-MT-en", "advantage", 1),
    ]
    assert scored.cells(tables, "m", "en-O") == pytest.approx({"en-O": 100, "de-HT-en": 80, "sw-HT-en": 80, "->LH": 90, "->All": 260 / 3})
    assert scored.cells(tables, "m", "de-MT-en") == pytest.approx(
        {"en-O": -5, "de-HT-en": 20, "sw-HT-en": 10, "->LH": 7.5, "->All": 25 / 3}
    )
    assert tables.notes == ()


@pytest.mark.parametrize(
    ("values", "source", "kind", "cells"),
    [
        ("ability", "de-MT-en", "ability", (76, 75, 45, 75.5, 196 / 3)),
        ("relative", "de-MT-en", "relative", (95, 100, 90, 97.5, 95)),
        ("advantage", "en-O", "advantage", (0, 0, 0, 0, 0)),
        ("common", "de-MT-en", "advantage", (math.nan, math.nan, 10, math.nan, 10)),
        ("common", "en-O", "relative", (math.nan, 80, 80, 80, 80)),
        ("gap", "de-MT-en", "gap", (-1, 0, 30, -0.5, 29 / 3)),
    ],
)
def test_other_values(values, source, kind, cells):
    tables = table(values=values)
    assert list(scored.cells(tables, "m", source).values()) == pytest.approx(cells, nan_ok=True)
    assert next(row.values for block in tables.blocks for row in block.rows if row.source == source) == kind


def test_a_task_that_is_not_normalized_shows_its_metric_and_differences():
    tables = table(task=replace(TASK, normalized=False))
    assert [row.values for row in tables.blocks[0].rows] == ["ability", "ability-difference", "ability-difference"]
    assert scored.cells(tables, "m", "sw-MT-en")["->All"] == pytest.approx(-20 / 3)


def test_seeds_are_averaged_before_the_ratio_or_after_it():
    other = {"en-O": (0.8, 0.3, 0.4), "de-MT-en": (0.8, 0.5, 0.4), "sw-MT-en": (0.8, 0.5, 0.4)}
    scores = pd.concat([scored.rows(abilities()), scored.rows(abilities(other), seed=1)])
    before = table(scores=scores, seeds=(0, 1))
    after = table(scores=scores, seeds=(0, 1), seed_mean="ratios")
    assert scored.cells(before, "m", "en-O")["de-HT-en"] == pytest.approx(100 * 0.9 / 1.25)
    assert scored.cells(after, "m", "en-O")["de-HT-en"] == pytest.approx(50 * (0.6 / 0.75 + 0.3 / 0.5))
    assert {row.runs for tables in (before, after) for row in tables.blocks[0].rows} == {2}


def test_where_no_seed_is_shared_a_ratio_of_equal_seeds_is_missing_and_named():
    scores = pd.concat([scored.rows(abilities({s: CELLS[s]}), seed=int(s == "de-MT-en")) for s in SOURCES])
    tables = table(scores=scores, seeds=(0, 1), seed_mean="ratios")
    assert [math.isnan(scored.cells(tables, "m", source)["de-HT-en"]) for source in SOURCES] == [True, True, True]
    assert [note for note in tables.notes if "no seed" in note] == [
        "missing: toy.m: no seed of de-MT-en on target en-O is one of en-O's, the denominator there",
        "missing: toy.m: no seed of en-O, sw-MT-en on target de-HT-en is one of de-MT-en's, the denominator there",
        "missing: toy.m: no seed of de-MT-en on target sw-HT-en is one of sw-MT-en's, the denominator there",
    ]
    assert not [note for note in table(scores=scores, seeds=(0, 1)).notes if "no seed" in note]


def test_a_source_without_one_home_has_no_transfer_gap_and_is_named():
    cells = {**CELLS, "de-MT-en+sw-MT-en@900": (0.7, 0.7, 0.5), "en-O@900": (0.7, 0.5, 0.4), "ru-MT-en": (0.7, 0.5, 0.4)}
    tables = table(cells, values="gap")
    assert tables.notes == (
        "no transfer gap of de-MT-en+sw-MT-en@900, ru-MT-en: it is counted from the one target of a source's own language",
    )
    named = {source for source in cells if math.isnan(scored.cells(tables, "m", source)["->All"])}
    assert named == {"de-MT-en+sw-MT-en@900", "ru-MT-en"}


def test_runs_are_the_fewest_seeds_behind_a_row_and_the_missing_trial_is_named():
    second = {name: CELLS[name] for name in ("en-O", "de-MT-en")}
    scores = pd.concat([scored.rows(abilities()), scored.rows(abilities(second), seed=1)])
    tables = table(scores=scores, seeds=(0, 1), values="ability")
    assert [row.runs for row in tables.blocks[0].rows] == [2, 2, 1]
    assert tables.notes == ("missing: toy.m.sw-MT-en.s1: 1 of 2 seeds are averaged",)
    relative = table(scores=scores, seeds=(0, 1))  # sw-MT-en is the denominator of a column of every row
    assert [row.runs for row in relative.blocks[0].rows] == [1, 1, 1]
    assert relative.notes == ("missing: toy.m.sw-MT-en.s1 (denominator of column sw-HT-en): 1 of 2 seeds are averaged",)


def test_the_seeds_of_the_baseline_stand_behind_every_advantage():
    more = {name: CELLS[name] for name in SOURCES[1:]}
    scores = pd.concat([scored.rows(abilities()), scored.rows(abilities(more), seed=1)])
    raw = replace(TASK, normalized=False)
    assert [row.runs for row in table(task=raw, scores=scores, seeds=(0, 1)).blocks[0].rows] == [1, 1, 1]
    assert [row.runs for row in table(task=raw, scores=scores, seeds=(0, 1), values="ability").blocks[0].rows] == [1, 2, 2]


# ------------------------------------------------------------------------------ holes


def test_a_missing_denominator_empties_its_column_and_the_averages_over_it():
    tables = table(sources=SOURCES, cells={name: CELLS[name] for name in SOURCES[:2]})
    assert list(scored.cells(tables, "m", "de-MT-en").values()) == pytest.approx((-5, 20, math.nan, 7.5, math.nan), nan_ok=True)
    assert all(math.isnan(cell) for cell in tables.blocks[0].rows[2].cells)
    assert tables.blocks[0].rows[2].runs == 0
    assert tables.notes == ("missing: toy.m.sw-MT-en (denominator of column sw-HT-en)",)


def test_a_missing_baseline_empties_the_advantages():
    tables = table(sources=SOURCES, cells={name: CELLS[name] for name in SOURCES[1:]})
    assert all(math.isnan(cell) for row in tables.blocks[0].rows for cell in row.cells)
    assert tables.notes == ("missing: toy.m.en-O (denominator of column en-O; baseline)",)


def test_a_language_without_a_source_is_named():
    tables = table({name: CELLS[name] for name in SOURCES[:2]})
    assert tables.notes == ("missing: toy.m: no source in sw is planned (denominator of column sw-HT-en)",)


def test_several_languages_without_a_source_take_one_line():
    tables = table({"en-O": CELLS["en-O"]})
    assert tables.notes == ("missing: toy.m: no source in de, sw is planned (denominator of columns de-HT-en, sw-HT-en)",)


def test_a_model_without_scores_takes_one_line():
    tables = table(models=("m", "other"))
    assert [block.model for block in tables.blocks] == ["m"]
    assert tables.notes == ("missing: toy.other: all 3 trials",)


def test_a_source_without_one_target_is_named():
    scores = scored.rows({key: value for key, value in abilities().items() if key != ("m", "sw-MT-en", "de-HT-en")})
    tables = table(scores=scores)
    assert math.isnan(scored.cells(tables, "m", "sw-MT-en")["->All"])
    assert tables.notes == ("missing: toy.m.sw-MT-en on target de-HT-en",)


holes = st.sets(st.sampled_from(sorted(abilities())), max_size=8)


@settings(deadline=None, max_examples=40)
@given(holes)
def test_an_average_is_there_exactly_if_all_its_cells_are(missing):
    scores = scored.rows({key: value for key, value in abilities().items() if key not in missing})
    tables = table(sources=SOURCES, scores=scores)
    for row in tables.blocks[0].rows:
        cells = dict(zip((*TARGETS, *GROUPS), row.cells, strict=True))
        for group, members in GROUPS.items():
            assert math.isnan(cells[group]) == any(math.isnan(cells[target]) for target in members)
    assert bool(missing) == bool(tables.notes)


# ------------------------------------------------------------------------------ denominators


BOTH = ("en-O", "de-HT-en", "de-MT-en", "sw-O", "sw-MT-en", "sw-MT-en~opus", "en-MT-de-MT-en")


def chosen(choice=None, declared=(), sources=BOTH):
    return rules.denominators(TARGETS, sources, declared=declared, choice=choice)


def test_denominators_are_the_original_or_the_only_source_of_the_language():
    assert chosen(declared=["de-HT-en"]) == {"en-O": "en-O", "de-HT-en": "de-HT-en", "sw-HT-en": "sw-O"}
    assert chosen(sources=SOURCES) == dict(zip(TARGETS, SOURCES, strict=True))
    assert chosen(sources=("en-O", "de-MT-en"))["sw-HT-en"] is None


def test_denominators_by_choice():
    assert chosen("HT") == {"en-O": "en-O", "de-HT-en": "de-HT-en", "sw-HT-en": "sw-O"}
    assert chosen("MT") == {"en-O": "en-O", "de-HT-en": "de-MT-en", "sw-HT-en": "sw-MT-en"}
    assert chosen("de-MT-en,sw-MT-en~opus") == {"en-O": "en-O", "de-HT-en": "de-MT-en", "sw-HT-en": "sw-MT-en~opus"}
    assert chosen("en-MT-de-MT-en", declared=["de-MT-en"])["en-O"] == "en-MT-de-MT-en"  # a control counts where it is named


def test_controls_are_no_candidates():
    assert chosen(sources=("en-MT-de-MT-en", "de-MT-en~opus")) == dict.fromkeys(TARGETS)


def test_two_candidates_for_a_denominator_are_a_question():
    assert sentence(DeclarationError, chosen) == (
        "several sources could be the denominator for de: de-HT-en, de-MT-en; name one with --denominators, or HT or MT"
    )
    assert sentence(DeclarationError, lambda: chosen("de-HT-en,de-MT-en")) == (
        "de-HT-en and de-MT-en are both named as the denominator for de; name one"
    )
    assert sentence(DeclarationError, lambda: chosen("de-HT-em")).startswith("no source 'de-HT-em'; did you mean 'de-HT-en'?")


def test_the_choice_of_denominators_reaches_the_table():
    cells = {**CELLS, "de-HT-en": (0.7, 0.8, 0.4)}
    assert scored.cells(table(cells, denominators="HT"), "m", "de-MT-en")["de-HT-en"] == pytest.approx(100 * (0.75 - 0.6) / 0.8)
    assert scored.cells(table(cells, denominators="MT"), "m", "de-HT-en")["de-HT-en"] == pytest.approx(100 * (0.8 - 0.6) / 0.75)


def test_an_undeclared_task_is_normalized_if_every_target_has_a_denominator_for_every_model():
    unknown = replace(TASK, normalized=None)
    assert table(task=unknown).blocks[0].rows[0].values == "relative"
    two = {**abilities(), **abilities({name: CELLS[name] for name in SOURCES[:2]}, model="other")}
    tables = table(task=unknown, scores=scored.rows(two), models=("m", "other"), model="m")
    assert tables.blocks[0].rows[0].values == "ability"
    assert tables.notes == (
        "task toy is not normalized, for not every model has a denominator of sw-HT-en: values are accuracy and differences of it",
    )


def test_planned_denominators_name_what_will_divide_each_column():
    plan = scored.plan({"toy": TASK, "raw": replace(TASK, normalized=False)}, ["m"], ["en-O", "de-HT-en", "de-MT-en"])
    assert [(entry["task"], entry["target"], entry["source"]) for entry in rules.planned_denominators(plan)] == [
        ("toy", "en-O", "en-O"),
        ("toy", "de-HT-en", None),
        ("toy", "sw-HT-en", None),
    ]


# ------------------------------------------------------------------------------ baselines


def test_the_baseline_is_english_of_the_same_ultimate_origin_by_the_shortest_chain():
    sources = ("en-O", "en-MT-de-MT-en", "de-MT-en", "en-MT-fi", "de-MT-fi", "fi-O", "de-MT-en-MT-fi", "ar-O")
    assert {source: rules.baseline(source, sources, None) for source in sources} == {
        "en-O": "en-O",
        "en-MT-de-MT-en": "en-O",
        "de-MT-en": "en-O",
        "en-MT-fi": "en-MT-fi",
        "de-MT-fi": "en-MT-fi",
        "fi-O": "en-MT-fi",
        "de-MT-en-MT-fi": "en-MT-fi",
        "ar-O": "en-O",
    }
    assert rules.baseline("fi-O", sources, "de-MT-fi") == "de-MT-fi"
    assert rules.baseline("fi-O", ("fi-O", "de-MT-fi"), None) is None
    assert sentence(DeclarationError, lambda: rules.baseline("fi-O", ("en-MT-fi", "en-HT-fi", "fi-O"), None)) == (
        "several sources could be the baseline of fi-O: en-MT-fi, en-HT-fi; name one with --baseline"
    )


def test_each_baseline_has_its_block():
    raw = replace(TASK, normalized=False)
    cells = {"en-O": (0.8, 0.6, 0.4), "fi-O": (0.5, 0.5, 0.5), "en-MT-fi": (0.6, 0.4, 0.2), "de-MT-en": (0.7, 0.7, 0.5)}
    tables = table(cells, task=raw)
    assert [(block.baseline, [row.source for row in block.rows]) for block in tables.blocks] == [
        ("en-O", ["en-O", "de-MT-en"]),
        ("en-MT-fi", ["en-MT-fi", "fi-O"]),
    ]
    assert scored.cells(tables, "m", "fi-O")["sw-HT-en"] == pytest.approx(30)
    (block,) = table(cells, task=raw, baseline="fi-O").blocks
    assert [row.source for row in block.rows] == ["fi-O", "en-O", "en-MT-fi", "de-MT-en"]


def test_without_a_baseline_the_table_says_so():
    tables = table({name: CELLS[name] for name in SOURCES[1:]}, task=replace(TASK, normalized=False))
    assert [row.values for row in tables.blocks[0].rows] == ["ability-difference"] * 2
    assert tables.notes == ("no baseline for de-MT-en, sw-MT-en: no source is English; name one with --baseline",)
    assert "differences are empty, for there is no baseline" in render(tables)


def test_a_baseline_that_the_task_declares_and_nobody_planned_is_missing():
    tables = table(task=replace(TASK, normalized=False, baseline="fr-O"))
    assert all(math.isnan(cell) for row in tables.blocks[0].rows for cell in row.cells)
    assert tables.notes == ("missing: toy.m.fr-O (baseline), which is not planned",)


# ------------------------------------------------------------------------------ what is asked, and what is refused


def test_unknown_names_are_refused_with_what_is_possible():
    assert sentence(DeclarationError, lambda: table(metric="acuracy")) == (
        "no metric 'acuracy'; did you mean 'accuracy'? Possible: accuracy"
    )
    assert sentence(DeclarationError, lambda: table(model="n")) == "no model 'n'. Possible: m"
    assert sentence(DeclarationError, lambda: table(split="tset")) == "no split 'tset'; did you mean 'test'? Possible: test"
    assert sentence(DeclarationError, lambda: table(selection="lst")) == "no selection 'lst'; did you mean 'last'? Possible: last"
    assert sentence(DeclarationError, lambda: table(baseline="en-o")).startswith("corpus 'en-o' is not spelled like")
    assert sentence(DeclarationError, lambda: Options(values="abilty")) == (
        "no values 'abilty'; did you mean 'ability'? Possible: paper, ability, relative, advantage, common, gap"
    )
    assert sentence(DeclarationError, lambda: render(table(), "markdwon")) == (
        "no format 'markdwon'; did you mean 'markdown'? Possible: text, csv, markdown, latex, html"
    )


def test_several_tasks_are_a_question():
    plan = scored.plan({"toy": TASK, "boy": TASK}, ["m"], SOURCES)
    scores = pd.concat([scored.rows(abilities()), scored.rows(abilities(), task="boy")])
    assert sentence(DeclarationError, lambda: build(plan, scores, Options())) == (
        "the results hold several tasks: toy, boy; name one with --task"
    )
    assert build(plan, scores, Options(task="boy")).task == "boy"
    assert sentence(DeclarationError, lambda: build(plan, scores, Options(task="tooy"))) == (
        "no task 'tooy'; did you mean 'toy'? Possible: toy, boy"
    )


def test_nothing_to_show_says_how_to_run():
    assert sentence(DataError, lambda: table(scores=scored.rows({}))) == (
        "no scores yet of task toy by accuracy on split test in sweep mine: "
        "`xfer-ray run` with its sweep file runs what is missing of 3 trials"
    )


def test_scores_of_other_trials_are_left_out():
    foreign = scored.rows(abilities({"en-O": (0.1, 0.1, 0.1)}), trial="toy.m.en-O.s9-0123456789ab")
    assert table(scores=pd.concat([scored.rows(abilities()), foreign])) == table()


def test_oracle_scores_are_never_shown_unless_asked_for():
    oracle = scored.rows(abilities({name: (0.9, 0.9, 0.9) for name in SOURCES}), selection="oracle")
    scores = pd.concat([scored.rows(abilities()), oracle])
    assert table(scores=scores) == table()
    assert scored.cells(table(scores=scores, selection="oracle", values="ability"), "m", "en-O")["de-HT-en"] == pytest.approx(90)
    assert sentence(DataError, lambda: table(scores=oracle)) == (
        "the only scores are of the selection oracle, which looked at the targets; --selection oracle shows them"
    )
    last = scored.rows(abilities({name: (0.1, 0.1, 0.1) for name in SOURCES}))
    chosen = scored.rows(abilities(), selection="source-dev")
    assert table(scores=pd.concat([last, chosen, oracle])) == table(scores=chosen)
    assert scored.cells(table(scores=pd.concat([last, chosen]), selection="last", values="ability"), "m", "en-O")["en-O"] == pytest.approx(
        10
    )
    some = pd.concat([last, chosen[chosen["source"] == "en-O"]])
    assert sentence(DeclarationError, lambda: table(scores=some)) == (
        "model m was scored at several selections: last, source-dev; name one with --selection"
    )


def test_a_text_to_text_model_is_shown_by_the_padded_metric_and_the_heading_says_so():
    facts = scored.facts(TARGETS, normalized=False, metrics=("f1", "f1_padded"))
    plan = replace(
        scored.plan({"toy": facts}, ["m", "t"], SOURCES),
        models={"m": ModelFacts("encoder", "x", None), "t": ModelFacts("text_to_text", "y", None)},
    )
    values = {(model, source, target): 0.5 for model in ("m", "t") for source in SOURCES for target in TARGETS}
    padded = {cell: 0.25 for cell in values}
    scores = pd.concat([scored.rows(values, metric="f1"), scored.rows(padded, metric="f1_padded")])
    built = build(plan, scores, Options())
    assert {block.model: block.metric for block in built.blocks} == {"m": "f1", "t": "f1_padded"}
    assert scored.cells(built, "m", "en-O")["en-O"] == 50
    assert scored.cells(built, "t", "en-O")["en-O"] == 25
    text = render(built)
    assert "toy, m, f1 x 100: " in text
    assert "toy, t, f1_padded x 100: " in text
    asked = build(plan, scores, Options(metric="f1"))
    assert {block.metric for block in asked.blocks} == {"f1"}


def test_scores_of_different_examples_do_not_stand_side_by_side():
    scores = scored.rows(abilities())
    scores.loc[(scores["source"] == "sw-MT-en") & (scores["target"] == "de-HT-en"), "n"] = 99
    assert sentence(DataError, lambda: table(scores=scores)) == (
        "target de-HT-en of task toy has two values of n, so its scores do not compare: 100 of en-O, de-MT-en; 99 of sw-MT-en"
    )
    scores["n"] = 100
    scores["data_fingerprint"] = ["a" * 64] * 8 + ["b" * 64]
    assert sentence(DataError, lambda: table(scores=scores)) == (
        "target sw-HT-en of task toy has two values of data_fingerprint, so its scores do not compare: "
        "aaaaaaaaaaaa of en-O, de-MT-en; bbbbbbbbbbbb of sw-MT-en"
    )


def test_two_scores_for_one_cell_are_refused():
    scores = scored.rows(abilities())
    assert sentence(DataError, lambda: table(scores=pd.concat([scores, scores.head(1)]))) == (
        "two scores for one cell: toy.m.en-O.s0-000000000000 on target en-O"
    )


def test_a_task_without_denominators_takes_none():
    assert sentence(DeclarationError, lambda: table(task=replace(TASK, normalized=False), denominators="HT")) == (
        "task toy is not normalized, so it has no denominators: its values are accuracy and differences of it"
    )
    assert sentence(DeclarationError, lambda: Options(layout="summary", values="gap")) == (
        "layout summary shows average advantages; values 'gap' needs the layout matrix"
    )


def test_a_results_folder_is_read_and_foreign_scores_are_counted(tmp_path):
    found = Results(open_storage(str(tmp_path)), "mine")
    plan = scored.plan({"toy": TASK}, ["m"], SOURCES)
    write_plan(found, plan)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found.storage.create(found.table("scores", "toy.m.en-O.s9-0123456789ab"), b"not even Parquet: nobody reads it")
    for trial in plan.trials:
        put_scores(
            found,
            [
                Score(
                    sweep="mine",
                    task="toy",
                    model="m",
                    source=trial.source,
                    target=target,
                    split="test",
                    metric="accuracy",
                    seed=0,
                    score=value,
                    n=100,
                    trial=trial.trial,
                    digest=trial.digest,
                    started=now,
                    finished=now,
                )
                for target, value in zip(TARGETS, CELLS[trial.source], strict=True)
            ],
        )
    tables = read(found, Options())
    assert tables.blocks == table().blocks
    assert tables.notes == ("ignored 1 scores file of trials that sweep.json does not plan",)
    found.storage.delete(found.table("scores", plan.trials[1].trial))
    assert "missing: toy.m.de-MT-en (denominator of column de-HT-en)" in read(found, Options()).notes


# ------------------------------------------------------------------------------ layouts


def test_table_4_compares_provenances_by_denominators_of_their_own():
    cells = {
        "en-O": (0.8, 0.6, 0.4),
        "de-HT-en": (0.8, 0.8, 0.4),
        "de-MT-en": (0.7, 0.75, 0.5),
        "sw-HT-en": (0.6, 0.5, 0.5),
        "sw-MT-en": (0.6, 0.4, 0.4),
    }
    (block,) = table(cells, layout="provenance").blocks
    expected = {  # mean over three targets, self terms included
        "de": ((0 + 0.2 / 0.8 + 0) / 3, (-0.1 / 0.8 + 0.15 / 0.75 + 0.1 / 0.4) / 3),
        "sw": ((-0.2 / 0.8 - 0.1 / 0.8 + 0.1 / 0.5) / 3, (-0.2 / 0.8 - 0.2 / 0.75 + 0) / 3),
    }
    assert [(row.source, row.values) for row in block.rows] == [("de", "advantage"), ("sw", "advantage")]
    assert {row.source: row.cells for row in block.rows} == {name: pytest.approx(pair) for name, pair in expected.items()}
    assert render(table(cells, layout="provenance"), "csv").splitlines()[0] == "task,model,language,values,runs,HT,MT"


@pytest.mark.parametrize(("kind", "other", "by"), [("MT", "HT", "by people"), ("HT", "MT", "by a machine")])
def test_a_provenance_that_no_source_has_takes_no_column_and_one_line(kind, other, by):
    cells = {source.replace("MT", kind): row for source, row in CELLS.items()}
    tables = table(cells, layout="provenance")
    assert tables.notes == (f"no column {other}: no source of toy was translated {by}",)
    assert render(tables, "csv").splitlines()[0] == f"task,model,language,values,runs,{kind}"
    assert [line.split() for line in render(tables).splitlines() if line.startswith(("language", "de", "sw"))] == [
        ["language", "|", kind],
        ["de", "|", "+8.3"],
        ["sw", "|", "-6.1"],
    ]
    controls = table(cells | {f"de-{other}-en~x": CELLS["en-O"], f"de-{other}-en+en-O": CELLS["en-O"]}, layout="provenance")
    assert controls.notes == tables.notes, "what counts only where it is named makes no column"
    planned = table(cells, sources=(*cells, f"de-{other}-en"), layout="provenance")
    assert "MT" in render(planned)
    assert "HT" in render(planned).splitlines()[2]
    assert f"missing: toy.m.de-{other}-en (denominator of column de-HT-en)" in planned.notes


def test_the_runs_of_a_provenance_are_those_behind_what_is_shown():
    cells = {"en-O": (0.8, 0.6, 0.4), "de-HT-en": (0.8, 0.8, 0.4), "sw-HT-en": (0.6, 0.5, 0.5)}
    text = render(table(cells, sources=(*cells, "de-MT-en"), layout="provenance"))  # which was not run, so the column MT is empty
    assert text.startswith("toy, m, accuracy x 100: zero-shot advantages over en-O; 1 run\n")


def test_a_model_without_a_translated_source_is_left_out_of_provenances_with_a_note():
    scores = pd.concat([scored.rows(abilities()), scored.rows(abilities({"en-O": CELLS["en-O"]}, model="floor"))])
    plan = scored.plan({"toy": TASK}, ["m"], SOURCES)
    floor = scored.plan({"toy": TASK}, ["floor"], ["en-O"])
    tables = build(replace(plan, trials=(*plan.trials, *floor.trials)), scores, Options(layout="provenance"))
    assert [block.model for block in tables.blocks] == ["m"]
    assert "floor is left out: it has no translated source with a baseline" in tables.notes
    only = table({"en-O": CELLS["en-O"], "sw-O": CELLS["sw-MT-en"]}, layout="matrix")
    assert only.blocks
    assert "has no translated source with a baseline" in sentence(
        DataError, lambda: table({"en-O": CELLS["en-O"], "sw-O": CELLS["sw-MT-en"]}, layout="provenance")
    )


def test_table_1_says_where_another_language_transfers_best():
    plan = scored.plan({"toy": TASK, "boy": TASK, "none": TASK}, ["m"], SOURCES)
    worse = {**CELLS, "de-MT-en": (0.3, 0.61, 0.3)}
    scores = pd.concat([scored.rows(abilities()), scored.rows(abilities(worse), task="boy")])
    tables = build(plan, scores, Options(layout="summary"))
    assert render(tables, "csv") == "model,toy,boy\nm,x,check\n"
    assert "x (de^MT +8.3)" in render(tables)


# ------------------------------------------------------------------------------ formats


def test_the_csv_is_the_contract():
    partial = {name: CELLS[name] for name in SOURCES[:2]}
    reader = csv.reader(io.StringIO(render(table(partial, sources=SOURCES), "csv")))
    assert list(reader) == [
        ["task", "model", "source", "values", "runs", "en-O", "de-HT-en", "sw-HT-en", "->LH", "->All"],
        ["toy", "m", "en-O", "relative", "1", "100.000000", "80.000000", "", "90.000000", ""],
        ["toy", "m", "de-MT-en", "advantage", "1", "-5.000000", "20.000000", "", "7.500000", ""],
        ["toy", "m", "sw-MT-en", "advantage", "0", "", "", "", "", ""],
    ]


def told(conditional: bool, p: float = 0.01) -> Interval:
    return Interval(0.1, 0.3, p, 0.1, conditional=conditional)


def test_a_tiny_p_is_not_printed_as_0_in_the_csv():
    rows = (Row("de-O", "advantage", 1, (0.2,), (told(True, 1.25e-9),)),)
    text = render(Tables(task="toy", targets=("en-O",), blocks=(Block("m", "en-O", rows),)), "csv", intervals=True)
    assert text.splitlines()[-1] == "toy,m,de-O,advantage-p,1,1.25e-09"


def test_the_legend_says_what_was_drawn_anew_for_the_intervals():
    def legend(*models: tuple[str, bool], of_seeds: tuple[str, ...] = ()) -> str:
        blocks = tuple(Block(model, "en-O", (Row("de-O", "advantage", 1, (0.2,), (told(alone),)),)) for model, alone in models)
        made = Tables(task="toy", targets=("en-O",), blocks=blocks, of_seeds=tuple(("toy", model) for model in of_seeds))
        return " ".join(render(made).split()).partition("(Holm): ")[2]

    assert legend(("a", False)) == "examples and seeds resampled"
    assert legend(("a", True)).startswith("examples resampled one seed: marks and intervals hold for these very models")
    assert legend(("a", True), ("b", False)).startswith("examples and seeds resampled where there is one seed: marks and intervals hold")
    assert legend(("a", False), of_seeds=("a",)) == "seeds alone, on these very examples (no predictions)"
    mixed = legend(("a", False), ("b", True), of_seeds=("a",))
    assert mixed.startswith("examples resampled; of a seeds alone, on these very examples (no predictions)")


def test_a_name_cannot_become_a_formula_or_markup():
    rows = (Row("en-O", "relative", 1, (0.5,)),)
    hostile = "=1+1|<b>&_^{x}\\\x1b[31m"
    tables = Tables(task=hostile, metric="accuracy", targets=("en-O",), blocks=(Block("@m", "en-O", rows),))
    assert list(csv.reader(io.StringIO(render(tables, "csv"))))[1][:2] == ["'" + hostile, "'@m"]
    assert "\x1b" not in render(tables) + render(tables, "markdown") + render(tables, "latex") + render(tables, "html")
    assert "=1+1|&lt;b&gt;&amp;_^{x}\\?[31m" in render(tables, "html")
    assert r"=1+1\textbar{}\textless{}b\textgreater{}\&\_\textasciicircum{}\{x\}\textbackslash{}?{[}31m" in render(tables, "latex")
    assert r"=1+1\|&lt;b&gt;&amp;\_\^\{x\}\\?\[31m" in render(tables, "markdown")


def test_sources_that_would_be_called_alike_are_called_by_their_chains():
    cells = {"en-O": (0.8, 0.6, 0.4), "de-MT-en": (0.7, 0.7, 0.5), "de-MT-fi": (0.6, 0.6, 0.6), "sw-MT-en": (0.5, 0.5, 0.5)}
    text = render(table(cells, task=replace(TASK, normalized=False)))
    assert "\nen^O->de^MT " in text
    assert "\nfi^O->de^MT " in text
    assert "\nsw^MT " in text


def test_common_values_rank_by_source_effects():
    tables = table(values="common")
    ranked = sorted(tables.blocks[0].effects, key=lambda source: -tables.blocks[0].effects[source])
    assert ranked == ["de-MT-en", "en-O", "sw-MT-en"]
    assert "source effects: de^MT +" in render(tables)


def golden_tables() -> Tables:
    """Two models with a hole, differing runs, two sections and a negative zero."""
    targets = ("en-O", "de-HT-en", "sw-HT-en", "zh-HT-en")
    task = scored.facts(targets, groups={"Latin": targets[:3], "CJK": targets[3:], "All": targets})
    first = {
        "en-O": (0.8, 0.6, 0.4, 0.5),
        "de-MT-en": (0.7997, 0.75, 0.45, 0.5),
        "sw-MT-en": (0.6, 0.5, 0.5, 0.4),
        "zh-MT-en": (0.7, 0.6, 0.4, 0.6),
    }
    second = {name: first[name] for name in ("en-O", "de-MT-en", "zh-MT-en")}
    scores = [
        scored.rows(abilities(first, targets=targets)),
        scored.rows(abilities(first, targets=targets), seed=1),
        scored.rows(abilities(second, "big_model", targets=targets)),
    ]
    plan = scored.plan({"toy": task}, ["m", "big_model"], tuple(first), (0, 1))
    return build(plan, pd.concat(scores), Options())


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "html", "csv"])
def test_the_formats_look_as_recorded(style):
    file = GOLDEN / f"table.{style}"
    found = render(golden_tables(), style)
    if os.environ.get("XFER_RAY_GOLDEN") == "write":
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8"), "if this is intended: make golden"
