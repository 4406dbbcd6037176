"""Question answering on real text without a download: parts of XQuAD by article, with small models pre-trained on a mirror's text.

The encoder reads XNLI's pairs in 15 languages and the contexts of XQuAD's training articles in 11; the text-to-text model the
same. No test article and no question is among them. `xfer-ray pretrain sweeps/xquad_mirror.py` makes the checkpoints beforehand.
"""

from dataclasses import replace

from xfer_ray import Model, Pretraining, Recipe, Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.recipe import Document
from xfer_ray.tasks import XNLI_PAIRS, XQUAD_ARTICLES


def told(seed: int) -> list[Document]:
    """Documents of two texts each: premise and hypothesis, or two halves of a context."""
    documents: list[Document] = []
    for split in ("validation", "test"):
        pairs = {corpus.language: XNLI_PAIRS(corpus, split) for corpus in XNLI_PAIRS.corpora(split)}
        rows = zip(*pairs.values(), strict=True)
        documents += [{language: (e.first, e.second) for language, e in zip(pairs, row, strict=True)} for row in rows]
    contexts: dict[str, list[str]] = {}
    for target in XQUAD_ARTICLES.targets:
        contexts[target.language] = list(dict.fromkeys(e.second for e in XQUAD_ARTICLES.load(target, "train")))
    for row in zip(*contexts.values(), strict=True):
        documents.append({language: _halves(text) for language, text in zip(contexts, row, strict=True)})
    return documents


def _halves(text: str) -> tuple[str, str]:
    middle = text.find(" ", len(text) // 2)
    cut = middle if middle > 0 else len(text) // 2
    return text[:cut], text[cut:]


ENCODER = Pretraining(
    architecture={
        "model_type": "bert",
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "max_position_embeddings": 160,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    vocabulary=8_000,
    text=told,
    steps=1_500,
)
TEXT_TO_TEXT = Pretraining(
    architecture={
        "model_type": "mt5",
        "d_model": 128,
        "d_ff": 256,
        "d_kv": 32,
        "num_heads": 4,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "dropout_rate": 0.0,
    },
    vocabulary=8_000,
    text=told,
    objective="span_corruption",
    sampling="uniform",
    max_length=128,
    batch_size=16,
    steps=1_000,
    learning_rate=1e-3,
    start="mimetic",
)
# Sizes, rates and lengths: ours, for two CPU cores.
SMALL_ENCODER = Model(
    name="bert-small-mirror",
    checkpoint=ENCODER,
    recipe=Recipe(learning_rate=5e-4, batch_size=32, epochs=4, max_length=160, max_query_length=32, doc_stride=64, warmup_steps=20),
    gpus=0.1,
)
SMALL_TEXT_TO_TEXT = Model(
    name="mt5-small-mirror",
    family="text_to_text",
    checkpoint=TEXT_TO_TEXT,
    recipe=Recipe(learning_rate=1e-3, batch_size=16, steps=300, select_every=100, max_length=384, max_target_length=24, warmup_steps=20),
    gpus=0.1,
)
# The floors: the same checkpoints after a single step.
UNTRAINED = replace(SMALL_ENCODER, name="untrained", recipe=replace(SMALL_ENCODER.recipe, epochs=None, steps=1, warmup_steps=1))
UNTRAINED_TEXT_TO_TEXT = replace(
    SMALL_TEXT_TO_TEXT,
    name="mt5-untrained",
    recipe=replace(SMALL_TEXT_TO_TEXT.recipe, steps=1, select_every=None, warmup_steps=1),
)
SOURCES = ["en-O", "de-HT-en", "ru-HT-en"]
SWEEP = Sweep(
    "xquad_mirror",
    grid(tasks=[XQUAD_ARTICLES], models=[SMALL_ENCODER, SMALL_TEXT_TO_TEXT], sources=SOURCES)
    + grid(tasks=[XQUAD_ARTICLES], models=[UNTRAINED, UNTRAINED_TEXT_TO_TEXT, MAJORITY], sources=["en-O"]),
)
