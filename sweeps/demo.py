"""Does it matter from which language one fine-tunes? The embedded world, seven sources, a few minutes on two cores."""

from xfer_ray import Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.models.miniature import MINIATURE_ENCODER
from xfer_ray.tasks.miniature import MINIATURE

SWEEP = Sweep("demo", grid(tasks=[MINIATURE], models=[MAJORITY, MINIATURE_ENCODER], sources=MINIATURE.targets, seeds=[0, 1, 2]))
