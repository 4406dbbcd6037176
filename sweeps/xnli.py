"""Table 2 and beyond: 15 sources of XNLI, one seed as in the paper; --seeds 0-4 for more."""

from xfer_ray import Sweep, grid
from xfer_ray.models import MBERT, MT5_BASE, XLMR_BASE, XLMR_LARGE
from xfer_ray.tasks import XNLI

SWEEP = Sweep("xnli", grid(tasks=[XNLI], models=[MBERT, MT5_BASE, XLMR_BASE, XLMR_LARGE]))
