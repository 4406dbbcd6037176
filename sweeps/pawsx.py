"""Table 3: 7 sources of PAWS-X, the mean of three runs."""

from xfer_ray import Sweep, grid
from xfer_ray.models import MBERT, MT5_BASE
from xfer_ray.tasks import PAWSX

SWEEP = Sweep("pawsx", grid(tasks=[PAWSX], models=[MBERT, MT5_BASE], seeds=[0, 1, 2]))
