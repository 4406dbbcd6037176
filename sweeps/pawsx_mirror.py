"""PAWS-X with a tiny encoder of random weights: 7 sources from the validation split, the test split of four languages.

As in xnli_mirror, the scores show that the path works on real data and nothing about transfer.
"""

from dataclasses import replace

from sweeps.xnli_mirror import TINY
from xfer_ray import Sweep, grid
from xfer_ray.tasks import PAWSX, PAWSX_PAIRS

VALIDATION = replace(
    PAWSX,
    name="pawsx-mirror",
    train_split="validation",
    sources=PAWSX_PAIRS.corpora("validation"),
    targets=tuple(target for target in PAWSX.targets if target.language in ("en", "de", "ko", "zh")),
    groups={"Latin": ("en", "de"), "CJK": ("zh", "ko")},
)
SWEEP = Sweep("pawsx-mirror", grid(tasks=[VALIDATION], models=[TINY], seeds=[0, 1, 2]))
