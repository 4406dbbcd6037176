"""Extractive question answering on an encoder."""

from __future__ import annotations

from xfer_ray.contract import Predict
from xfer_ray.core import Examples
from xfer_ray.models.training import Lessons, Run


def lessons(run: Run, train: Examples) -> Lessons:
    """Each window is a row."""
    raise NotImplementedError


def predictor(run: Run) -> Predict:
    """The function that answers with the best span over all windows."""
    raise NotImplementedError
