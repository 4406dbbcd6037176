"""Does it pay to annotate in two languages or more? The embedded world under two budgets, a few minutes on two cores.

The seven corpora by themselves have 2,700 examples each and are the denominators.
"""

from xfer_ray import Sweep, grid
from xfer_ray.models.miniature import MINIATURE_ENCODER
from xfer_ray.tasks.miniature import MINIATURE

JOINED = ("de-HT-en+ru-HT-en", "de-HT-en+ru-HT-en+zh-HT-en", "de-HT-en+en-O", "+".join(map(str, MINIATURE.targets)))
SOURCES = (
    *map(str, MINIATURE.targets),
    *(f"{joined}@2700" for joined in JOINED),
    *(f"{source}@900" for source in ("en-O", "de-HT-en", "ru-HT-en", *JOINED)),
)
SWEEP = Sweep("demo_mixtures", grid(tasks=[MINIATURE], models=[MINIATURE_ENCODER], sources=SOURCES, seeds=[0, 1, 2]))
