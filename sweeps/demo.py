"""Does it matter from which language one fine-tunes? The embedded world, nine sources, a few minutes on two cores.

Seven sources are the original and its human translations; German and Russian are machine-translated too.
"""

from xfer_ray import Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.models.miniature import MINIATURE_ENCODER
from xfer_ray.tasks.miniature import MINIATURE

SOURCES = [*map(str, MINIATURE.targets), "de-MT-en", "ru-MT-en"]
SWEEP = Sweep("demo", grid(tasks=[MINIATURE], models=[MINIATURE_ENCODER, MAJORITY], sources=SOURCES, seeds=[0, 1, 2]))
