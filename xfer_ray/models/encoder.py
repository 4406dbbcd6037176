"""Fine-tune an encoder: mBERT, XLM-R, and any checkpoint built as they are.

A task with labels is learned as classification of pairs (pairs.py), one without as extractive question answering (spans.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from xfer_ray.contract import Context, FineTuned
from xfer_ray.core import Task
from xfer_ray.errors import DeclarationError, SetupError, demand
from xfer_ray.models import batches, checkpoints, pairs, spans, states, training
from xfer_ray.models.checkpoints import demand_vocabulary
from xfer_ray.models.fine_tuning import fine_tuned
from xfer_ray.models.lessons import Run
from xfer_ray.models.tokens import kept_tokenizer
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Examples

# Those that count positions from the padding id on, so that 514 of them hold 512 tokens.
_FROM_PADDING = ("roberta", "camembert", "mpnet")


def fine_tune(task: Task, train: Examples, select: Examples | None, recipe: Recipe, seed: int, context: Context) -> FineTuned:
    """Train on the source; keep the last step, or with `select` the best one on the source's dev set."""
    folder = checkpoints.loadable(context.checkpoint, context.revision, context.cache)
    tokenizer = kept_tokenizer(folder, _tokenizer)
    head = pairs if task.labels else spans
    with training.seeded(seed):
        model = with_head(folder, task, recipe).to(training.device())
        demand_vocabulary(model, tokenizer, folder)
        special = tokenizer.num_special_tokens_to_add(pair=True)
        demand(recipe.max_length > special, f"max_length {recipe.max_length} leaves no room for a text beside {special} special tokens")
        packs = context.layout not in batches.PACKS or model.config.model_type in states.KNOWN
        demand(packs, f"layout {context.layout!r} cannot be had for a {model.config.model_type}; for {', '.join(states.KNOWN)} only")
        run = Run(model, tokenizer, task, recipe, seed, context)
        return fine_tuned(run, head.lessons(run, train), head.predictor(run), select)


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer


def with_head(folder: Path, task: Task, recipe: Recipe) -> PreTrainedModel:
    """The checkpoint with a new head, in fp32; the weights come from the page cache when they were read before."""
    transformers.logging.set_verbosity_error()  # its report of weights that are new or left out: told apart below
    transformers.logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.is_encoder_decoder:
        raise SetupError(f"the checkpoint in {folder} is a {config.model_type}, no encoder; the family of its model is 'text_to_text'")
    labels = task.labels or ("first", "last")  # of questions, whether a token is the first or the last of the answer
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    for name in config.to_dict() if recipe.dropout is not None else ():
        if "dropout" in name:  # in the layers, in the attention, before the classifier: each kind has names of its own
            setattr(config, name, recipe.dropout)
    _demand_positions(config, recipe.max_length, folder)
    kind: Any = AutoModelForSequenceClassification if task.labels else AutoModelForQuestionAnswering
    model, info = kind.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # of the head of an earlier fine-tuning, which is left out
    )
    _begin_head(model, info)
    # A masked language model has no pooler, so that part may start afresh like the head; anything else means other weights.
    absent = [key for key in info["missing_keys"] if key.startswith(model.base_model_prefix + ".") and ".pooler." not in key]
    if absent:
        raise SetupError(f"the weights in {folder} are not those of its config.json: {len(absent)} are absent, such as {sorted(absent)[0]}")
    return model


def _begin_head(model: PreTrainedModel, info: Any) -> None:  # noqa: ANN401 - what transformers tells of a loading
    """Begin the head anew where the checkpoint had one, as a fine-tuned model has."""
    new = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    for name, part in model.named_children():
        if name != model.base_model_prefix and not {f"{name}.{key}" for key in part.state_dict()} <= new:
            for parameter in part.parameters():
                parameter._is_hf_initialized = False
            part.apply(model._init_weights)


def _demand_positions(config: AutoConfig, max_length: int, folder: Path) -> None:
    taken = config.pad_token_id + 1 if any(kind in config.model_type for kind in _FROM_PADDING) else 0
    if max_length > config.max_position_embeddings - taken:
        raise DeclarationError(
            f"max_length {max_length} is more than the {config.max_position_embeddings - taken} positions of the checkpoint in {folder}"
        )
