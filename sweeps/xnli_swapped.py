"""Table 4: fine-tune on XNLI's test split, translated by people (HT) or by a machine (MT), and evaluate on its validation split.

Each MT source is blocked until `xfer-ray translate xnli --split test --from en --to de --translator ...` has made its folder.
`xfer-ray tables results/xnli-swapped --layout provenance` prints both columns, each by denominators of its own kind; the matrix
takes the HT sources as denominators.
"""

from dataclasses import replace

from xfer_ray import Sweep, grid
from xfer_ray.models import MBERT
from xfer_ray.tasks import XNLI

SWAPPED = replace(XNLI, name="xnli-swapped", train_split="test", eval_split="validation", sources=XNLI.targets)
MACHINE_TRANSLATED = XNLI.sources[1:]  # the training split is machine-translated on the hub; the test split is not
BOTH = replace(SWAPPED, sources=(*SWAPPED.sources, *MACHINE_TRANSLATED), denominators=SWAPPED.sources)
# The paper names neither model nor seeds; 5,010 examples are few, so one seed would say little.
SWEEP = Sweep("xnli-swapped", grid(tasks=[BOTH], models=[MBERT], seeds=[0, 1, 2]))
