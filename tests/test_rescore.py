"""Another metric from stored predictions: a made-up sweep of questions in three scripts, rescored as a user does it."""

from dataclasses import replace

import pandas as pd
import pytest
from committed import DIGEST, plan_for, scores_of, trial_name
from toy import Toy

from analysis import tables
from analysis.selection import Options
from xfer_ray import commit, metrics, planfile
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.planfile import PlannedTrial
from xfer_ray.rescore import rescore
from xfer_ray.results import Prediction, Results
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage

GOLDS = {
    "en-O": [("the Eiffel Tower", "Eiffel"), ("1889",)],
    "th-HT-en": [("สิบปี",), ("ปารีส",)],
    "zh-HT-en": [("北京大学",), ("上海",)],
}
SAID = {"en-O": ["Eiffel Tower", "1890"], "th-HT-en": ["สิบ", "ปารีส"], "zh-HT-en": ["北京", "上海"]}
BY_SCRIPT = {"en-O": 0.5, "th-HT-en": 0.9, "zh-HT-en": (2 / 3 + 1) / 2}
FIRST, SECOND = trial_name(seed=0), trial_name(seed=1)


def predictions_of(trial: str) -> list[Prediction]:
    """What was selected on the source's dev set says the above; the last checkpoint said nothing in English."""
    chosen = [(target, "source-dev", str(i), text) for target, texts in SAID.items() for i, text in enumerate(texts)]
    found = []
    for target, selection, example, text in [*chosen, ("en-O", "last", "0", ""), ("en-O", "last", "1", "")]:
        values = {"f1": metrics.f1(text, GOLDS[target][int(example)], "en")}
        found.append(Prediction(trial, target, selection, example, text, "", values))
    return found


@pytest.fixture
def sweep(tmp_path) -> Results:
    found = Results(open_storage(str(tmp_path / "results")), "toy")
    for seed, trial in enumerate((FIRST, SECOND)):
        said = predictions_of(trial)
        assert commit.commit(found, scores_of(said, seed=seed, metric="f1", metric_version="1", host="h", step=7), said) == "committed"
    for target, golds in GOLDS.items():
        items = Examples(tuple(Example(str(i), "?", "context", answers) for i, answers in enumerate(golds)))
        commit.put_examples(found, "toy", target, items)
    plan = plan_for([PlannedTrial(trial, "toy", "tiny", "en-O", seed, DIGEST) for seed, trial in enumerate((FIRST, SECOND))])
    facts = replace(plan.tasks["toy"], targets=tuple(GOLDS), groups={"All": tuple(GOLDS)}, metrics=("f1",))
    planfile.write_plan(found, replace(plan, tasks={"toy": facts}))
    return found


def file_of(sweep: Results, trial: str = FIRST, metric: str = "f1_script") -> str:
    return f"{sweep.url}/rescored/{metric}/{trial}.parquet"


def values(path: str) -> dict[tuple[str, str], float]:
    return pd.read_parquet(path).set_index(["target", "selection"])["score"].to_dict()


def test_rows_are_those_of_the_scores_with_another_metric(sweep):
    done = rescore(sweep, "f1_script")
    assert (done.written, done.current, done.undefined, done.faults) == (2, 0, (), ())
    before, after = pd.read_parquet(f"{sweep.url}/scores/{FIRST}.parquet"), pd.read_parquet(file_of(sweep))
    assert list(after.columns) == list(before.columns)
    same = [name for name in before.columns if name not in ("metric", "metric_version", "score")]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert set(after["metric"] + after["metric_version"]) == {"f1_script1"}
    expected = {(target, "source-dev"): value for target, value in BY_SCRIPT.items()} | {("en-O", "last"): 0.0}
    assert values(file_of(sweep)) == pytest.approx(expected)
    assert list(pd.read_parquet(f"{sweep.url}/scores")["metric"].unique()) == ["f1"]  # untouched


def test_the_metric_that_was_scored_comes_out_again(sweep):
    rescore(sweep, "f1")
    pd.testing.assert_frame_equal(pd.read_parquet(file_of(sweep, metric="f1")), pd.read_parquet(f"{sweep.url}/scores/{FIRST}.parquet"))


@pytest.mark.fault("F36", injected="a metric gets another version")
def test_what_is_up_to_date_is_left_and_what_is_not_is_made_again(sweep, monkeypatch):
    rescore(sweep, "f1_script")
    written = open_storage(sweep.storage.url).read(sweep.rescored("f1_script", FIRST))
    again = rescore(sweep, "f1_script")
    assert (again.written, again.current) == (0, 2)
    sweep.storage.replace(sweep.rescored("f1_script", FIRST), b"not Parquet")
    again = rescore(sweep, "f1_script")
    assert (again.written, again.current) == (1, 1)
    assert sweep.storage.read(sweep.rescored("f1_script", FIRST)) == written
    monkeypatch.setitem(metrics.METRICS, "f1_script", (lambda prediction, answers, language: 0.25, "2"))
    again = rescore(sweep, "f1_script")
    assert (again.written, again.current) == (2, 0)
    assert set(values(file_of(sweep)).values()) == {0.25}
    assert set(pd.read_parquet(file_of(sweep))["metric_version"]) == {"2"}


def test_a_language_without_rules_is_named_and_has_no_row(sweep):
    done = rescore(sweep, "f1_mlqa")
    assert done.undefined == ("f1_mlqa has no value for target th-HT-en of task toy: it is not defined for 'th'",)
    assert (done.written, done.faults) == (2, ())
    assert values(file_of(sweep, metric="f1_mlqa")) == pytest.approx(
        {("en-O", "source-dev"): 0.5, ("zh-HT-en", "source-dev"): (2 / 3 + 1) / 2, ("en-O", "last"): 0.0}
    )
    again = rescore(sweep, "f1_mlqa")
    assert (again.current, len(again.undefined)) == (2, 1)


FAULTS = [
    (f"predictions/{FIRST}.parquet", None, f"toy/predictions/{FIRST}.parquet is missing"),
    (f"scores/{FIRST}.parquet", b"PAR1", f"toy/scores/{FIRST}.parquet is damaged: "),
    (f"predictions/{FIRST}.parquet", b"", f"toy/predictions/{FIRST}.parquet is damaged: "),
]


@pytest.mark.parametrize(("path", "content", "sentence"), FAULTS, ids=["missing", "scores", "predictions"])
def test_a_trial_with_a_bad_file_is_named_and_the_others_go_on(sweep, tmp_path, path, content, sentence):
    file = tmp_path / "results" / "toy" / path
    file.unlink() if content is None else file.write_bytes(content)
    done = rescore(sweep, "f1_script")
    assert (done.written, len(done.faults)) == (1, 1)
    assert done.faults[0].startswith(f"{FIRST} is not rescored: {sentence}")
    assert values(file_of(sweep, SECOND))["th-HT-en", "source-dev"] == pytest.approx(0.9)


def test_missing_examples_or_predictions_are_named(sweep, tmp_path):
    folder = tmp_path / "results" / "toy"
    commit.put_predictions(sweep, "other", predictions_of(FIRST)[:-1])
    (folder / "predictions" / f"{FIRST}.parquet").write_bytes((folder / "predictions" / "other.parquet").read_bytes())
    (folder / "examples" / "toy.zh-HT-en.parquet").unlink()
    assert rescore(sweep, "f1_script").faults == (
        f"{FIRST} is not rescored: toy/examples/toy.zh-HT-en.parquet is missing",
        f"{SECOND} is not rescored: toy/examples/toy.zh-HT-en.parquet is missing",
    )
    commit.put_examples(sweep, "toy", "zh-HT-en", Examples((Example("0", "?", "", ("北京大学",)),)))
    short, strange = rescore(sweep, "f1_script").faults[0], rescore(sweep, "f1_script").faults[1]
    assert short == strange.replace(SECOND, FIRST)  # the examples come first in the order of the rows
    assert strange == f"{SECOND} is not rescored: toy/examples/toy.zh-HT-en.parquet lacks 1 of the examples that it predicted, 1 among them"
    (folder / "examples" / "toy.zh-HT-en.parquet").unlink()
    items = Examples(tuple(Example(str(i), "?", "", answers) for i, answers in enumerate(GOLDS["zh-HT-en"])))
    commit.put_examples(sweep, "toy", "zh-HT-en", items)
    assert rescore(sweep, "f1_script").faults == (
        f"{FIRST} is not rescored: its predictions hold 1 answers on en-O by selection last, and its scores sum up 2; "
        "`xfer-ray check` says more",
    )


def test_what_cannot_be_asked_is_refused(sweep, tmp_path):
    with pytest.raises(DeclarationError, match=r"^no metric 'f1_scrip'; did you mean 'f1_script'\? Possible: accuracy, "):
        rescore(sweep, "f1_scrip")
    with pytest.raises(DeclarationError, match=r"^no task with committed trials 'toi'; did you mean 'toy'\? Possible: toy$"):
        rescore(sweep, "f1_script", task="toi")
    assert rescore(sweep, "f1_script", task="toy").written == 2
    empty = Results(open_storage(str(tmp_path / "results")), "empty")
    with pytest.raises(DataError) as refused:
        rescore(empty, "f1_script")
    assert str(refused.value) == (
        f"no trial of {empty.url} is committed, so there are no predictions to rescore; `xfer-ray run` makes them"
    )


def test_tables_show_what_was_rescored_and_ask_for_what_was_not(sweep, tmp_path):
    asked = Options(metric="f1_script", values="ability", selection="source-dev")
    with pytest.raises(DeclarationError) as refused:
        tables.read(sweep, asked)
    assert str(refused.value) == (
        f"no metric 'f1_script'. Possible: f1; `xfer-ray rescore {sweep.url} --metric NAME` computes others from the predictions"
    )
    rescore(sweep, "f1_script")
    shown = tables.read(sweep, asked)
    assert shown.metric == "f1_script"
    [row] = shown.blocks[0].rows
    assert row.runs == 2
    assert row.cells[:3] == pytest.approx(tuple(BY_SCRIPT.values()))
    (tmp_path / "results" / "toy" / "rescored" / "f1_script" / f"{SECOND}.parquet").unlink()
    with pytest.raises(DataError) as refused:
        tables.read(sweep, asked)
    assert str(refused.value) == (
        f"1 of 2 trials have no f1_script yet, {SECOND} among them; `xfer-ray rescore {sweep.url} --metric f1_script` computes it from "
        "their predictions"
    )


def test_the_commands(sweep, tmp_path):
    toy = Toy(tmp_path)
    refused = toy.command("rescore", "results/toy", "--metric", "f1_scrip")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("xfer-ray: no metric 'f1_scrip'; did you mean 'f1_script'?")
    done = toy.command("rescore", "results/toy", "--metric", "f1_script")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 trials rescored by f1_script, 0 were up to date: results/toy/rescored/f1_script\n"
    shown = toy.command(
        "tables", "results/toy", "--metric", "f1_script", "--values", "ability", "--selection", "source-dev", "--format", "csv"
    )
    assert shown.returncode == 0, shown.stderr
    assert "toy,tiny,en-O,ability,2,50.000000,90.000000,83.333333,74.444444" in shown.stdout
    (toy.results / "predictions" / f"{FIRST}.parquet").unlink()
    broken = toy.command("rescore", "results/toy", "--metric", "f1_mlqa")
    assert broken.returncode == 3
    assert broken.stdout == "1 trial rescored by f1_mlqa, 0 were up to date: results/toy/rescored/f1_mlqa\n"
    assert broken.stderr.splitlines() == [
        "f1_mlqa has no value for target th-HT-en of task toy: it is not defined for 'th'",
        f"{FIRST} is not rescored: toy/predictions/{FIRST}.parquet is missing",
    ]
