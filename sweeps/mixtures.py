"""Which combination of languages is worth a budget? XNLI with corpora joined, as many examples as English by itself has, and fewer.

Left for future work by Turc et al. 2021 (sections 1 and 8). Under a total, each item stands in one language, so that every source
of the same total costs as much to annotate. The 15 corpora by themselves are the denominators; trials that the sweep `xnli` has
committed to the same storage are taken over.
"""

from xfer_ray import Sweep, grid
from xfer_ray.models import MBERT, MT5_BASE
from xfer_ray.tasks import XNLI

WHOLE, SMALLER = 392_702, (5_000, 50_000)
ALONE = ("en-O", "de-MT-en", "ru-MT-en")
JOINED = (
    "de-MT-en+ru-MT-en",
    "de-MT-en=3+ru-MT-en=1",
    "de-MT-en+ru-MT-en+zh-MT-en",
    "de-MT-en+en-O+ru-MT-en",
    "de-MT-en+en-O+ru-MT-en+zh-MT-en",
    "+".join(map(str, XNLI.sources)),
)
SOURCES = (
    *map(str, XNLI.sources),
    *(f"{joined}@{WHOLE}" for joined in JOINED),
    *(f"{source}@{total}" for total in SMALLER for source in (*ALONE, JOINED[0])),
)
SWEEP = Sweep("mixtures", grid(tasks=[XNLI], models=[MBERT, MT5_BASE], sources=SOURCES))
