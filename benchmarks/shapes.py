"""Models of known shapes with random weights, for speed does not depend on what a model has learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, BertModel, MT5Config, MT5ForConditionalGeneration, logging

from benchmarks import texts
from xfer_ray.contract import Context
from xfer_ray.core import Task
from xfer_ray.models import checkpoints, encoder, text_to_text, training
from xfer_ray.models.lessons import Run
from xfer_ray.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Shape:
    """The size of a BERT; a head has 64 dimensions and the feed-forward layer four times the width."""

    name: str
    layers: int
    width: int


# Turc et al. 2019, Well-Read Students Learn Better, table 1; the vocabulary is mBERT's.
TINY, SMALL, BASE = Shape("BERT-tiny", 2, 128), Shape("BERT-small", 4, 512), Shape("BERT-base", 12, 768)


def bert(shape: Shape, folder: Path) -> Path:
    """A checkpoint of this shape with mBERT's configuration otherwise, and its tokenizer; made once."""
    if not folder.exists():
        config = AutoConfig.from_pretrained(texts.mbert(), local_files_only=True)
        config.hidden_size, config.num_hidden_layers = shape.width, shape.layers
        config.num_attention_heads, config.intermediate_size = shape.width // 64, 4 * shape.width
        with training.seeded(0):
            _save(BertModel(config), texts.tokenizer(), folder)
    return folder


def mt5(folder: Path, *, tiny: bool = False) -> Path:
    """A checkpoint shaped as mT5-small (Xue et al. 2021), whose tokenizer and vocabulary are mBERT's; made once."""
    if not folder.exists():
        tokenizer = texts.tokenizer()
        tokenizer.eos_token = tokenizer.sep_token  # with which this tokenizer ends a text
        config = MT5Config(
            vocab_size=len(tokenizer),
            d_model=128 if tiny else 512,
            d_ff=256 if tiny else 1024,
            num_layers=1 if tiny else 8,
            num_decoder_layers=1 if tiny else 8,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
        with training.seeded(0):
            model = MT5ForConditionalGeneration(config)
            # mT5 writes with a table of its own (Xue et al. 2021); transformers keeps one that is there, and makes none.
            model.lm_head.weight = nn.Parameter(torch.randn(config.vocab_size, config.d_model) * config.d_model**-0.5)
            _save(model, tokenizer, folder)
    return folder


def _save(model: BertModel | MT5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def encoder_run(folder: Path, task: Task, recipe: Recipe, cache: Path) -> Run:
    """What a trial makes of a checkpoint of an encoder before it trains."""
    with training.seeded(0):
        model = encoder.with_head(folder, task, recipe).to(training.device())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Run(model, tokenizer, task, recipe, 0, Context(str(folder), None, cache))


def text_to_text_run(folder: Path, task: Task, recipe: Recipe, cache: Path) -> Run:
    """The same of a text-to-text checkpoint."""
    with training.seeded(0):
        model = text_to_text.loaded(folder, recipe).to(training.device())
    return Run(model, checkpoints.tokenizer_of(folder), task, recipe, 0, Context(str(folder), None, cache))
