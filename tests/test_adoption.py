"""Trials of another sweep are taken over only with all the scores that this run would give."""

import dataclasses

import pytest
from committed import DIGEST, predictions_of, scores_of, trial_name

from xfer_ray import adoption, commit, compact, results
from xfer_ray.planfile import PlannedTrial
from xfer_ray.results import Results
from xfer_ray.storage import open_storage

PLANNED = PlannedTrial(trial_name(), "toy", "tiny", "en-O", 0, DIGEST)
METRICS = {"toy": ("accuracy",)}


def committed(folder, *selections: str) -> Results:
    found = Results(open_storage(str(folder)), "theirs")
    predictions = [dataclasses.replace(p, selection=selection) for selection in selections for p in predictions_of(PLANNED.trial)]
    assert commit.commit(found, scores_of(predictions, sweep="theirs"), predictions) == "committed"
    return Results(found.storage, "ours")


@pytest.mark.parametrize("there", [("source-dev",), ("source-dev", "last"), ("last",)])
def test_scores_without_the_oracles_choices_are_not_taken_where_those_are_asked_for(tmp_path, there):
    ours = committed(tmp_path, *there)
    assert adoption.adopt(ours, [PLANNED], METRICS, oracle=True) == []
    assert results.done(ours) == set()
    assert adoption.adopt(ours, [PLANNED], METRICS) == [PLANNED]


def test_scores_with_the_oracles_choices_are_taken_whole(tmp_path):
    ours = committed(tmp_path, "source-dev", "last", "oracle")
    assert adoption.adopt(ours, [PLANNED], METRICS, oracle=True) == [PLANNED]
    assert set(compact.read_scores(ours)["selection"]) == {"source-dev", "last", "oracle"}


def test_scores_beside_the_predictions_of_another_execution_are_not_taken(tmp_path):
    ours = committed(tmp_path, "last")
    theirs = Results(ours.storage, "theirs")
    others = [dataclasses.replace(p, prediction=p.prediction + "?") for p in predictions_of(PLANNED.trial)]
    commit.put_predictions(theirs, PLANNED.trial, others)
    assert adoption.adopt(ours, [PLANNED], METRICS) == []
