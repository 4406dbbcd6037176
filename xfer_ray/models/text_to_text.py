"""Fine-tune a text-to-text model: mT5, and any checkpoint built as T5 is (Raffel et al. 2020, Xue et al. 2021)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from xfer_ray.contract import Context, FineTuned, Predict
from xfer_ray.core import Task
from xfer_ray.errors import DeclarationError, SetupError
from xfer_ray.models import checkpoints, decoding, generation, memory, states, training, wording
from xfer_ray.models.batches import NOBODY, NOTHING, Grid, Part, Rows, beside, by_length, padded
from xfer_ray.models.checkpoints import demand_vocabulary
from xfer_ray.models.fine_tuning import fine_tuned
from xfer_ray.models.lessons import Lessons, Run
from xfer_ray.models.tokens import Tokens, encoded_texts, kept_tokenizer
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Example, Examples

log = logging.getLogger(__name__)
KINDS = ("t5", "mt5", "umt5")
_LARGEST_BATCH = 256  # examples that are decoded side by side


def fine_tune(task: Task, train: Examples, select: Examples | None, recipe: Recipe, seed: int, context: Context) -> FineTuned:
    """Train on the source; keep the last step, or with `select` the best one on the source's dev set."""
    folder = checkpoints.loadable(context.checkpoint, context.revision, context.cache)
    tokenizer = kept_tokenizer(folder, checkpoints.tokenizer_of)
    with training.seeded(seed):
        model = loaded(folder, recipe).to(training.device())
        demand_vocabulary(model, tokenizer, folder)
        _demand_end(tokenizer, folder)
        run = Run(model, tokenizer, task, recipe, seed, context)
        return fine_tuned(run, lessons(run, train), predictor(run), select)


def loaded(folder: Path, recipe: Recipe) -> PreTrainedModel:
    """The checkpoint in fp32, with the recipe's dropout; what its generation_config.json says of decoding is left out."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if not config.is_encoder_decoder:
        raise SetupError(f"the checkpoint in {folder} is a {config.model_type}, no encoder-decoder; the family of its model is 'encoder'")
    if config.model_type not in KINDS:
        raise SetupError(f"the checkpoint in {folder} is a {config.model_type}, which is not built as T5 is; possible: {', '.join(KINDS)}")
    if getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id  # as T5 has it, whose configuration may leave it out
    if recipe.dropout is not None:
        config.dropout_rate = recipe.dropout
    model, info = AutoModelForSeq2SeqLM.from_pretrained(
        folder, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    absent = sorted(info["missing_keys"])
    if absent:
        raise SetupError(f"the weights in {folder} are not those of its config.json: {len(absent)} are absent, such as {absent[0]}")
    # transformers calls every output layer tied, but leaves one of its own, such as mT5's, as the weights have it. umT5 scales by
    # this flag, and should not with an output layer of its own.
    model.config.tie_word_embeddings = model.lm_head.weight is model.get_input_embeddings().weight
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    return model


def _demand_end(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    if tokenizer("a").input_ids[-1] != tokenizer.eos_token_id:
        raise SetupError(
            f"the tokenizer in {folder} does not end a text with its eos_token {tokenizer.eos_token!r}, so no answer would end; "
            "its post-processor has to add it, as T5's does"
        )


# ------------------------------------------------------------------------------ learning


def lessons(run: Run, train: Examples) -> Lessons:
    """Each example is a row; what is learned is every token of its answer, and each of them weighs the same."""
    questions = [wording.question(run.task, example) for example in train]
    inputs, ends = _encoded(run, questions, run.recipe.max_length, "inputs")
    targets, _ = _encoded(run, [wording.answer(run.task, example) for example in train], run.recipe.max_target_length, "targets")
    cut = [(example, end) for example, text, end in zip(train, questions, ends, strict=True) if end < len(text)]
    beyond = [example.id for example, end in cut if wording.answer_end(run.task, example) > end]
    if beyond:
        log.warning(
            "%d of %d answers lie beyond what is read of their context, such as that of example %r", len(beyond), len(train), beyond[0]
        )

    pad = run.tokenizer.pad_token_id

    def asked(grid: Grid, rows: Rows) -> tuple[Part, ...]:
        told = beside(targets, rows, pad, grid)
        at = np.argwhere(told.owner != NOBODY)
        read = decoding.moved_on(run.model, told)
        return (
            Part(read.ids, pad, "rows"),
            Part(read.owner, NOBODY, "rows"),
            Part(at, 0, "tokens"),
            Part(told.ids[at[:, 0], at[:, 1]], NOTHING, "tokens"),
        )

    def loss(model: PreTrainedModel, grid: Grid, ids: Any, owner: Any, at: Any, wanted: Any) -> Tensor:  # noqa: ANN401 - arrays or tensors
        row, column = states.tensor(model, at).T
        found = decoding.states(model, grid, replace(grid, ids=ids, owner=owner))
        return decoding.cross_entropy(model, found[row, column], states.tensor(model, wanted))

    return Lessons(inputs, pad, targets.lengths.astype(np.float64), loss, asked)


def _encoded(run: Run, texts: Sequence[str], max_length: int, what: str) -> tuple[Tokens, NDArray[np.int64]]:
    tokens, ends = encoded_texts(run.tokenizer, texts, max_length, run.context.cache, run.context.made)
    cut = sum(end < len(text) for text, end in zip(texts, ends, strict=True))
    if cut:
        log.warning("%d of %d %s are longer than %d tokens and were cut", cut, len(texts), what, max_length)
    return tokens, ends


# ------------------------------------------------------------------------------ answering


def predictor(run: Run) -> Predict:
    """The function that answers: what greedy decoding writes, or the likeliest label after one decoder step."""
    labels = run.recipe.decoding == "labels"
    prefix, following = _choices(run) if labels else ([], [])

    def predict(examples: Sequence[Example]) -> list[str]:
        tokens, _ = _encoded(run, [wording.question(run.task, example) for example in examples], run.recipe.max_length, "inputs")
        if labels:
            return [run.task.labels[index] for index in _likeliest(run, tokens, prefix, following)]
        return wording.read(run.task, examples, written(run, tokens))

    return predict


def written(run: Run, tokens: Tokens) -> list[str]:
    """What the model writes for each row by greedy decoding, special tokens left out; longest rows first.

    T5's sentinels are special tokens and are left out too; mT5's are ordinary pieces, and stay.
    """
    texts = [""] * len(tokens)

    def compute(rows: Rows) -> None:
        grid = padded(tokens, rows, run.tokenizer.pad_token_id)
        ids = generation.greedy(run.model, grid, run.tokenizer.eos_token_id, run.recipe.max_target_length)
        for row, text in zip(rows, _decoded(run.tokenizer, ids), strict=True):
            texts[row] = text

    _in_groups(run, tokens, compute)
    return texts


def _decoded(tokenizer: PreTrainedTokenizerFast, ids: Tensor) -> list[str]:
    # The clean-up of some tokenizers takes the space before a full stop away, and padded answers have it.
    texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return texts


def _likeliest(run: Run, tokens: Tokens, prefix: list[int], following: list[int]) -> list[int]:
    """The index of the likeliest token of `following`, after `prefix`, for each row; in one decoder step."""
    best = np.zeros(len(tokens), dtype=np.int64)

    def compute(rows: Rows) -> None:
        grid = padded(tokens, rows, run.tokenizer.pad_token_id)
        best[rows] = generation.scores(run.model, grid, prefix, following).argmax(-1).cpu().numpy()

    _in_groups(run, tokens, compute)
    return [int(index) for index in best]


def _in_groups(run: Run, tokens: Tokens, compute: Callable[[Rows], None]) -> None:
    """Answer all rows, longest first, in groups of at most `_LARGEST_BATCH`."""
    groups = (
        rows[start : start + _LARGEST_BATCH]
        for rows in by_length(tokens.lengths, training.budget(run.model))
        for start in range(0, len(rows), _LARGEST_BATCH)
    )
    run.model.eval()
    with torch.inference_mode(), training.autocast(run.model, run.recipe):
        memory.in_groups(run, tokens.lengths, groups, compute)


def _choices(run: Run) -> tuple[list[int], list[int]]:
    """The tokens with which all verbalizers begin, and the next one of each; those must differ, for one step sees no more."""
    spelled = wording.verbalizers(run.task)
    if not spelled:
        raise DeclarationError(f"decoding='labels' chooses among labels, and task {run.task.name} has none; give decoding='greedy'")
    tokens = [run.tokenizer(text).input_ids for text in spelled]
    common = 0
    while len({row[common] for row in tokens}) == 1 and common + 1 < min(map(len, tokens)):
        common += 1
    following = [row[common] for row in tokens]
    for index, token in enumerate(following):
        if token in following[:index]:
            pair = f"{spelled[following.index(token)]!r} and {spelled[index]!r}"
            begin = run.tokenizer.convert_ids_to_tokens(tokens[index][: common + 1])
            raise DeclarationError(f"decoding='labels' cannot tell {pair} apart: both begin with {' '.join(map(repr, begin))}")
    return tokens[0][:common], following
