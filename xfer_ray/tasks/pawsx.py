"""PAWS-X: paraphrase or not, in 7 languages, over pairs that share most of their words (Yang et al. 2019)."""

from xfer_ray.core import Task
from xfer_ray.tasks.hub import HubPairs

PAWSX_PAIRS = HubPairs(
    repository="google-research-datasets/paws-x",
    languages=("en", "de", "es", "fr", "zh", "ja", "ko"),  # the order of Table 3
    first="sentence1",
    second="sentence2",
    labels=("different_meaning", "paraphrase"),
    rows={"train": 49_401, "validation": 2_000, "test": 2_000},
    provenance={"train": "MT", "validation": "HT", "test": "HT"},
    placeholders=("NS",),  # what translators wrote where they gave none; up to 68 of the 2,000 rows of a language
    policy="keep",
    name="pawsx",
)

PAWSX = Task(
    name="pawsx",
    sources=PAWSX_PAIRS.corpora("train"),
    targets=PAWSX_PAIRS.corpora("test"),
    load=PAWSX_PAIRS,
    labels=PAWSX_PAIRS.labels,
    prompt="paws sentence1: {first} sentence2: {second}",  # google-research/multilingual-t5
    verbalizers=("different_meaning", "paraphrase"),  # likewise
    select_corpora=PAWSX_PAIRS.corpora("validation"),
    groups={"Latin": ("en", "de", "es", "fr"), "CJK": ("zh", "ja", "ko")},  # Table 3
    normalized=True,
    parallel=True,
    licence="free for any purpose, as is",
    citation="Yang et al. 2019, PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification",
)
