"""Table 5: SQuAD in English and its translations into German and Russian, over the questions that all three have."""

from dataclasses import replace

from xfer_ray import Corpus, Sweep, grid
from xfer_ray.models import MBERT, MT5_BASE, MT5_QA, MT5_UNIFORM, PAPER_QA
from xfer_ray.tasks import XQUAD, XQUAD_SETS

SOURCES = tuple(map(Corpus.parse, ("en-O", "de-MT-en", "ru-MT-en")))
SHARED = replace(XQUAD, sources=SOURCES, load=replace(XQUAD_SETS, shared_by=SOURCES))
MODELS = [replace(MBERT, recipe=PAPER_QA), replace(MT5_BASE, recipe=MT5_QA), replace(MT5_UNIFORM, recipe=MT5_QA)]
SWEEP = Sweep("xquad", grid(tasks=[SHARED], models=MODELS))
