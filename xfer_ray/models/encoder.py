"""Fine-tune an encoder as a classifier of pairs: mBERT, XLM-R, and any checkpoint built as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from xfer_ray.core import Context, Example, Examples, FineTuned, Recipe, Task
from xfer_ray.errors import DeclarationError, SetupError
from xfer_ray.models import checkpoints, training
from xfer_ray.models.tokens import encoded

# What BERT's kin call their dropout probabilities: in the layers, in the attention, before the classifier.
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")


def fine_tune(task: Task, train: Examples, select: Examples | None, recipe: Recipe, seed: int, context: Context) -> FineTuned:
    """Train on the source for the whole recipe and keep the last step: `select` is not consulted, as in the paper (§6)."""
    folder = checkpoints.loadable(context.checkpoint, context.revision, context.cache)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    micro_batch = context.micro_batch or training.auto_micro_batch(recipe)
    with training.seeded(seed):
        model = classifier(folder, task.labels, recipe).to(training.device())
        lessons = training.Lessons(
            tokens=encoded(tokenizer, train, recipe.max_length, context.cache),
            classes=np.array([task.labels.index(example.answers[0]) for example in train], dtype=np.int64),
            pad=tokenizer.pad_token_id,
        )
        steps = training.train(model, lessons, recipe, seed, micro_batch=micro_batch, report=context.report)
    _give_back()

    def predict(examples: Sequence[Example]) -> list[str]:
        if not examples:
            return []
        tokens = encoded(tokenizer, examples, recipe.max_length, context.cache)
        best = training.best_classes(model, tokens, lessons.pad, recipe)
        _give_back()
        return [task.labels[index] for index in best]

    def save(into: Path) -> None:
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)

    return FineTuned(predict, steps, micro_batch, _name(model), save)


def classifier(folder: Path, labels: Sequence[str], recipe: Recipe) -> PreTrainedModel:
    """The checkpoint with a new classification head, in fp32; the weights come from the page cache when they were read before."""
    transformers.logging.set_verbosity_error()  # its report of weights that are new or left out: told apart below
    transformers.logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    if recipe.dropout is not None:
        for name in _DROPOUTS:
            setattr(config, name, recipe.dropout)
    _demand_positions(config, recipe.max_length, folder)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    # A masked language model has no pooler, so that part may start afresh like the head; anything else means other weights.
    absent = [key for key in info["missing_keys"] if key.startswith(model.base_model_prefix + ".") and ".pooler." not in key]
    if absent:
        raise SetupError(f"the weights in {folder} are not those of its config.json: {len(absent)} are absent, such as {sorted(absent)[0]}")
    return model


def _demand_positions(config: AutoConfig, max_length: int, folder: Path) -> None:
    # RoBERTa and XLM-R count positions from the padding id on, so 514 of them hold 512 tokens.
    taken = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    if max_length > config.max_position_embeddings - taken:
        raise DeclarationError(
            f"max_length {max_length} is more than the {config.max_position_embeddings - taken} positions of the checkpoint in {folder}"
        )


def _give_back() -> None:
    """Return what PyTorch holds of the GPU's memory beyond the model itself, for the other trials on it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _name(model: PreTrainedModel) -> str:
    return "cpu" if model.device.type == "cpu" else torch.cuda.get_device_name(model.device)
