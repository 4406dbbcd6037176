"""XNLI: natural language inference in 15 languages (Conneau et al. 2018)."""

from dataclasses import replace

from xfer_ray.core import Task
from xfer_ray.sources import Corpus
from xfer_ray.tasks.desegment import desegment
from xfer_ray.tasks.hub import HubPairs

XNLI_PAIRS = HubPairs(
    repository="facebook/xnli",
    languages=("en", "de", "es", "fr", "sw", "tr", "vi", "ar", "bg", "el", "hi", "ru", "ur", "th", "zh"),  # the order of Table 2
    first="premise",
    second="hypothesis",
    labels=("entailment", "neutral", "contradiction"),
    rows={"train": 392_702, "validation": 2_490, "test": 5_010},
    provenance={"train": "MT", "validation": "HT", "test": "HT"},
    name="xnli",
)

XNLI = Task(
    name="xnli",
    sources=XNLI_PAIRS.corpora("train"),
    targets=XNLI_PAIRS.corpora("test"),
    load=XNLI_PAIRS,
    labels=XNLI_PAIRS.labels,
    prompt="xnli: premise: {first} hypothesis: {second}",  # google-research/multilingual-t5
    verbalizers=("0", "1", "2"),  # likewise: the class index as text
    select_corpora=XNLI_PAIRS.corpora("validation"),
    groups={  # Table 2: Latin script with many and with few resources, and the rest
        "LH": ("en", "de", "es", "fr"),
        "LL": ("sw", "tr", "vi"),
        "M": ("ar", "bg", "el", "hi", "ru", "ur", "th", "zh"),
    },
    normalized=True,
    parallel=True,
    licence="CC BY-NC 4.0",
    citation="Conneau et al. 2018, XNLI: Evaluating Cross-lingual Sentence Representations",
)

# The words of XNLI's Chinese and Thai training sets are parted by spaces, and those of its test sets are not. What does it matter?
# Scores are compared as they are: of most targets there is no source to divide by.
XNLI_DESEGMENTED = replace(
    XNLI,
    name="xnli-desegmented",
    sources=tuple(map(Corpus.parse, ("en-O", "zh-MT-en", "zh-MT-en~desegmented", "th-MT-en", "th-MT-en~desegmented"))),
    load=replace(XNLI_PAIRS, variants={"desegmented": desegment}),
    normalized=False,
)
