"""mT5-Uniform, and its twin with the same budget: xfer-ray pretrain sweeps/mt5_uniform.py --only PRETRAINING --workers 8.

Turc et al. 2021 pre-train mT5-Base on 32 billion tokens with all languages alike; a twin that reads languages as often
as they are in the corpus tells what is due to the sampling and what to the smaller budget. The text is yours: `./text/<language>.txt.gz`.
"""

from dataclasses import replace

from xfer_ray import Pretraining
from xfer_ray.tasks.text import TextFolder

PRETRAINING = Pretraining(
    architecture={
        "model_type": "mt5",  # the sizes of mT5-Base: Xue et al. 2021, and the configuration of the checkpoint
        "d_model": 768,
        "d_ff": 2048,
        "d_kv": 64,
        "num_layers": 12,
        "num_decoder_layers": 12,
        "num_heads": 12,
        "feed_forward_proj": "gated-gelu",
        "vocab_size": 250_112,
        "dropout_rate": 0.0,  # in pre-training; Xue et al. 2021, section 3.2
    },
    vocabulary="google/mt5-base",
    text=TextFolder("./text"),
    sampling="uniform",  # Turc et al. 2021
    objective="span_corruption",
    tokens=32_000_000_000,  # likewise
    batch_size=1024,  # Xue et al. 2021, section 3.2
    max_length=1024,  # likewise
    optimizer="adafactor",  # as T5
    schedule="inverse_square_root",  # likewise: 1 / sqrt(max(step, 10,000))
    learning_rate=0.01,
    warmup_steps=10_000,
    micro_batch=16,
)

PROPORTIONAL = replace(PRETRAINING, sampling="proportional")  # footnote 5
