"""Run: pytest tests/test_claims.py. The claims of Turc et al. 2021 on the paper's own figures, and what makes a claim hold."""

import math
import re
from pathlib import Path

import pytest

from analysis import reproduce
from analysis.reproduce import claims, printed, verdicts
from analysis.reproduce.evidence import Estimate, of_averages, of_printed
from analysis.reproduce.verdicts import FAILS, HOLDS, NOT_RUN, OPEN
from xfer_ray import sweepfile

TABLES = printed.load("turc2021")

# ------------------------------------------------------------------------------ claims on the paper's own figures


def verdicts_of(checks):
    return {(check.claim, check.where, check.task, *check.models): check.finding.verdict for check in checks}


PRINTED_CHECKS = verdicts_of(reproduce.of_paper("turc2021").checks)


def test_table_1_follows_from_the_printed_cells():
    beats, none = "x: a source beats English", "check: no source beats English"
    assert {key: verdict for key, verdict in PRINTED_CHECKS.items() if key[1] == "Table 1"} == {
        (beats, "Table 1", "xnli", "mbert"): HOLDS,
        (beats, "Table 1", "pawsx", "mbert"): HOLDS,
        (beats, "Table 1", "xquad", "mbert"): HOLDS,
        (beats, "Table 1", "xnli", "mt5-base"): HOLDS,
        (beats, "Table 1", "pawsx", "mt5-base"): HOLDS,
        (none, "Table 1", "xquad", "mt5-base"): HOLDS,
    }


def test_table_2_prefers_bulgarian_and_chinese_to_russian_and_german_on_mt5():
    assert PRINTED_CHECKS["bg and zh beat ru and de", "Table 2, against §8", "xnli", "mt5-base"] == HOLDS
    gains = {s: row["->All"] for (model, s), row in TABLES[2].rows.items() if model == "mt5-base" and s != "en-O"}
    assert sorted(gains, key=gains.get)[-4:] == ["de-MT-en", "ru-MT-en", "zh-MT-en", "bg-MT-en"]


def test_what_the_printed_figures_say_of_the_other_claims():
    failing = {key for key, verdict in PRINTED_CHECKS.items() if verdict == FAILS}
    assert failing == {
        ("de beats English in every group", "Table 2, §7.1", "xnli", "mbert"),  # ->LL is printed as -0.5
        ("ru beats English in every group", "Table 2, §7.1", "xnli", "mbert"),  # ->LH as -0.6, ->LL as -1.0
        ("de and fr beat English in every group", "Table 3, caption", "pawsx", "mt5-base"),  # fr ->Latin as +0.0
        ("the same beat English by HT and by MT", "Table 4", "xnli-swapped", ""),  # hi as -0.8 and +0.1
    }
    assert {key[1] for key, verdict in PRINTED_CHECKS.items() if verdict == NOT_RUN} == {"footnote 5"}
    assert len(PRINTED_CHECKS) == 27


def test_each_claim_can_fail():
    """The printed figures turned around: what held does not, and the other way round where anything is above 0."""
    turned = {}
    for table in TABLES.values():
        for model in table.models:
            for kind in ("HT", "MT") if table.number == 4 else ("",):
                one = of_averages(table, kind) if kind else of_printed(table, model)
                values = 2 * one.values.loc[one.baseline] - one.values
                turned[table.task, model, kind] = one.__class__(**{**one.__dict__, "values": values})
    turned["xnli", "mbert", ""], turned["xnli", "mt5-base", ""] = turned["xnli", "mt5-base", ""], turned["xnli", "mbert", ""]
    turned["pawsx", "mbert", ""], turned["pawsx", "mt5-base", ""] = turned["pawsx", "mt5-base", ""], turned["pawsx", "mbert", ""]
    shares = {target: -share for target, share in printed.ascii_only("turc2021").items()}
    beaten = printed.outperformed("turc2021")
    now = verdicts_of(claims.checks(claims.Seen(turned, shares, beaten)))
    fails = {key[1:] for key, verdict in now.items() if verdict == FAILS}
    held = {key[1:] for key, verdict in PRINTED_CHECKS.items() if verdict == HOLDS and key[1] not in ("Table 1", "Table 2, against §8")}
    assert held <= fails
    assert {("Table 1", "xquad", "mbert"), ("Table 1", "xquad", "mt5-base")} <= fails


def test_the_repair_of_table_2_changes_no_verdict():
    (note,) = reproduce.of_paper("turc2021").notes
    assert note.endswith("repairing them changes no verdict")
    assert verdicts_of(reproduce._checks_of_paper("turc2021", repaired=True)) == PRINTED_CHECKS


def test_the_twin_of_footnote_5_is_checked_where_it_was_run():
    uniform = of_printed(TABLES[6], "mt5-uniform")
    for shift, verdict in ((-0.02, HOLDS), (0.02, FAILS)):
        twin = uniform.__class__(**{**uniform.__dict__, "model": claims.TWIN, "values": uniform.values + shift})
        seen = claims.Seen({("tydiqa-fi", "mt5-uniform", ""): uniform, ("tydiqa-fi", claims.TWIN, ""): twin})
        assert next(claims.the_twin_degrades(seen)).finding.verdict == verdict


# ------------------------------------------------------------------------------ verdicts


def sure(value, reach, p):
    return Estimate(value, value - reach, value + reach, p)


@pytest.mark.parametrize(
    ("found", "all_above", "any_above"),
    [
        ({"a": Estimate(0.1), "b": Estimate(0.2)}, HOLDS, HOLDS),
        ({"a": Estimate(0.1), "b": Estimate(-0.2)}, FAILS, HOLDS),
        ({"a": Estimate(0.0), "b": Estimate(-0.2)}, FAILS, FAILS),  # 0 is not above 0
        ({"a": sure(0.1, 0.05, 0.001), "b": sure(0.2, 0.1, 0.001)}, HOLDS, HOLDS),
        ({"a": sure(0.1, 0.05, 0.001), "b": sure(0.2, 0.3, 0.2)}, OPEN, HOLDS),
        ({"a": sure(-0.1, 0.05, 0.001), "b": sure(0.2, 0.3, 0.2)}, FAILS, OPEN),
        ({"a": sure(-0.1, 0.05, 0.001), "b": sure(-0.2, 0.1, 0.001)}, FAILS, FAILS),
        ({"a": sure(0.1, 0.09, 0.04), "b": sure(-0.1, 0.2, 0.3)}, OPEN, OPEN),  # 0.04 of two is 0.08 after Holm
        ({"a": sure(0.1, 0.05, 0.001), "b": Estimate(math.nan)}, OPEN, HOLDS),  # a hole
        ({"a": sure(-0.1, 0.05, 0.001), "b": Estimate(math.nan)}, FAILS, OPEN),
        ({"a": Estimate(math.nan)}, NOT_RUN, NOT_RUN),
    ],
)
def test_all_above_0_and_any_above_0(found, all_above, any_above):
    assert verdicts.every(found).verdict == all_above
    assert verdicts.some(found).verdict == any_above


def test_the_sweep_of_the_page_has_what_footnote_5_needs(tmp_path):
    page = (Path(__file__).resolve().parents[1] / "docs/reproduction.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"(?m)(?:^    .*\n(?:\n(?=    ))?)+", page) if "SWEEP = " in block)
    (tmp_path / "twin.py").write_text(re.sub(r"(?m)^    ", "", block))
    sweep, _ = sweepfile.read(tmp_path / "twin.py")
    of_twin = [trial.task.name for trial in sweep.trials if trial.model.name == claims.TWIN]
    assert (len(sweep.trials), sorted(set(of_twin)), len(of_twin)) == (134, ["tydiqa-ar", "tydiqa-fi"], 8)
