"""The models: literals, each number with its origin. Sections (§) are those of Turc et al. 2021."""

from dataclasses import replace

from xfer_ray.core import Model
from xfer_ray.models.miniature import MINIATURE_ENCODER, MINIATURE_READER, MINIATURE_TEXT_TO_TEXT
from xfer_ray.recipe import Recipe

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

PAPER_QA = replace(
    PAPER,
    max_length=384,  # not stated; max_seq_length in train_qa.sh of google-research/xtreme
    warmup_steps=500,  # not stated; the same script's
    weight_decay=1e-4,  # not stated; the same script's
)
"""The paper's mBERT on question answering; 128 of stride, 64 of question, 20 best and 30 of answer are the defaults of a recipe."""

MT5 = Recipe(
    steps=2_000,  # §6
    select_every=200,  # §6, of which the best on the source's dev set is kept
    learning_rate=1e-3,  # "as mT5 authors" (§6): constant 0.001 in their gin files
    schedule="constant",  # likewise
    optimizer="adafactor",  # likewise; Mesh TensorFlow's, with its steps scaled by the norm of each tensor
    scale_parameter=True,
    clip_norm=0.0,  # Adafactor clips its own update
    dropout=0.1,  # theirs
    batch_tokens=2**17,  # theirs for PAWS-X, XQuAD and TyDi QA; for XNLI it was 2^20
    max_length=1024,  # theirs
    max_target_length=128,  # theirs for classification
    precision="bf16",  # theirs; never fp16, which overflows
)
"""The recipe of the paper's mT5. Its 2^17 tokens were those of packed rows; ours are the examples' own, as many as fit."""

MT5_QA = replace(MT5, max_target_length=512)  # theirs for question answering
MT5_TYDIQA = replace(MT5_QA, steps=500, select_every=None)  # §6: TyDi QA's dev set is the one that is scored

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
MT5_BASE = Model(name="mt5-base", family="text_to_text", checkpoint="google/mt5-base", recipe=MT5)  # §5
MT5_SMALL = replace(MT5_BASE, name="mt5-small", checkpoint="google/mt5-small")
# §5: not released. A folder that `xfer-ray pretrain sweeps/mt5_uniform.py --output mt5-uniform` makes.
MT5_UNIFORM = replace(MT5_BASE, name="mt5-uniform", checkpoint="./mt5-uniform")
# Near-uniform sampling too, but of another corpus and for longer: another experiment, under its own name.
UMT5_BASE = replace(MT5_BASE, name="umt5-base", checkpoint="google/umt5-base")
MAJORITY = Model(
    name="majority",
    family="majority",
    recipe=Recipe(steps=1, learning_rate=0.5, batch_size=1),  # it has none: nothing of this is read
    gpus=0,
)

MODELS = (
    MBERT,
    XLMR_BASE,
    XLMR_LARGE,
    MT5_BASE,
    MT5_SMALL,
    MT5_UNIFORM,
    UMT5_BASE,
    MINIATURE_ENCODER,
    MINIATURE_READER,
    MINIATURE_TEXT_TO_TEXT,
    MAJORITY,
)
