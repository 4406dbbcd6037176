"""Translation models that CTranslate2 has converted, for speed: an optional extra. The tokenizer's files lie beside the model's.

CTranslate2 4.8 under transformers 5 converts OPUS-MT and NLLB well; M2M100 and mBART-50 it refuses, and MADLAD's scores it scales
wrongly, so that beams choose worse than they should.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from xfer_ray.errors import SetupError
from xfer_ray.translation.checkpoint import batches, longest, room
from xfer_ray.translation.families import speech
from xfer_ray.translation.segments import by_segment, segments
from xfer_ray.translation.translator import Translate, Translation, Translator

_NO_LIMIT = 1_000_000  # transformers writes a far greater length for a tokenizer that has none


def opened(translator: Translator, *, source: str, target: str, folder: Path, threads: int | None = None) -> Translate:
    """The model, on the GPU where there is one, as a function from texts to translations; weights as they were converted.

    How many positions it has is what its tokenizer says is its longest input.
    """
    try:
        import ctranslate2
    except ImportError:
        raise SetupError("CTranslate2 is not installed; it is an extra of this package: pip install 'xfer-ray[ctranslate2]'") from None
    if not (folder / "model.bin").is_file():
        raise SetupError(f"{folder} holds no model that CTranslate2 has converted: no model.bin; ct2-transformers-converter makes one")
    spoken = speech(folder, source, target)
    if spoken.prefix.startswith("<2") and translator.beams > 1:
        raise SetupError(f"CTranslate2 scores the beams of MADLAD wrongly, so {folder} needs --beams 1; the checkpoint itself takes any")
    said = spoken.tokenizer.model_max_length
    positions = int(said) if said < _NO_LIMIT else None
    limit = longest(translator, positions)
    try:
        model = ctranslate2.Translator(str(folder), device="auto", inter_threads=1, intra_threads=threads or 0)
    except RuntimeError as error:
        raise SetupError(f"the converted model in {folder} cannot be read: {error}") from error
    spell = spoken.tokenizer.convert_ids_to_tokens
    begin = [] if spoken.begin is None else [spell(spoken.begin)]
    _demand_tokens(folder, begin)

    def translate(texts: Sequence[str]) -> list[Translation]:
        rows = [spell(spoken.encoded(text)) for text in texts]
        found = [Translation("")] * len(texts)
        for batch in batches([len(row) for row in rows], translator.batch_tokens):
            written = model.translate_batch(
                [rows[index] for index in batch],
                target_prefix=[begin] * len(batch) if begin else None,
                beam_size=translator.beams,
                length_penalty=1.0,
                max_input_length=0,
                max_decoding_length=room(len(rows[batch[0]]), positions),
                return_end_token=True,
            )
            for index, result in zip(batch, written, strict=True):
                said = result.hypotheses[0][len(begin) :]
                ended = bool(said) and said[-1] == spoken.tokenizer.eos_token
                ids = spoken.tokenizer.convert_tokens_to_ids(said[:-1] if ended else said)
                found[index] = Translation(spoken.decoded(ids), truncated=not ended)
        return found

    return by_segment(translate, lambda text: segments(text, source, spoken.length, limit), target)


def _demand_tokens(folder: Path, tokens: Sequence[str]) -> None:
    """Refuse a model that was converted without the tokens of its languages, which it would take for unknown words."""
    for file in (folder / "shared_vocabulary.json", folder / "target_vocabulary.json"):
        held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else tokens
        lacking = [token for token in tokens if token not in held]
        if lacking:
            raise SetupError(f"the converted model in {folder} has no token {lacking[0]!r} of the target language; convert it anew")
