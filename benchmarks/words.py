"""Models of random weights and pairs of random words, for a machine that has neither checkpoints nor data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xfer_ray.sources import Example, Examples
from xfer_ray.tasks import XNLI

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORDS, FEW = 20_000, 500  # pieces of a vocabulary that pairs are made of: as one language uses them, and at toy size
SHAPES: dict[str, dict[str, int]] = {
    "mbert": {"vocab_size": 119_547},  # Devlin et al. 2019; otherwise what the configuration's defaults are
    "mt5-base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},  # Xue et al. 2021; likewise
}
TOYS: dict[str, dict[str, int]] = {
    "mbert": {"vocab_size": FEW, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "mt5-base": {"vocab_size": FEW, "d_model": 64, "d_kv": 32, "num_heads": 2, "d_ff": 128, "num_layers": 2},
}


def work(lengths: NDArray[np.int64], answers: NDArray[np.int64], config: Any) -> float:  # noqa: ANN401 - a configuration
    """Floating-point operations of a training step of a text-to-text model on rows and answers of these lengths."""
    n, m, width, inner = lengths.astype(float), answers.astype(float), config.d_model, config.num_heads * config.d_kv
    between = (3 if config.is_gated_act else 2) * width * config.d_ff
    encoder = 2 * n * (4 * width * inner + between) + 4 * n**2 * inner
    decoder = 2 * m * (6 * width * inner + between) + 4 * n * width * inner + 4 * (m**2 + m * n) * inner
    head = 2 * m * width * config.vocab_size
    return float(3 * (config.num_layers * encoder + config.num_decoder_layers * decoder + head).sum())


def checkpoint(kind: str, folder: Path, config: Path | None = None, *, tiny: bool = False) -> Path:
    """A checkpoint of random weights, of a built-in shape or as a config.json says, with a tokenizer of random words."""
    import torch
    from transformers import AutoConfig, BertConfig, BertModel, MT5Config, MT5ForConditionalGeneration

    torch.manual_seed(0)
    shape: dict[str, Any] = (TOYS if tiny else SHAPES)[kind]
    if kind == "mbert":
        BertModel(AutoConfig.from_pretrained(config) if config else BertConfig(**shape)).save_pretrained(folder)
    else:
        shape |= {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0, "eos_token_id": 3}
        MT5ForConditionalGeneration(AutoConfig.from_pretrained(config) if config else MT5Config(**shape)).save_pretrained(folder)
    _tokenizer(kind, FEW if tiny else WORDS).save_pretrained(folder)
    return folder


def _tokenizer(kind: str, count: int) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(_word, range(count - 4))]
    tokenizer = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pair, single = ("[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS] $A [SEP]") if kind == "mbert" else ("$A $B [SEP]", "$A [SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "eos_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _word(number: int) -> str:
    return f"w{number}"


def pairs(count: int, *, tiny: bool = False) -> Examples:
    """So many pairs of random words, 41 pieces on average with the three that mark where texts begin and end, as XNLI's in English."""
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(np.log(41) - 0.45**2 / 2, 0.45, count).round(), 8, 128).astype(int) - 3

    def example(number: int, length: int) -> Example:
        found = list(map(_word, draw.integers(0, (FEW if tiny else WORDS) - 4, length)))
        cut = 2 * length // 3
        return Example(str(number), " ".join(found[:cut]), " ".join(found[cut:]), (XNLI.labels[number % 3],))

    return Examples(tuple(example(number, length) for number, length in enumerate(lengths.tolist())))
