"""The models: literals, each number with its origin. Sections (§) are those of Turc et al. 2021."""

from dataclasses import replace

from xfer_ray.core import Model, Recipe
from xfer_ray.models.miniature import MINIATURE_ENCODER

PAPER = Recipe(
    epochs=5,  # §6
    learning_rate=3e-5,  # §6
    batch_size=128,  # §6
    max_length=128,  # not stated; the XTREME scripts' max_seq_length
    warmup_steps=0,  # not stated; the XTREME scripts' default
    schedule="linear",  # not stated; the XTREME scripts decay to 0
    weight_decay=0.0,  # not stated; the XTREME scripts' default
    adam_epsilon=1e-8,  # not stated; the XTREME scripts'
    clip_norm=1.0,  # not stated; the XTREME scripts'
    dropout=None,  # not stated; 0.1 in the configuration of the checkpoint
    precision="bf16",  # ours: bf16 autocast over fp32 weights
)
"""The recipe of the paper's mBERT. Where it is silent, it says to fine-tune "similarly to XTREME"."""

XTREME_SCRIPTS = replace(
    PAPER,
    learning_rate=2e-5,  # LR in train_xnli.sh and train_pawsx.sh of google-research/xtreme
    batch_size=32,  # 8 x 4 accumulated, likewise
)
"""The recipe of the XTREME scripts for classification, of the last step: theirs keep the best step on English dev."""

MBERT = Model(
    name="mbert",
    checkpoint="google-bert/bert-base-multilingual-cased",  # §5; cased, as the XTREME scripts use it
    recipe=PAPER,
    gpus=0.5,  # one trial leaves most of a GPU waiting for the next kernel
)
XLMR_BASE = Model(name="xlmr-base", checkpoint="FacebookAI/xlm-roberta-base", recipe=XTREME_SCRIPTS, gpus=0.5)
XLMR_LARGE = Model(
    name="xlmr-large",
    checkpoint="FacebookAI/xlm-roberta-large",
    recipe=replace(XTREME_SCRIPTS, learning_rate=3e-5),  # LR for xlm-roberta-large in the same scripts; 2 x 16 accumulated
    gpus=1.0,
)
MAJORITY = Model(
    name="majority",
    family="majority",
    recipe=Recipe(steps=1, learning_rate=0.5, batch_size=1),  # it has none: nothing of this is read
    gpus=0,
)

MODELS = (MBERT, XLMR_BASE, XLMR_LARGE, MINIATURE_ENCODER, MAJORITY)
