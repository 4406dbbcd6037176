"""Table 6: the Finnish training set of TyDi QA and its translations, each blocked until `xfer-ray translate` has made it."""

from dataclasses import replace

from xfer_ray import Sweep, grid
from xfer_ray.models import MT5_BASE, MT5_TYDIQA, MT5_UNIFORM
from xfer_ray.tasks import TYDIQA_FI

MODELS = [replace(model, recipe=MT5_TYDIQA) for model in (MT5_BASE, MT5_UNIFORM)]
SWEEP = Sweep("tydiqa_fi", grid(tasks=[TYDIQA_FI], models=MODELS))
