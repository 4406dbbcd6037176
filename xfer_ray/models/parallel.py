"""Learning to translate from parallel text, the objective "translation".

`<2de> The dog.` -> `Der Hund.`: a token for the target language and then the text is how MADLAD-400 is asked (Kudugunta et al.
2023), so that what comes out of this is used as such a checkpoint is. Documents have the same sentences by language; each is
translated from its first language into all others of its own, and the sampling weighs the languages that are translated into.

A model that begins anew begins as word_by_word.py says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from xfer_ray.errors import DataError, DeclarationError, demand
from xfer_ray.models import streams, vocabulary, word_by_word
from xfer_ray.models.objectives import NOTHING
from xfer_ray.models.pretraining_loop import Taken
from xfer_ray.models.streams import Encode, Ids
from xfer_ray.recipe import Document, Pretraining, Texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BUCKET = 50  # batches whose pairs are sorted by length together
_Drawn = tuple[int, tuple[Ids, Ids]]  # the number of a target language, and a pair

log = logging.getLogger(__name__)


def token(language: str) -> str:
    """What stands before a text that is to be translated into this language."""
    return f"<2{language}>"


def parallel(text: Texts) -> Sequence[Document]:
    """The documents of a parallel text, or a refusal."""
    if isinstance(text, Mapping):
        raise DeclarationError(
            "objective 'translation' reads the same sentences by language, and this text has documents by language; "
            "give a list of documents such as {'en': ('The dog.',), 'de': ('Der Hund.',)}"
        )
    found = sorted({language for document in text for language in document})
    demand(len(found) > 1, f"objective 'translation' reads text in at least two languages; found: {', '.join(found) or 'none'}")
    return text


def tokenizer(text: Texts, size: int, characters: int) -> PreTrainedTokenizerFast:
    """At most `size` tokens, one for each language among them; learned from at most so many characters, all languages alike."""
    told = streams.by_language(parallel(text))
    shares = streams.probabilities("uniform", list(told), dict)
    most = min(characters, sum(streams.characters(told).values()))
    learned = vocabulary.unigram(list(streams.sample(told, shares, most)), size - len(told))
    learned.add_tokens([token(language) for language in told], special_tokens=True)
    return learned


class _Loss(nn.Module):
    """A text-to-text model and its loss, for rows of unequal length."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, summed over its tokens: (rows,)."""
        told = self.model.prepare_decoder_input_ids_from_labels(labels=labels)
        attended = inputs != self.model.config.pad_token_id
        logits = self.model(input_ids=inputs, attention_mask=attended, decoder_input_ids=told).logits  # (rows, length, pieces)
        each = nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=NOTHING, reduction="none")
        return each.view_as(labels).sum(1)


# ------------------------------------------------------------------------------ pairs


class Translations:
    """A `Course` of the training loop over pairs of sentences."""

    def __init__(self, pretraining: Pretraining, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: Texts) -> None:
        """Pairs with a text of more than `max_length` tokens are left out."""
        told = _pairs(parallel(text))
        counts = {language: sum(len(target) for _, target in pairs) for language, pairs in told.items()}
        shares = streams.probabilities(pretraining.sampling, list(told), lambda: counts)
        self.shares = {language: share for language, share in shares.items() if share}
        self.languages = tuple(self.shares)
        encode, end = streams.encoder(tokenizer), tokenizer.eos_token_id
        self._pairs = [
            _fitting(_encoded(encode, told[language], (_demanded(tokenizer, language), end)), language, pretraining.max_length)
            for language in self.languages
        ]
        self._seed, self._size, self._pad = pretraining.seed, pretraining.batch_size, tokenizer.pad_token_id
        self._coming: tuple[int, list[list[_Drawn]]] = (-1, [])
        if not pretraining.initialize:
            found = [pair for pairs in self._pairs for pair in pairs]
            word_by_word.start(model, word_by_word.together(found, len(tokenizer), model.config.d_model))
        self.module: nn.Module = _Loss(model).to("cuda" if torch.cuda.is_available() else "cpu")

    def take(self, step: int) -> Taken:
        """The batch of a step: languages by lot, then a pair of each; of similar length within a batch."""
        bucket, at = divmod(step - 1, BUCKET)
        if self._coming[0] != bucket:
            self._coming = bucket, self._drawn(bucket)
        languages, pairs = zip(*self._coming[1][at], strict=True)
        device = next(self.module.parameters()).device

        def part(rows: slice) -> tuple[Any, ...]:
            sources, targets = zip(*pairs[rows], strict=True)
            return _padded(sources, self._pad).to(device), _padded(targets, NOTHING).to(device)

        return Taken(np.array([len(target) for _, target in pairs]), np.array(languages), part)

    def _drawn(self, bucket: int) -> list[list[_Drawn]]:
        """The batches of so many steps: what they hold depends on the seed and the step alone."""
        random = np.random.default_rng([self._seed, bucket])
        languages = random.choice(len(self.languages), BUCKET * self._size, p=list(self.shares.values()))
        drawn = [(int(one), self._pairs[one][random.integers(len(self._pairs[one]))]) for one in languages]
        drawn.sort(key=lambda item: (len(item[1][1]), len(item[1][0])))
        return [drawn[index * self._size : (index + 1) * self._size] for index in random.permutation(BUCKET)]

    def state(self) -> dict[str, Any]:
        """Nothing: see `_drawn`."""
        return {}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Nothing either."""


def _pairs(documents: Sequence[Document]) -> dict[str, list[tuple[str, str]]]:
    """By target language, in the order of the codes: each sentence of a document's first language with its translation."""
    found: dict[str, list[tuple[str, str]]] = {}
    for number, document in enumerate(documents):
        (first, sources), *others = document.items()
        for language, targets in others:
            if len(targets) != len(sources):
                raise DataError(
                    f"document {number} has {len(sources)} sentences in {first!r} and {len(targets)} in {language!r}; "
                    "objective 'translation' needs the same sentences in each of its languages"
                )
            found.setdefault(language, []).extend(zip(sources, targets, strict=True))
    demand(bool(found), "objective 'translation' finds no document with sentences in two languages")
    return {language: found[language] for language in sorted(found)}


def _demanded(tokenizer: PreTrainedTokenizerFast, language: str) -> int:
    """The number of a language's token."""
    found: int | None = tokenizer.convert_tokens_to_ids(token(language))
    demand(
        found is not None and found != tokenizer.unk_token_id,
        f"objective 'translation' needs a tokenizer with the token {token(language)}; learn the vocabulary, or take MADLAD-400's",
    )
    return int(found or 0)


def _encoded(encode: Encode, told: Sequence[tuple[str, str]], special: tuple[int, int]) -> list[tuple[Ids, Ids]]:
    """Pairs as the tokens of what is read and of what is written."""
    mark, end = special
    sources, targets = (encode(texts) for texts in zip(*told, strict=True))
    return [(np.array([mark, *source, end]), np.array([*target, end])) for source, target in zip(sources, targets, strict=True)]


def _fitting(found: Sequence[tuple[Ids, Ids]], language: str, most: int) -> list[tuple[Ids, Ids]]:
    """Those that are not too long; a cut pair would teach to leave out."""
    kept = [pair for pair in found if max(map(len, pair)) <= most]
    if not kept:
        raise DataError(f"all {len(found)} pairs into {language!r} have a text of more than max_length {most} tokens; give a larger one")
    if len(kept) < len(found):
        log.warning("%d of %d pairs into %s are left out: more than %d tokens", len(found) - len(kept), len(found), language, most)
    return kept


def _padded(rows: Sequence[Ids], filler: int) -> Tensor:
    padded = np.full((len(rows), max(map(len, rows))), filler)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return torch.from_numpy(padded)
