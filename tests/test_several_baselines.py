"""Sources with different baselines are ranked by value, and equal ones are said to be equal: in the summary, the report, the advice."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import reported
import scored
from reported import World

from analysis import measure, recommend, tables
from analysis.ranking import leaders, ranking_of
from analysis.recommend import Question, advice
from analysis.render import render
from analysis.report import certainty, gather, page, wording
from analysis.report.facts import Answer
from analysis.selection import Options, select
from xfer_ray.importing import import_scores
from xfer_ray.storage import open_storage

TARGETS = ("en-O", "ru-HT-en")
TWO_ORIGINS = {  # ru-O leads en-MT-ru by far, and is behind en-O
    "en-O": (0.80, 0.50),
    "ru-HT-en": (0.70, 0.80),
    "en-MT-ru": (0.40, 0.30),
    "ru-O": (0.55, 0.65),
}


def summary(cells, targets=TARGETS) -> str:
    abilities = {("m", s, t): value for s, row in cells.items() for t, value in zip(targets, row, strict=True)}
    plan = scored.plan({"own": scored.facts(targets)}, ("m",), tuple(cells))
    return render(tables.build(plan, scored.rows(abilities, task="own"), Options(layout="summary")))


def advised(cells, targets=TARGETS, **asked) -> str:
    abilities = {("m", s, t): value for s, row in cells.items() for t, value in zip(targets, row, strict=True)}
    selected = select(scored.plan({"toy": scored.facts(targets)}, ("m",), tuple(cells)), scored.rows(abilities), Options(values="relative"))
    shares = dict.fromkeys(targets, 1.0)
    found = recommend.recommend(selected, "m", shares, Options(values="relative"), Question(**asked), None)
    return " ".join(advice.text([found]).split())


def world(cells, targets=TARGETS, **changed) -> World:
    ability = {("tiny", s, t): value for s, row in cells.items() for t, value in zip(targets, row, strict=True)}
    return World(sources=tuple(cells), targets=targets, ability=ability, **{"seeds": (0,), "examples": 40, **changed})


# ------------------------------------------------------------------------------ which is named


def test_the_summary_names_the_highest_of_those_that_outperform_their_own_baselines():
    assert "x (ru^HT +16.8 over en^O)" in summary(TWO_ORIGINS)
    behind = {**TWO_ORIGINS, "ru-HT-en": (0.62, 0.60)}
    assert "x (ru^O +36.3 over en^MT)" in summary(behind), "ru-HT-en has the higher mean, and is below en-O"
    alone = {source: row for source, row in TWO_ORIGINS.items() if "ru-O" not in source and source != "en-MT-ru"}
    assert re.search(r"x \(ru\^HT \+\d+\.\d\)", summary(alone)), "one baseline needs no name"


def test_a_value_is_compared_with_the_best_baseline_of_its_budget():
    over = {"en-O": "en-O", "en-MT-ru": "en-MT-ru", "ru-O": "en-MT-ru", "en-O@900": "en-O@900", "de-O@900": "en-O@900"}
    values = {"en-O": 0.8, "en-MT-ru": 0.4, "ru-O": 0.6, "en-O@900": 0.7, "de-O@900": 0.75}
    assert measure.best_baseline("ru-O", over, values) == "en-O"
    assert measure.best_baseline("de-O@900", over, values) == "en-O@900"
    assert measure.best_baseline("ru-O", over, {**values, "en-O": float("nan")}) == "en-MT-ru"
    assert measure.best_baseline("ru-O", {"ru-O": None}, values) is None


def test_the_report_leads_with_the_highest_value_over_the_best_baseline(tmp_path):
    found = gather.read(reported.sweep_in(tmp_path, world(TWO_ORIGINS)))
    answer = found.findings[0].answer
    assert (answer.best, answer.over, answer.first, answer.compared) == ("ru-HT-en", "en-O", "ru-HT-en", 3)
    values = found.findings[0].values["->All"]
    assert answer.gain == pytest.approx(values["ru-HT-en"] - values["en-O"])
    assert answer.low < answer.gain < answer.high


def test_a_lead_over_a_weak_baseline_is_told_over_the_strong_one(tmp_path):
    cells = {**TWO_ORIGINS, "ru-O": (0.75, 0.85), "ru-HT-en": (0.5, 0.5)}
    answer = gather.read(reported.sweep_in(tmp_path, world(cells))).findings[0].answer
    assert (answer.best, answer.over) == ("ru-O", "en-O")
    assert answer.low < answer.gain < answer.high


def test_the_ranking_figure_is_in_the_order_of_values_and_shows_them(tmp_path):
    finding = gather.read(reported.sweep_in(tmp_path, world(TWO_ORIGINS))).findings[0]
    assert page.ranked(finding) == ["ru-HT-en", "en-O", "ru-O", "en-MT-ru"]
    drawn = page._ranking(finding)
    assert drawn.words.title == "Average relative zero-shot ability, by source"
    shown = re.findall(r"(\S+) (\S+) \((\S+) to (\S+)\)", drawn.words.description)
    assert [name for name, *_ in shown] == page.ranked(finding)
    for name, value, low, high in shown:
        assert value == wording.number(finding.values.at[name, "->All"])
        assert float(low) < float(value) < float(high)
    one = gather.read(reported.sweep_in(tmp_path / "one", world({s: TWO_ORIGINS[s] for s in TARGETS}))).findings[0]
    assert page._ranking(one).words.title == "Average zero-shot advantage over en-O, by source"


def test_a_mixture_that_holds_english_too_may_be_the_answer_and_no_sentence_contradicts_it(tmp_path):
    cells = {"en-O": (0.8, 0.5), "ru-HT-en": (0.6, 0.7), "en-O+ru-HT-en": (0.85, 0.8), "en-O@900": (0.7, 0.4), "ru-HT-en@900": (0.5, 0.6)}
    report = gather.read(reported.sweep_in(tmp_path, world(cells)))
    answer = report.findings[0].answer
    assert (answer.best, answer.over, answer.first) == ("en-O+ru-HT-en", "en-O", "en-O+ru-HT-en")
    assert "It has the highest average" in " ".join(wording.how_sure(answer))
    assert answer.compared == 2, "what has another budget is compared with another baseline"


def test_where_a_kind_of_english_is_ahead_of_all_the_headline_speaks_of_the_other_languages():
    answer = Answer(best="de-O", over="en-O", value=0.9, gain=0.02, sure=True, first="en-MT-de-MT-en", targets=2)
    assert wording.headline(answer) == "de-O leads the other languages"
    assert wording.headline(dataclasses.replace(answer, first="de-O")) == "Fine-tune on de-O"


def test_with_one_baseline_the_answers_test_is_the_tables(tmp_path):
    results = reported.sweep_in(tmp_path, reported.TOY)
    (block,) = tables.read(results, Options()).blocks
    told = {row.source: row.intervals[-1] for row in block.rows}
    answer = gather.read(results).findings[0].answer
    assert (answer.low, answer.high, answer.p, answer.detectable) == pytest.approx(dataclasses.astuple(told[answer.best])[:4])
    assert certainty.over_one("en-O", ["de-HT-en"], TARGETS, None, None) == {}


def test_zero_shot_advice_quotes_the_best_baseline():
    targets = ("en-O", "ru-HT-en", "de-HT-en")
    cells = {"en-O": (0.8, 0.5, 0.6), "de-HT-en": (0.72, 0.6, 0.8), "en-MT-ru": (0.4, 0.2, 0.2), "ru-O": (0.75, 0.65, 0.7)}
    said = advised(cells, targets, zero_shot=True)
    assert said.startswith("Fine-tune m on ru-O: ")
    assert re.search(r"\. en-O is \d+\.\d points behind\. ", said)


# ------------------------------------------------------------------------------ equal ones

LEVEL = {"en-O": (0.8, 0.5), "ru-HT-en": (0.8, 0.5), "de-O": (0.8, 0.5)}
FIRST_TWO = {"en-O": (0.8, 0.5), "de-O": (0.8, 0.6), "fr-O": (0.8, 0.6), "ru-HT-en": (0.7, 0.5)}


def test_leaders_are_all_that_equal_the_highest_but_for_rounding():
    nan = float("nan")
    assert leaders({"a": 0.1 + 0.2, "b": 0.3, "c": nan, "d": 0.2999}) == ("a", "b")
    assert leaders({"a": nan}) == leaders({}) == ()
    matrix = pd.DataFrame({"en-O": [0.3, 0.1 + 0.2, 0.2]}, index=["a", "b", "c"])
    assert ranking_of(matrix, np.ones(1), least=False, zero_shot=False).best == 0


def test_equal_sources_are_told_as_equal_in_the_summary():
    assert "x (de^O = fr^O +10.0)" in summary(FIRST_TWO)
    assert "check (ru^HT = de^O +0.0)" in summary(LEVEL)
    many = {"en-O": (0.8, 0.5), "ru-O": (0.8, 0.5), **{f"{name}-O": (0.8, 0.5) for name in ("de", "fr", "es")}}
    assert "check (4 equal ones +0.0)" in summary(many)


def test_equal_sources_are_told_as_equal_in_the_advice():
    assert advised(FIRST_TWO).startswith(
        "Fine-tune m on de-O or fr-O, which are equal: 110.0, the mean over 2 targets. en-O is 10.0 points"
    )
    assert advised(LEVEL).startswith("No source of m differs from another")
    rounded = {**FIRST_TWO, "fr-O": (0.7 + 0.1, 0.6)}  # 0.7999999999999999
    assert advised(rounded).startswith("Fine-tune m on de-O or fr-O, which are equal")


@pytest.mark.parametrize(
    ("changed", "headline", "sentence"),
    [
        (
            {"equal": ("fr-O",)},
            "Fine-tune on de-O or fr-O",
            "Averaged over all 2 targets, de-O and fr-O are equal, and 2.0 points better than en-O.",
        ),
        (
            {"equal": ("fr-O",), "sure": False},
            "de-O and fr-O lead",
            "Averaged over all 2 targets, de-O and fr-O are equal, and 2.0 points better than en-O.",
        ),
        ({"gain": 0.0}, "en-O and de-O are equal", "Averaged over all 2 targets, no other source is better than en-O; de-O equals it."),
        ({"gain": 0.0, "alike": True, "equal": ("fr-O",)}, "No source differs", "Averaged over all 2 targets, all sources reach 90.0."),
        (
            {"gain": -0.01, "equal": ("fr-O",)},
            "Stay with en-O",
            "Averaged over all 2 targets, no other source is better than en-O; the nearest, de-O and fr-O, are at −1.0 points.",
        ),
    ],
)
def test_equal_sources_in_the_words_of_a_report(changed, headline, sentence):
    answer = dataclasses.replace(Answer(best="de-O", over="en-O", value=0.9, gain=0.02, sure=True, targets=2), **changed)
    assert (wording.headline(answer), wording.by_how_much(answer)) == (headline, sentence)


def test_a_report_on_sources_that_are_all_equal_puts_none_first(tmp_path):
    same = dict.fromkeys(("en-O", "de-HT-en", "ru-HT-en"), (0.999, 0.999, 0.999))
    swept = reported.sweep_in(tmp_path, world(same, ("en-O", "de-HT-en", "ru-HT-en"), examples=12))
    answer = gather.read(swept).findings[0].answer
    assert (answer.alike, answer.gain, answer.like_for_like) == (True, 0.0, ())
    assert wording.headline(answer) == "No source differs"
    assert wording.how_sure(answer) == []


def test_a_source_that_lacks_a_score_is_not_ranked_and_said_so(tmp_path):
    cells = {"en-O": (0.5, 0.5, 0.5), "de-O": (0.6, 0.6, 0.6), "fr-O": (0.95, 0.95)}
    rows = [f"t,m,{s},0,{t},accuracy,{v}" for s, row in cells.items() for t, v in zip(("sw-O", "yo-O", "th-O"), row, strict=False)]
    (tmp_path / "theirs.csv").write_text("\n".join(["task,model,source,seed,target,metric,score", *rows]))
    storage = open_storage(str(tmp_path))
    found = import_scores(tmp_path / "theirs.csv", storage, name="theirs", percent=False, known=lambda name: None)
    (finding,) = gather.read(found).findings
    said = " ".join(wording.how_sure(finding.answer))
    assert finding.answer.best == "de-O"
    assert "Not ranked, for scores are missing (see Coverage): fr-O." in said
    assert "zero-shot for every source alike" not in said, "no target is any source's own"
