"""Other people's scores: what is taken, and each sentence with which a table is refused."""

import multiprocessing
import random

import pandas as pd
import pytest

from xfer_ray import compact, importing, planfile, results
from xfer_ray.commit import put_scores
from xfer_ray.core import Score, Task
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.importing import import_scores
from xfer_ray.sources import Corpus
from xfer_ray.storage import open_storage

HEADER = "task,model,source,seed,target,metric,score"
PAIR = [
    "pawsx,mT5-Base,en,0,en,accuracy,0.93",
    "pawsx,mT5-Base,en,0,de-HT-en,accuracy,0.87",
    "pawsx,mT5-Base,de-HT-en,0,en,accuracy,0.91",
    "pawsx,mT5-Base,de-HT-en,0,de-HT-en,accuracy,0.89",
]
CORPORA = tuple(map(Corpus.parse, ("de-HT-en", "en-O", "fr-HT-en")))


def load(corpus, split):
    return []


KNOWN = Task(
    name="pawsx",
    sources=CORPORA,
    targets=CORPORA,
    load=load,
    labels=("yes", "no"),
    groups={"Latin": ("en", "fr")},
    baseline=CORPORA[1],
    licence="free",
)


@pytest.fixture
def take(tmp_path):
    """Write a table and import it."""

    def take(*lines, header=HEADER, name="theirs", percent=False, known=None, ending=".csv"):
        file = tmp_path / f"scores{ending}"
        file.write_text("\n".join([header, *lines]) + "\n")
        return import_scores(file, open_storage(str(tmp_path / "results")), name=name, percent=percent, known={"pawsx": known}.get)

    return take


def scores(found):
    return compact.read_scores(found).set_index(["source", "target"])["score"].to_dict()


def test_rows_become_scores_and_a_plan(take):
    found = take(*PAIR)
    assert scores(found) == {
        ("en-O", "en-O"): 0.93,
        ("en-O", "de-HT-en"): 0.87,
        ("de-HT-en", "en-O"): 0.91,
        ("de-HT-en", "de-HT-en"): 0.89,
    }
    rows = compact.read_scores(found)
    assert (set(rows["n"]), set(rows["split"]), set(rows["selection"])) == ({0}, {"unknown"}, {"last"})
    plan = planfile.read_plan(found)
    assert [(t.task, t.model, t.source, t.seed) for t in plan.trials] == [
        ("pawsx", "mT5-Base", "en-O", 0),
        ("pawsx", "mT5-Base", "de-HT-en", 0),
    ]
    assert {t.trial for t in plan.trials} == results.done(found)
    facts = plan.tasks["pawsx"]
    assert (facts.targets, dict(facts.groups), facts.normalized) == (("en-O", "de-HT-en"), {"All": ("en-O", "de-HT-en")}, None)
    assert (facts.metrics, facts.eval_split) == (("accuracy",), "unknown")


def test_a_task_of_the_package_gives_order_groups_and_normalization(take):
    facts = planfile.read_plan(take(*PAIR, known=KNOWN)).tasks["pawsx"]
    assert facts.targets == ("de-HT-en", "en-O", "fr-HT-en")
    assert dict(facts.groups) == {"Latin": ("en-O", "fr-HT-en"), "All": facts.targets}
    assert (facts.normalized, facts.baseline, facts.licence, facts.eval_split) == (True, "en-O", "free", "unknown")


def test_other_targets_under_the_name_of_a_task_are_other_data(take):
    facts = planfile.read_plan(take(*PAIR, "pawsx,mT5-Base,en,0,ja,accuracy,0.5", known=KNOWN)).tasks["pawsx"]
    assert (facts.targets, list(facts.groups), facts.normalized) == (("en-O", "de-HT-en", "ja-O"), ["All"], None)


def test_the_same_rows_again_change_nothing(take, tmp_path):
    take(*PAIR)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "results" / "theirs").rglob("*.parquet")}
    plan = (tmp_path / "results/theirs/sweep.json").read_bytes()
    take(*random.Random(0).sample(PAIR, 4))
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "results" / "theirs").rglob("*.parquet")} == before
    take(*PAIR)
    assert (tmp_path / "results/theirs/sweep.json").read_bytes() == plan


def test_imports_add_up(take):
    take(*PAIR)
    found = take("pawsx,mBERT,en,1,fr-HT-en,accuracy,0.5", "xnli,mBERT,en,0,en,accuracy,0.8")
    plan = planfile.read_plan(found)
    assert len(plan.trials) == len(results.done(found)) == 4
    assert plan.tasks["pawsx"].groups["All"] == ("en-O", "de-HT-en", "fr-HT-en")
    assert list(plan.models) == ["mT5-Base", "mBERT"]


def test_other_scores_for_a_trial_that_is_there_are_refused(take):
    take(*PAIR)
    with pytest.raises(DataError, match="gives other scores for task pawsx, model mT5-Base, source en-O, seed 0 than sweep theirs has"):
        take(PAIR[0].replace("0.93", "0.94"), PAIR[1])
    assert len(results.done(take(*PAIR))) == 2


def test_a_sweep_that_ran_here_is_not_imported_into(take, tmp_path):
    found = take(*PAIR)
    planfile.write_plan(found, planfile.Plan("theirs", (), {}, {"mbert": planfile.ModelFacts("encoder", "x", None)}))
    with pytest.raises(DataError, match="sweep theirs was run here, with model mbert, and not imported; give another name with --name"):
        take(*PAIR)


def test_percent_is_asked_for_and_taken(take):
    lines = [line.rsplit(",", 1)[0] + ",93.1" for line in PAIR]
    with pytest.raises(
        DataError, match=r"row 1: score is 93.1, not a fraction from 0 to 1; if the scores are given in percent, say --percent"
    ):
        take(*lines)
    assert list(scores(take(*lines, percent=True)).values()) == pytest.approx([0.931] * 4)
    with pytest.raises(DataError, match="row 1: score is 101, not a percentage from 0 to 100"):
        take(PAIR[0].replace("0.93", "101"), name="more", percent=True)


def test_fractions_among_percents_are_named(take, capsys):
    lines = [line.rsplit(",", 1)[0] + ",71.0" for line in PAIR]
    take(*lines, percent=True)
    take(*lines[:2], lines[2].replace("71.0", "0.0"), lines[3].replace("71.0", "1.01"), name="low", percent=True)
    assert capsys.readouterr().out == ""
    found = take(*lines[:2], lines[2].replace("71.0", "0.71"), lines[3].replace("71.0", "1"), name="mixed", percent=True)
    assert (
        "2 of 4 scores are not above 1, such as 0.71 in row 3, and were taken for percent as the others; if they are fractions, mend the "
        "file and give another name with --name" in capsys.readouterr().out
    )
    assert scores(found)["de-HT-en", "en-O"] == pytest.approx(0.0071)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("pawsx,m,en,0,en,accuracy,-0.1", "row 5: score is -0.1, not a fraction from 0 to 1"),
        ("pawsx,m,en,0,en,accuracy,nan", "row 5: score is nan, not a fraction"),
        ("pawsx,m,en,0,en,accuracy,inf", "row 5: score is inf, not a fraction"),
        ("pawsx,m,en,0,en,accuracy,high", "row 5: score is 'high', which is not a number"),
        ("pawsx,m,en,0,en,accuracy,0_1", "row 5: score is '0_1', which is not a number"),
        ("pawsx,m,en,1_0,en,accuracy,0.5", "row 5: seed is '1_0', which is not a number"),
        ("pawsx,m,en,0,en,accuracy,", "row 5: score is '', which is not a number"),
        ("pawsx,m,en,-1,en,accuracy,0.5", "row 5: seed is '-1'; give an integer of at least 0"),
        ("pawsx,m,en,0.5,en,accuracy,0.5", "row 5: seed is '0.5'; give an integer of at least 0"),
        ("pawsx,m,de-XX-en,0,en,accuracy,0.5", "row 5: source: provenance 'XX' of 'de' is none of O"),
        ("pawsx,m,en,0,English,accuracy,0.5", "row 5: target: language 'English' is not a code"),
        ("pawsx,,en,0,en,accuracy,0.5", "row 5: model '' is not a name"),
        (PAIR[1], "rows 2 and 5 both give pawsx mT5-Base en-O 0 de-HT-en unknown accuracy; keep one"),
        ("pawsx,m,en,0,en,accuracy", "row 5 has 6 fields and the header 7"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(take, tmp_path, bad, sentence):
    with pytest.raises(DataError) as error:
        take(*PAIR, bad)
    assert sentence in str(error.value)
    assert not (tmp_path / "results").exists()


def test_a_table_that_is_none_is_refused(take, tmp_path):
    with pytest.raises(DataError, match="has no column 'source'; did you mean 'sources'[?] Found: task"):
        take(*PAIR, header=HEADER.replace("source", "sources"))
    with pytest.raises(DataError, match="has no rows"):
        take()
    with pytest.raises(DataError, match="has no column 'task'. Found: . Needed: task, model"):
        take(header="")
    with pytest.raises(DataError, match="ends in '.tsv'; scores come in a file that ends in .csv or .parquet"):
        take(*PAIR, ending=".tsv")
    with pytest.raises(DataError, match=r"scores.parquet cannot be read as parquet: "):
        take(*PAIR, ending=".parquet")
    with pytest.raises(DataError, match="cannot be read as csv: .*No such file"):
        import_scores(tmp_path / "none.csv", open_storage(str(tmp_path)), name="x", percent=False, known={}.get)
    with pytest.raises(DeclarationError, match="sweep name '../x' names a folder"):
        take(*PAIR, name="../x")


def test_a_long_table_is_refused_before_it_is_decoded(take, tmp_path, monkeypatch):
    monkeypatch.setattr("xfer_ray.importing.table.MOST_ROWS", 3)
    with pytest.raises(DataError, match="has more than 3 rows; split it by task or model"):
        take(*PAIR)
    pd.DataFrame({"task": ["x"] * 4}).to_parquet(tmp_path / "long.parquet")
    with pytest.raises(DataError, match="has more than 3 rows"):
        import_scores(tmp_path / "long.parquet", open_storage(str(tmp_path)), name="x", percent=False, known={}.get)


@pytest.mark.parametrize("index", [[], ["source"], ["source", "target"]])
def test_parquet_and_what_a_spreadsheet_writes_mean_the_same(take, tmp_path, index):
    header = "\ufeff" + HEADER.replace("seed", " seed ") + ",n,split,remark"
    found = take(*[f"{line},2000,,x" for line in PAIR], "", header=header, name="csv")
    table = pd.DataFrame([line.split(",") for line in PAIR], columns=HEADER.split(","))
    table = table.assign(seed=0, n=2000.0, split=None, score=table["score"].astype(float))
    (table.set_index(index) if index else table).to_parquet(tmp_path / "t.parquet")
    other = import_scores(tmp_path / "t.parquet", open_storage(str(tmp_path / "results")), name="parquet", percent=False, known={}.get)
    columns = ["trial", "target", "split", "n", "score"]
    pd.testing.assert_frame_equal(compact.read_scores(found)[columns], compact.read_scores(other)[columns])
    assert set(compact.read_scores(found)["n"]) == {2000}


def test_names_with_slashes_and_spaces_are_kept_in_the_table_and_tamed_in_the_file_name(take):
    found = take("my task,xlm-r/large,en,0,en,accuracy,0.5")
    assert compact.read_scores(found)[["task", "model"]].values.tolist() == [["my task", "xlm-r/large"]]
    (trial,) = results.done(found)
    assert trial.startswith("my%20task.xlm-r%2Flarge.en-O.s0-")


def test_what_another_import_brings_meanwhile_is_not_lost(take, monkeypatch):
    put, done = importing.put_scores, []

    def interrupted(found, rows):
        if not done:
            done.append(True)
            take(*PAIR[:2])
        put(found, rows)

    monkeypatch.setattr(importing, "put_scores", interrupted)
    found = take("xnli,mBERT,en,0,en,accuracy,0.8")
    assert {trial.model for trial in planfile.read_plan(found).trials} == {"mBERT", "mT5-Base"}


def interrupted(*_):
    raise KeyboardInterrupt  # Ctrl-C


def test_an_import_that_was_interrupted_before_its_plan_is_made_whole_by_the_next(take, monkeypatch):
    with monkeypatch.context() as cut:
        cut.setattr(importing, "write_plan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            take(*PAIR[:2])
    found = take("xnli,mBERT,en,0,en,accuracy,0.8")
    plan = planfile.read_plan(found)
    assert {trial.trial for trial in plan.trials} == results.done(found)
    assert plan.tasks["pawsx"].targets == ("en-O", "de-HT-en")
    with pytest.raises(DataError, match="gives other scores for task pawsx"):
        take(PAIR[0].replace("0.93", "0.94"), PAIR[1])


def test_scores_that_no_import_made_are_left_alone(take):
    found = take(*PAIR[:2])
    (trial,) = results.done(found)
    rows = results.from_bytes(found.storage.read(found.table("scores", trial)), trial).to_pylist()
    other = trial.replace(".s0-", ".s7-")
    put_scores(found, [Score(**{**row, "seed": 7, "trial": other}) for row in rows])
    plan = planfile.read_plan(take("xnli,mBERT,en,0,en,accuracy,0.8"))
    assert [trial.model for trial in plan.trials] == ["mT5-Base", "mBERT"]


ROUNDS = 20


def import_at_once(folder, mine, start):
    """Import a model of one's own into one sweep after the other, each at the same moment as somebody else."""
    for i in range(ROUNDS):
        start.wait(timeout=60)
        import_scores(folder / f"{mine}.csv", open_storage(str(folder / "results")), name=f"sweep{i}", percent=False, known={}.get)


def test_of_two_imports_at_once_none_is_lost(tmp_path):
    fresh = multiprocessing.get_context("spawn")
    start, models = fresh.Barrier(2), ("mBERT", "mT5")
    for model in models:
        (tmp_path / f"{model}.csv").write_text(f"{HEADER}\ntask of {model},{model},en,0,en,accuracy,0.8\n")
    both = [fresh.Process(target=import_at_once, args=(tmp_path, model, start)) for model in models]
    for one in both:
        one.start()
    for one in both:
        one.join(timeout=120)
    assert [one.exitcode for one in both] == [0, 0]
    for i in range(ROUNDS):
        plan = planfile.read_plan(results.Results(open_storage(str(tmp_path / "results")), f"sweep{i}"))
        assert sorted(trial.model for trial in plan.trials) == sorted(plan.models) == list(models), i
        assert sorted(plan.tasks) == [f"task of {model}" for model in models]
