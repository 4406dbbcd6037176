"""The models of the embedded world: an encoder and a text-to-text model small enough to be pre-trained on the spot."""

from dataclasses import replace

from xfer_ray.core import Model
from xfer_ray.miniature.reading import documents
from xfer_ray.miniature.text import stories
from xfer_ray.recipe import Pretraining, Recipe

# Sizes, rates and steps were chosen by trial on this world, for two CPU cores.
CHECKPOINT = Pretraining(
    architecture={
        "model_type": "bert",
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    vocabulary=1_500,
    text=stories,
    steps=2_500,
)

MINIATURE_ENCODER = Model(
    name="mini-encoder",
    checkpoint=CHECKPOINT,
    recipe=Recipe(learning_rate=1e-3, batch_size=64, epochs=4, max_length=64),
    gpus=0.1,
)

# The control: the same encoder as it starts, with nothing learned but the vocabulary.
UNTRAINED_ENCODER = replace(MINIATURE_ENCODER, name="mini-untrained", checkpoint=replace(CHECKPOINT, steps=0))

# The same encoder on questions: a story that does not fit into 64 tokens is read in windows.
MINIATURE_READER = replace(
    MINIATURE_ENCODER,
    name="mini-reader",
    recipe=replace(MINIATURE_ENCODER.recipe, batch_size=32, max_query_length=16, doc_stride=32, max_answer_length=12),
)

MINIATURE_TEXT_TO_TEXT = Model(
    name="mini-text-to-text",
    family="text_to_text",
    checkpoint=Pretraining(
        architecture={
            "model_type": "mt5",
            "d_model": 96,
            "d_ff": 192,
            "d_kv": 24,
            "num_heads": 4,
            "num_layers": 3,
            "num_decoder_layers": 2,
            "dropout_rate": 0.0,
        },
        vocabulary=1_500,
        text=documents,
        objective="span_corruption",
        sampling="uniform",
        steps=700,
        batch_size=32,
        max_length=64,
        learning_rate=3e-3,
        start="mimetic",
    ),
    recipe=Recipe(learning_rate=2e-3, batch_size=32, epochs=4, max_length=128, max_target_length=16),
    gpus=0.1,
)
