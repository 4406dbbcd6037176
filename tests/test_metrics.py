import pytest

from xfer_ray.errors import DeclarationError
from xfer_ray.metrics import METRICS, illegal, metric, version
from xfer_ray.tasks import TASKS


def test_accuracy_is_one_for_any_of_the_answers_and_zero_otherwise():
    accuracy = metric("accuracy")
    assert accuracy("neutral", ("neutral",), "de") == 1.0
    assert accuracy("neutral", ("entailment", "neutral"), "de") == 1.0
    assert accuracy("Neutral", ("neutral",), "de") == 0.0
    assert accuracy("", ("neutral",), "de") == 0.0


def test_a_prediction_that_is_no_label_is_illegal():
    labels = ("different_meaning", "paraphrase")
    assert illegal("paraphrase", labels) == ""
    assert illegal("paraphras", labels) == "not-a-label"
    assert illegal("", labels) == "not-a-label"


def test_every_metric_has_a_version_and_every_task_names_known_metrics():
    assert all(version(name) for name in METRICS)
    assert {name for task in TASKS for name in task.metrics} <= set(METRICS)


def test_an_unknown_metric_is_refused_with_a_hint():
    with pytest.raises(DeclarationError, match=r"^no metric 'acuracy'; did you mean 'accuracy'\? Possible: accuracy$"):
        metric("acuracy")
    with pytest.raises(DeclarationError, match=r"^no metric 'f1'\. Possible: accuracy$"):
        version("f1")
