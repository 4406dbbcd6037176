"""The model of the embedded world: an encoder small enough to be pre-trained in a minute or so on the spot."""

from dataclasses import replace

from xfer_ray.core import Model, Pretraining, Recipe
from xfer_ray.miniature.text import stories

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
    micro_batch=32,
)

# The control: the same encoder as it starts, with nothing learned but the vocabulary.
UNTRAINED_ENCODER = replace(MINIATURE_ENCODER, name="mini-untrained", checkpoint=replace(CHECKPOINT, steps=0))
