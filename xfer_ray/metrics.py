"""Strings in, fractions out: one example at a time."""

from collections.abc import Callable, Mapping, Sequence

from xfer_ray.errors import unknown

Metric = Callable[[str, Sequence[str], str], float]


def accuracy(prediction: str, answers: Sequence[str], language: str) -> float:
    """1 if the prediction is one of the answers, else 0; the same in every language."""
    return float(prediction in answers)


# A version changes whenever the metric would give another value.
METRICS: Mapping[str, tuple[Metric, str]] = {"accuracy": (accuracy, "1")}


def metric(name: str) -> Metric:
    """The metric of that name, or an error that says which names there are."""
    return _known(name)[0]


def version(name: str) -> str:
    """The version of the metric of that name, as it stands in the scores."""
    return _known(name)[1]


def illegal(prediction: str, labels: Sequence[str]) -> str:
    """What makes a prediction no possible answer: "not-a-label", or "" for one of the labels."""
    return "" if prediction in labels else "not-a-label"


def _known(name: str) -> tuple[Metric, str]:
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]
