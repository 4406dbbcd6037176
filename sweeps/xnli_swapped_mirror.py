"""Table 4's layout on a mirror: the swapped XNLI in English, German and Spanish, translated by people and by a small translator.

First `xfer-ray pretrain sweeps/translator_mirror.py --output translator`, then `xfer-ray translate xnli --split test --from en
--to de,es --translator ./translator`; until then the MT sources are blocked. What both columns share, the encoder has read: the
pairs of the validation splits of XNLI, on which it is evaluated, and of PAWS-X, without labels. Nothing here has read the test
split before it is fine-tuned on. Scores on languages other than the source's are not far above the floor of 33.3, so look at the seeds.
"""

from dataclasses import replace

from sweeps.translator_mirror import CORPORA, rows
from sweeps.xnli_swapped import BOTH
from xfer_ray import Model, Pretraining, Recipe, Sweep, grid
from xfer_ray.recipe import Document


def told(seed: int) -> list[Document]:
    """Documents of two sentences each: premise and hypothesis, or two sentences that share most words."""
    return [{language: (pair.first, pair.second) for language, pair in row.items()} for row in rows()]


ENCODER = Model(
    name="bert-small-swapped",
    checkpoint=Pretraining(
        architecture={
            "model_type": "bert",
            "hidden_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 192,
            "max_position_embeddings": 128,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        vocabulary=4_000,
        text=told,
        steps=800,
    ),
    recipe=Recipe(learning_rate=5e-4, batch_size=32, epochs=3, max_length=96, warmup_steps=20),  # ours
    gpus=0.1,
)
LANGUAGES = tuple(corpus.language for corpus in CORPORA)
MIRROR = replace(
    BOTH,
    name="xnli-swapped-mirror",
    sources=tuple(source for source in BOTH.sources if source.language in LANGUAGES),
    targets=tuple(target for target in BOTH.targets if target.language in LANGUAGES),
    denominators=tuple(source for source in BOTH.denominators if source.language in LANGUAGES),
    groups={},
)
SWEEP = Sweep("xnli-swapped-mirror", grid(tasks=[MIRROR], models=[ENCODER], seeds=[0, 1, 2]))
