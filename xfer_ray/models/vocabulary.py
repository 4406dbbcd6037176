"""Vocabularies learned from text: WordPiece as BERT has it, Unigram as SentencePiece makes it for T5.

Both keep case and accents. What a piece weighs is counted here, for the trainer's own sums differ from run to run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xfer_ray.errors import DataError, demand

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNIGRAM_SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0, 1, 2, as T5 and mT5 have them
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(99, -1, -1))  # <extra_id_0> has the last id, likewise
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))  # for characters that have no piece
COVERAGE = 0.9995  # of the characters of the text have a piece of their own; SentencePiece's default
COUNTED = 3  # times that pieces are counted: the counts have then all but settled
LONGEST_WORD = 1_000  # characters; Thai has no spaces, and a longer word than this is unknown as a whole
_SPACE = "▁"


def alphabet(texts: Iterable[str]) -> list[str]:
    """The characters, spaces apart, that make up `COVERAGE` of the text, in the order of their code points."""
    counts = Counter(character for text in texts for character in text if not character.isspace())
    wanted, kept = COVERAGE * counts.total(), []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if wanted <= 0:
            break
        kept.append(character)
        wanted -= count
    return sorted(kept)


def _demand_room(size: int, needed: int) -> None:
    demand(size > needed, f"vocabulary of {size} pieces has no room for words: characters and special tokens alone are {needed}")


# ------------------------------------------------------------------------------ WordPiece


def wordpiece(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """At most `size` pieces, of words, and of single characters where they are Chinese ones."""
    from tokenizers import processors
    from tokenizers.trainers import WordPieceTrainer
    from transformers import BertTokenizer, PreTrainedTokenizerFast

    backend = BertTokenizer(do_lower_case=False, strip_accents=False).backend_tokenizer
    letters = alphabet(texts)
    inside = [f"##{letter}" for letter in letters if backend.normalizer.normalize_str(letter) == letter]
    _demand_room(size, len(SPECIAL) + len(letters) + len(inside))
    # Letters come first, in order: the trainer numbers those that it finds itself in an order that changes from run to run.
    special = [*SPECIAL, *letters, *inside]
    backend.train_from_iterator(texts, WordPieceTrainer(vocab_size=size, special_tokens=special, limit_alphabet=0, show_progress=False))
    backend = _wordpiece_of(backend.get_vocab(with_added_tokens=True), backend)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def _wordpiece_of(vocabulary: dict[str, int], like: Tokenizer) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models

    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    made.normalizer, made.pre_tokenizer, made.decoder = like.normalizer, like.pre_tokenizer, decoders.WordPiece(cleanup=False)
    made.add_special_tokens(list(SPECIAL))
    return made


# ------------------------------------------------------------------------------ Unigram


def unigram(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """At most `size` tokens: pieces, bytes for what has no piece, and the sentinels of span corruption.

    Text is not normalized, but for runs of white space, which become one space: what is encoded and decoded again is the
    same, letter by letter, in every script.
    """
    from tokenizers import Tokenizer, models
    from tokenizers.trainers import UnigramTrainer
    from transformers import PreTrainedTokenizerFast

    letters = alphabet(texts)
    fixed = len(UNIGRAM_SPECIAL) + len(BYTES) + len(SENTINELS)
    _demand_room(size, fixed + len(letters) + 1)
    blank = _unigram_of(Tokenizer(models.Unigram()))
    trainer = UnigramTrainer(
        vocab_size=size - fixed + 1, special_tokens=["<unk>"], unk_token="<unk>", initial_alphabet=letters, show_progress=False
    )
    blank.train_from_iterator(texts, trainer)
    found = {piece for piece, _ in json.loads(blank.to_str())["model"]["vocab"]} - {"<unk>"}
    pieces = sorted({piece for piece in found if len(piece) > 1} | {*letters, _SPACE})
    return PreTrainedTokenizerFast(
        tokenizer_object=_weighed(pieces, texts), pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=list(reversed(SENTINELS)), model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def _weighed(pieces: Sequence[str], texts: Sequence[str]) -> Tokenizer:
    """A tokenizer whose pieces weigh the logarithm of their share of the text, in the likeliest segmentation of it."""
    scores = {piece: -10.0 for piece in pieces}
    for _ in range(COUNTED):
        tokenizer = _with_scores(scores)
        counts = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
        for start in range(0, len(texts), 1000):
            for encoding in tokenizer.encode_batch_fast(texts[start : start + 1000], add_special_tokens=False):
                np.add.at(counts, encoding.ids, 1)
        total = int(counts.sum())
        if not total:
            raise DataError("a vocabulary cannot be learned: there is no text")
        scores = {piece: math.log((counts[tokenizer.token_to_id(piece)] + 0.5) / total) for piece in pieces}
    return _with_scores(scores)


def _with_scores(scores: dict[str, float]) -> Tokenizer:
    """Special tokens, bytes and the pieces from the heaviest to the lightest; a byte weighs less than any piece."""
    from tokenizers import Tokenizer, models

    last = min(scores.values()) - 10.0
    rows = [(token, 0.0) for token in UNIGRAM_SPECIAL] + [(byte, last) for byte in BYTES]
    rows += sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    made = _unigram_of(Tokenizer(models.Unigram(rows, 2, True)))
    made.add_special_tokens([*UNIGRAM_SPECIAL, *SENTINELS])
    return made


def _unigram_of(tokenizer: Tokenizer) -> Tokenizer:
    """The same model with what stands before and after it."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

    space = {"replacement": _SPACE, "prepend_scheme": "always"}
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=True, **space)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(split=True, **space)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", UNIGRAM_SPECIAL.index("</s>"))]
    )
    return tokenizer
