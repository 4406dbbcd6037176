"""The swapped XNLI with a tiny encoder of random weights: real data end to end on two cores, without a download.

Such an encoder has seen no language before, so its scores show that the path works and nothing about transfer.
"""

from sweeps.xnli_swapped import SWAPPED
from xfer_ray import Model, Pretraining, Recipe, Sweep, grid

TINY = Model(
    name="bert-tiny-random",
    checkpoint=Pretraining(
        architecture={
            "model_type": "bert",
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 128,
            "initializer_range": 0.1,
        },
        vocabulary="google-bert/bert-base-multilingual-cased",
    ),
    recipe=Recipe(learning_rate=2e-3, batch_size=128, epochs=3),  # ours: 20 seconds for a trial on one core
    gpus=0.1,
)
SWEEP = Sweep("xnli-mirror", grid(tasks=[SWAPPED], models=[TINY]))
