"""Committed once, readable by everyone: the tables, the commit, the plan, and what is noted beside them."""

import dataclasses
import functools
import json
import random
import threading
import time

import duckdb
import fastparquet
import pandas as pd
import pyarrow.dataset
import pytest
from committed import predictions_of, scores_of, sweep_in, trial_name

from xfer_ray import adoption, commit, compact, planfile, records, results
from xfer_ray.checking import check
from xfer_ray.core import Model, Score, Sweep, Task, grid
from xfer_ray.errors import DataError
from xfer_ray.planfile import PlannedTrial
from xfer_ray.recipe import Pretraining, Recipe
from xfer_ray.results import Results
from xfer_ray.sources import Corpus
from xfer_ray.storage import Storage, open_storage

NAME = trial_name()


@pytest.fixture
def sweep(tmp_path):
    return sweep_in(tmp_path)


def test_four_readers_see_the_same_scores(sweep, tmp_path):
    folder = str(tmp_path / "toy" / "scores")
    mine = compact.read_scores(sweep).sort_values(["trial", "target"]).reset_index(drop=True)
    assert list(mine.columns) == [f.name for f in dataclasses.fields(Score)]
    assert len(mine) == 6
    assert not mine.isna().any().any()
    others = {
        "pandas": pd.read_parquet(folder),
        "pyarrow": pyarrow.dataset.dataset(folder).to_table().to_pandas(),
        "duckdb": duckdb.sql(f"set timezone='UTC'; select * from '{folder}/*.parquet'").df(),
        "fastparquet": pd.concat([fastparquet.ParquetFile(str(p)).to_pandas() for p in (tmp_path / "toy" / "scores").iterdir()]),
    }
    for name, frame in others.items():
        frame = frame.sort_values(["trial", "target"]).reset_index(drop=True)
        assert list(frame.columns) == list(mine.columns), name
        for column in mine.columns:
            theirs = pd.to_datetime(frame[column], utc=True) if column in ("started", "finished") else frame[column]
            assert list(theirs) == list(mine[column]), (name, column)


def test_predictions_are_read_back(sweep):
    table = results.read_predictions(sweep, NAME)
    written = predictions_of(NAME)
    assert list(table.columns) == ["trial", "target", "selection", "example", "prediction", "illegal", "accuracy"]
    assert list(table["prediction"]) == [p.prediction for p in written]
    assert list(table["accuracy"]) == [p.scores["accuracy"] for p in written]


@pytest.mark.fault("F14", injected="a trial is committed twice")
def test_a_second_writer_changes_nothing(sweep, tmp_path):
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    predictions = predictions_of(NAME)
    assert commit.commit(sweep, scores_of(predictions), predictions) == "same"
    other = predictions_of(NAME, draw=5)
    assert commit.commit(sweep, scores_of(other), other) == "conflict"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")} == before
    assert records.conflicts(sweep) == [NAME]
    cells = results.read_json(sweep, sweep.record("conflicts", NAME))["cells"]
    assert {"target", "metric", "first", "second"} <= set(cells[0])


class Turns:
    """Two threads take the operations of a storage one at a time, in an order such as "ABBA"; who has ended is passed over."""

    def __init__(self, order, monkeypatch):
        self.order, self.changed = list(order), threading.Condition()
        for name in ("read", "exists", "create", "replace"):
            monkeypatch.setattr(Storage, name, self._in_turn(getattr(Storage, name)))

    def _in_turn(self, operation):
        def taken(*arguments, **more):
            me = threading.current_thread().name
            with self.changed:
                assert self.changed.wait_for(lambda: not self.order or self.order[0] == me, 60)
                try:
                    return operation(*arguments, **more)
                finally:
                    del self.order[:1]
                    self.changed.notify_all()

        return taken

    def run(self, **work):
        def until_it_ends(name):
            endings[name] = work[name]()
            with self.changed:
                self.order = [other for other in self.order if other != name]
                self.changed.notify_all()

        endings = {}
        threads = [threading.Thread(target=until_it_ends, args=(name,), name=name) for name in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return endings


def _two_at_once(folder, order, monkeypatch):
    """Two executions of one trial, of the same worth and with other predictions, commit at the same time."""
    found = Results(open_storage(str(folder)), "toy")
    first = predictions_of(NAME)
    both = {"A": first, "B": [dataclasses.replace(p, prediction=f"{p.prediction}.") for p in first]}
    with monkeypatch.context() as patch:
        turns = Turns(order, patch)
        endings = turns.run(**{name: functools.partial(commit.commit, found, scores_of(mine), mine) for name, mine in both.items()})
    assert sorted(endings.values()) == ["committed", "same"]
    [winner] = [name for name, ending in endings.items() if ending == "committed"]
    return found, list(results.read_predictions(found, NAME)["prediction"]) == [p.prediction for p in both[winner]]


@pytest.mark.fault("F14", injected="two executions commit at once, and one writes its predictions over those of the other")
@pytest.mark.parametrize(
    ("order", "mended"),
    [
        ("BB AAAA B AAAA", "by the winner, which looks once more"),
        ("AAA BB AAAAAA BBBBBBB", "by the loser, which knows what it has replaced"),
    ],
)
def test_the_predictions_of_two_executions_are_not_mixed(tmp_path, monkeypatch, order, mended):
    found, match = _two_at_once(tmp_path, order.replace(" ", ""), monkeypatch)
    assert match, mended
    assert check(found) == []


def test_where_nobody_can_put_the_predictions_back_check_says_so(tmp_path, monkeypatch, caplog):
    found, match = _two_at_once(tmp_path, "BB" + "A" * 9, monkeypatch)
    assert not match
    assert "are those of another execution than its scores; `xfer-ray check --repair` has it done again" in caplog.text
    assert [finding.path.split("/")[1] for finding in check(found)] == ["predictions", "scores"]


def test_however_two_commits_meet_the_predictions_match_or_check_says_so(tmp_path, monkeypatch):
    draw = random.Random(0)
    for number in range(25):
        order = draw.sample("A" * 9 + "B" * 9, 18)
        found, match = _two_at_once(tmp_path / str(number), order, monkeypatch)
        assert match == (check(found) == []), order


@pytest.mark.parametrize(
    ("device", "difference", "ending"),
    [("cpu", 0.9e-6, "same"), ("cpu", 2e-6, "conflict"), ("cuda", 0.004, "same"), ("cuda", 0.006, "conflict")],
)
def test_how_much_two_executions_may_differ(tmp_path, device, difference, ending):
    found = Results(open_storage(str(tmp_path)), "toy")
    predictions = predictions_of(NAME)
    scores = scores_of(predictions, device=device)
    assert commit.commit(found, scores, predictions) == "committed"
    assert commit.commit(found, [dataclasses.replace(s, score=s.score - difference) for s in scores], predictions) == ending


def test_predictions_alone_do_not_count_and_are_written_again(tmp_path):
    found = Results(open_storage(str(tmp_path)), "toy")
    commit.put_predictions(found, NAME, predictions_of(NAME, draw=9))
    assert results.done(found) == set()
    predictions = predictions_of(NAME)
    assert commit.commit(found, scores_of(predictions), predictions) == "committed"
    assert list(results.read_predictions(found, NAME)["prediction"]) == [p.prediction for p in predictions]


def test_no_scores_are_a_table_without_rows(tmp_path):
    empty = compact.read_scores(Results(open_storage(str(tmp_path)), "toy"))
    assert (len(empty), list(empty.columns)) == (0, [f.name for f in dataclasses.fields(Score)])


def test_a_thousand_trials_are_listed_and_read_in_little_time(tmp_path):
    found = Results(open_storage(str(tmp_path)), "toy")
    data = results.to_bytes(results.flat_table(Score, scores_of(predictions_of(NAME))))
    folder = tmp_path / "toy" / "scores"
    folder.mkdir(parents=True)
    for seed in range(1000):
        (folder / f"{trial_name(seed=seed)}.parquet").write_bytes(data)
    start = time.perf_counter()
    assert len(results.done(found)) == 1000
    assert time.perf_counter() - start < 1
    assert len(compact.read_scores(found)) == 3000
    assert time.perf_counter() - start < 10


CORPORA = (Corpus("en"), Corpus("de", "HT", Corpus("en")))


def load(corpus, split):
    return []


TASK = Task(name="toy", sources=CORPORA, targets=CORPORA, load=load, labels=("a",), groups={"German": ("de",)}, baseline=CORPORA[0])
RECIPE = Recipe(steps=1, learning_rate=0.1, batch_size=1)
MADE = Pretraining(architecture={"model_type": "bert"}, vocabulary="some/tokenizer")
SWEEP = Sweep(
    "toy",
    grid(
        tasks=[TASK], models=[Model(name="tiny", checkpoint="some/model", recipe=RECIPE), Model(name="own", checkpoint=MADE, recipe=RECIPE)]
    ),
)


def test_a_plan_is_written_and_read(tmp_path):
    found = Results(open_storage(str(tmp_path)), "toy")
    plan = planfile.plan_of(SWEEP, {"some/model": "a" * 40})
    planfile.write_plan(found, plan)
    assert planfile.read_plan(found) == plan
    assert [t.trial for t in plan.trials] == [t.id for t in SWEEP.trials]
    facts = plan.tasks["toy"]
    assert dict(facts.groups) == {"German": ("de-HT-en",), "All": ("en-O", "de-HT-en")}
    assert (facts.baseline, facts.normalized) == ("en-O", True)
    assert plan.models["own"].checkpoint == f"pretrained/{MADE.digest}"
    assert planfile.recorded_revisions(found) == {"some/model": "a" * 40}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not JSON"),
        ("[1, 2]", "holds a JSON list, not an object"),
        ('{"version": 2}', "has version 2; this program reads version 1"),
        ('{"version": 1, "sweep": "x"}', "is not a plan of a sweep"),
        ('{"version": 1, "sweep": "x", "trials": [{"a": 1}], "tasks": {}, "models": {}}', "is not a plan of a sweep"),
    ],
)
def test_a_foreign_plan_is_refused(sweep, tmp_path, text, sentence):
    (tmp_path / "toy" / "sweep.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        planfile.read_plan(sweep)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda plan: plan.update(tasks={}), "its tasks lack toy"),
        (lambda plan: plan["tasks"]["toy"].update(targets=["en-O", 7]), "is not a plan of a sweep"),
        (lambda plan: plan["tasks"]["toy"].update(targets=["en_O"]), "corpus 'en_O' is not spelled like"),
        (lambda plan: plan["tasks"]["toy"].update(baseline=3), "is not a plan of a sweep"),
        (lambda plan: plan["tasks"]["toy"].update(groups={}), "lack All"),
        (lambda plan: plan["tasks"]["toy"]["groups"].update(Far=["xx-O"]), "hold other targets: xx-O"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path, change, sentence):
    found = sweep_in(tmp_path)
    plan = json.loads((tmp_path / "toy" / "sweep.json").read_text())
    change(plan)
    (tmp_path / "toy" / "sweep.json").write_text(json.dumps(plan))
    with pytest.raises(DataError, match=sentence):
        planfile.read_plan(found)


def test_a_sweep_without_a_plan_says_so(tmp_path):
    with pytest.raises(DataError, match="holds no sweep.json, so nothing is planned there"):
        planfile.read_plan(Results(open_storage(str(tmp_path)), "none"))


def test_the_same_digest_is_adopted_under_its_new_name(sweep):
    other = Results(sweep.storage, "other")
    planned = [PlannedTrial(f"toys.small.en-O.s{seed}-0123456789ab", "toys", "small", "en-O", seed, "0123456789ab") for seed in range(1)]
    unlike = PlannedTrial("toys.small.en-O.s9-ffffffffffff", "toys", "small", "en-O", 9, "f" * 12)
    assert adoption.adopt(other, [*planned, unlike], {"toys": ("accuracy", "f1")}) == []
    assert adoption.adopt(other, [*planned, unlike], {"toys": ("accuracy",)}) == planned
    rows, old = compact.read_scores(other), compact.read_scores(sweep, {NAME})
    assert rows[["sweep", "task", "model", "trial"]].drop_duplicates().values.tolist() == [["other", "toys", "small", planned[0].trial]]
    kept = ["target", "score", "n", "digest", "started", "finished", "train_seconds"]
    pd.testing.assert_frame_equal(rows[kept], old[kept])
    assert set(results.read_predictions(other, planned[0].trial)["trial"]) == {planned[0].trial}
    assert check(other) == []


def test_failures_heartbeats_and_logs_are_noted(sweep):
    records.put_failure(sweep, NAME, "first", "trace", "here")
    records.put_failure(sweep, NAME, "second", "trace", "there")
    assert records.read_failure(sweep, NAME) == records.Failure("second", "trace", 2, "there")
    records.put_running(sweep, NAME, "here", 3, 10)
    assert (records.read_running(sweep, NAME).step, records.running(sweep)) == (3, {NAME})
    records.clear_running(sweep, NAME)
    assert records.read_running(sweep, NAME) is None
    records.put_log(sweep, NAME, "begin " + "x" * 2**21 + " end")
    log = sweep.storage.read(sweep.log(NAME)).decode()
    assert log.startswith("begin x")
    assert log.endswith("x end")
    assert "bytes were cut here]" in log
    assert len(log) < 2**20 + 100
