"""Any transformers translation checkpoint of the families in families.py. The weights stay in the precision of fp32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xfer_ray.errors import DeclarationError, SetupError
from xfer_ray.translation.families import FAMILIES, Speech, speech
from xfer_ray.translation.segments import by_segment, segments
from xfer_ray.translation.translator import Translate, Translation, Translator

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig

MODEL_TYPES = ("marian", "m2m_100", "mbart", "t5", "mt5", "umt5")
UNBOUNDED = 512  # tokens of a segment for a model whose positions have no end, as T5's
SPARE = 20  # a translation may have twice the tokens of its segment, and so many more
_STEP = 16  # segments are translated side by side with those whose length, rounded up to a multiple of this, is theirs


def opened(translator: Translator, *, source: str, target: str, folder: Path, threads: int | None = None) -> Translate:
    """The checkpoint, loaded onto the GPU where there is one, as a function from texts to translations."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    config = _config(folder)
    spoken = speech(folder, source, target)
    positions: int | None = getattr(config, "max_position_embeddings", None)
    limit = longest(translator, positions)
    model = _loaded(folder, config)
    _demand_vocabulary(model, spoken, folder)
    base = _generation(model, spoken)
    model.generation_config = base  # what the checkpoint's says of decoding is left out, which generate() would mix in
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def translate(texts: Sequence[str]) -> list[Translation]:
        rows = [spoken.encoded(text) for text in texts]
        found = [Translation("")] * len(texts)
        for batch in batches([len(row) for row in rows], translator.batch_tokens):
            written = _written(model, [rows[index] for index in batch], _settings(base, translator, room(len(rows[batch[0]]), positions)))
            for index, ids in zip(batch, written, strict=True):
                found[index] = _read(spoken, base, ids)
        return found

    return by_segment(translate, lambda text: segments(text, source, spoken.length, limit), target)


# ------------------------------------------------------------------------------ how long


def longest(translator: Translator, positions: int | None) -> int:
    """The most tokens of a segment for a model of so many positions, None without an end.

    A model's own limit leaves room for a translation of twice the tokens and 20 more: 246 of Marian's 512 positions.
    """
    if translator.max_length is None:
        return UNBOUNDED if positions is None else (positions - SPARE) // 2
    if positions is not None and translator.max_length > positions:
        raise DeclarationError(f"max_length is {translator.max_length}; the model has {positions} positions")
    return translator.max_length


def room(length: int, positions: int | None) -> int:
    """The most tokens of a translation of a segment of so many tokens; alike for all lengths of a batch."""
    wanted = 2 * _rounded(length) + SPARE
    return wanted if positions is None else min(wanted, positions - 1)


def _rounded(length: int) -> int:
    return -(-length // _STEP) * _STEP


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """The rows in batches of about one length, long ones first, of at most `budget` tokens with padding or one row.

    No batch mixes lengths with different room, so a translation does not depend on what it is translated beside.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-_rounded(lengths[index]), -lengths[index], index)):
        first = lengths[batch[0]] if batch else 0
        if batch and (_rounded(lengths[index]) != _rounded(first) or (len(batch) + 1) * first > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


# ------------------------------------------------------------------------------ loading


def _config(folder: Path) -> Any:  # noqa: ANN401
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"the translator in {folder} has no config.json that can be read: {error}") from error
    if config.model_type not in MODEL_TYPES:
        raise SetupError(f"the checkpoint in {folder} is a {config.model_type}, no translator that is known; possible: {FAMILIES}")
    return config


def _loaded(folder: Path, config: Any) -> Any:  # noqa: ANN401
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    try:
        model, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # safetensors and pickles raise errors of their own
        raise SetupError(f"the translator in {folder} has no weights that can be read: {error}") from error
    absent = sorted(info["missing_keys"])
    if absent:
        raise SetupError(f"the weights in {folder} are not those of its config.json: {len(absent)} are absent, such as {absent[0]}")
    return model


def _demand_vocabulary(model: Any, spoken: Speech, folder: Path) -> None:  # noqa: ANN401
    held = model.get_input_embeddings().num_embeddings
    highest = max(spoken.begin or 0, *spoken.encoded("a"), spoken.tokenizer.vocab_size - 1)
    if highest >= held:
        raise SetupError(
            f"the vocabulary in {folder} does not belong to its weights: "
            f"the tokenizer has a token {highest} and the model {held} embeddings"
        )


# ------------------------------------------------------------------------------ writing


def _generation(model: Any, spoken: Speech) -> GenerationConfig:  # noqa: ANN401
    """What of decoding belongs to the model: its special tokens, and what it must not or has to write."""
    from transformers import GenerationConfig

    theirs, config, tokenizer = model.generation_config, model.config, spoken.tokenizer
    pad = _first(theirs.pad_token_id, config.pad_token_id, tokenizer.pad_token_id)
    return GenerationConfig(
        do_sample=False,
        decoder_start_token_id=_first(theirs.decoder_start_token_id, getattr(config, "decoder_start_token_id", None), pad),
        eos_token_id=_first(theirs.eos_token_id, config.eos_token_id, tokenizer.eos_token_id),
        pad_token_id=pad,
        forced_bos_token_id=spoken.begin,
        bad_words_ids=theirs.bad_words_ids or ([[pad]] if spoken.is_marian else None),
        renormalize_logits=theirs.renormalize_logits,
    )


def _first(*values: Any) -> Any:  # noqa: ANN401
    return next((value for value in values if value is not None), None)


def _settings(base: GenerationConfig, translator: Translator, tokens: int) -> GenerationConfig:
    import copy

    settings = copy.deepcopy(base)
    settings.update(num_beams=translator.beams, max_new_tokens=tokens, length_penalty=1.0, early_stopping=False)
    return settings


def _written(model: Any, rows: Sequence[Sequence[int]], settings: GenerationConfig) -> list[list[int]]:  # noqa: ANN401
    import torch

    ids, mask = _padded(rows, settings.pad_token_id)
    with torch.inference_mode():
        found = model.generate(ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings)
    written: list[list[int]] = found.tolist()
    return written


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def _read(spoken: Speech, base: GenerationConfig, ids: Sequence[int]) -> Translation:
    """The text without the token that starts the decoder and that of the language; truncated if nothing ends it."""
    said = list(ids[1 if spoken.begin is None else 2 :])
    ends = base.eos_token_id if isinstance(base.eos_token_id, list) else [base.eos_token_id]
    stop = next((at for at, token in enumerate(said) if token in ends), None)
    return Translation(spoken.decoded(said[:stop]), truncated=stop is None)
