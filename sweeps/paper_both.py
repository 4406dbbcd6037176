"""The paper's tables with both models in Table 4, 155 trials; those that `paper.py` has in the same storage are taken from there."""

from sweeps.paper import TABLE_4_MT5, TRIALS
from xfer_ray import Sweep

SWEEP = Sweep("paper_both", TRIALS + TABLE_4_MT5)
