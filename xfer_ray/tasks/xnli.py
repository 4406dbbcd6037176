"""XNLI: natural language inference in 15 languages (Conneau et al. 2018)."""

from xfer_ray.core import Task
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
