"""What the demo needs to work: both sentences of a pair, and the pre-training. Without either, transfer is at the floor."""

from dataclasses import replace

from xfer_ray import Sweep, grid
from xfer_ray.models.miniature import MINIATURE_ENCODER, UNTRAINED_ENCODER
from xfer_ray.tasks.miniature import MINIATURE, MiniatureNli

HYPOTHESIS_ONLY = replace(MINIATURE, name="miniature-hypothesis-only", load=MiniatureNli(hypothesis_only=True))
SOURCES, SEEDS = ["en-O", "de-HT-en", "ru-HT-en", "ja-HT-en"], [0, 1, 2]
SWEEP = Sweep(
    "demo_controls",
    grid(tasks=[HYPOTHESIS_ONLY], models=[MINIATURE_ENCODER], sources=SOURCES, seeds=SEEDS)
    + grid(tasks=[MINIATURE], models=[UNTRAINED_ENCODER], sources=SOURCES, seeds=SEEDS),
)
