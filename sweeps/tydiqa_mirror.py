"""TyDi QA with the sources whose training sets a mirror may hold, the same number of questions of each; models of xquad_mirror."""

from dataclasses import replace

from sweeps.xquad_mirror import SMALL_ENCODER, SMALL_TEXT_TO_TEXT, UNTRAINED
from xfer_ray import Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.tasks import TYDIQA_THREE

EQUAL = replace(TYDIQA_THREE, name="tydiqa-mirror", size=1_600)
LAST = replace(SMALL_TEXT_TO_TEXT, recipe=replace(SMALL_TEXT_TO_TEXT.recipe, select_every=None))
SWEEP = Sweep(
    "tydiqa_mirror",
    grid(tasks=[EQUAL], models=[SMALL_ENCODER, LAST]) + grid(tasks=[EQUAL], models=[UNTRAINED, MAJORITY], sources=["en-O"]),
)
