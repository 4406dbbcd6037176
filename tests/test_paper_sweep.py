"""Run: pytest tests/test_paper_sweep.py. The sweep of all tables of Turc et al. 2021: what it holds, and that it is planned offline."""

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.reproduce import printed
from sweeps import paper, paper_both, pawsx, tydiqa_ar, tydiqa_fi, xnli, xnli_swapped, xquad
from xfer_ray import sweepfile
from xfer_ray.cli import app

ROOT = Path(__file__).resolve().parents[1]
OF_TABLE = {"xnli": 30, "pawsx": 42, "xnli-swapped": 29, "xquad": 9, "tydiqa-fi": 8, "tydiqa-ar": 8}


def test_each_table_has_the_trials_that_it_needs():
    assert Counter(trial.task.name for trial in paper.SWEEP.trials) == OF_TABLE
    assert len(paper.SWEEP.trials) == 126
    seeds = {name: {trial.seed for trial in paper.SWEEP.trials if trial.task.name == name} for name in OF_TABLE}
    assert seeds == {**dict.fromkeys(OF_TABLE, {0}), "pawsx": {0, 1, 2}}


def test_with_both_models_in_table_4_there_are_155():
    added = [trial for trial in paper_both.SWEEP.trials if trial not in paper.SWEEP.trials]
    assert len(paper_both.SWEEP.trials) == 155
    assert {(trial.task.name, trial.model.name) for trial in added} == {("xnli-swapped", "mt5-base")}
    assert all(trial.model.recipe.select_every is None for trial in added), "its dev split is the one that is evaluated"


def test_the_sweeps_of_single_tables_have_the_same_trials_so_that_each_is_run_once():
    single = {trial.id for sweep in (xnli, pawsx, xnli_swapped, xquad, tydiqa_fi, tydiqa_ar) for trial in sweep.SWEEP.trials}
    assert {trial.id for trial in paper.SWEEP.trials} <= single


def test_every_printed_row_has_a_trial_and_every_trial_a_printed_row():
    held = {(t.task.name, t.model.name, str(t.source)) for t in paper.SWEEP.trials}
    tables = printed.load("turc2021").values()
    rows = {(table.task, model or "mbert", source) for table in tables for model in table.models for source in table.sources(model)}
    assert held == rows


def test_the_tasks_have_the_columns_and_groups_that_are_printed():
    tasks = {trial.task.name: trial.task for trial in paper.SWEEP.trials}
    for table in printed.load("turc2021").values():
        task = tasks[table.task]
        groups = {name: tuple(str(t) for t in task.targets if t.language in members) for name, members in task.groups.items()}
        own = {**groups, "All": tuple(map(str, task.targets))}
        assert table.groups == (own if table.number != 4 else {"All": own["All"]})
        assert table.normalized == task.normalized
        assert table.baseline == str(task.baseline or "en-O")


@pytest.mark.parametrize(
    ("only", "count"), [("task=xnli,model=mbert", 15), ("task=xnli-swapped,model=mbert", 29), ("task=tydiqa-ar,model=mt5-uniform", 4)]
)
def test_the_command_for_what_was_not_run_names_its_trials(only, count):
    assert len(sweepfile.choose(paper.SWEEP, only=only)[1]) == count


def test_it_is_planned_without_network(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))  # which the command sets too: it is put back afterwards
    told = CliRunner().invoke(
        app, ["plan", str(ROOT / "sweeps/paper.py"), "--mirror", str(mirror), "--storage", str(tmp_path / "results"), "--json"]
    )
    assert told.exit_code == 0, told.output
    plan = json.loads(told.stdout)
    assert sum(plan["counts"].values()) == len(plan["trials"]) == 126
    assert set(plan["estimate"]) >= {"gpu_hours", "from", "money"}
    denominators = {(one["task"], one["model"], one["target"]): one["source"] for one in plan["denominators"]}
    assert None not in denominators.values()
    assert denominators["pawsx", "mt5-base", "ko-HT-en"] == "ko-MT-en"
    assert denominators["xnli-swapped", "mbert", "sw-HT-en"] == "sw-HT-en"
    assert not (tmp_path / "results").exists()
