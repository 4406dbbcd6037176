"""A small translator from English into German and Spanish, made from a mirror's parallel sentences.

It learns from the validation splits of XNLI and PAWS-X, so that XNLI's test split, PAWS-X's test split and XQuAD are new to it. A sweep
that translates XNLI's test split and is evaluated on its validation split, such as xnli_swapped_mirror, therefore evaluates on
sentences that its translator has read, in both languages and without their labels.

A few thousand sentences make a poor translator: it gets some words of a sentence right, invents others, and often repeats a word
until it is stopped.
"""

from xfer_ray import Corpus, Example, Pretraining
from xfer_ray.recipe import Document
from xfer_ray.tasks import PAWSX_PAIRS, XNLI_PAIRS

ENGLISH = Corpus("en")
CORPORA = (ENGLISH, Corpus("de", "HT", ENGLISH), Corpus("es", "HT", ENGLISH))


def rows() -> list[dict[str, Example]]:
    """The same pair of sentences by language, where all of them have both."""
    found = []
    for load in (XNLI_PAIRS, PAWSX_PAIRS):
        for row in zip(*(load(corpus, "validation") for corpus in CORPORA), strict=True):
            texts = [text.strip().casefold() for example in row for text in (example.first, example.second)]
            if "" not in texts and "ns" not in texts:  # what PAWS-X has where a translator wrote nothing
                found.append({corpus.language: example for corpus, example in zip(CORPORA, row, strict=True)})
    return found


def told(seed: int) -> list[Document]:
    """Each English sentence once, with its translations."""
    found: dict[str, Document] = {}
    for row in rows():
        for side in ("first", "second"):
            texts = {language: (str(getattr(example, side)),) for language, example in row.items()}
            found.setdefault(texts["en"][0], texts)
    return list(found.values())


PRETRAINING = Pretraining(
    architecture={
        "model_type": "mt5",
        "d_model": 128,
        "d_ff": 256,
        "d_kv": 32,
        "num_heads": 4,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "dropout_rate": 0.1,
    },
    vocabulary=4_000,
    text=told,
    objective="translation",
    steps=1_800,
    batch_size=32,
    max_length=64,
    learning_rate=2e-3,
    warmup_steps=100,
)
