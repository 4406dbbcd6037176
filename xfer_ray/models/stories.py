"""Pre-training on pairs of sentences of one story in several languages, the objective "mlm+rtd".

Three objectives share each forward pass: masked tokens; replaced tokens of the second sentence; and, from the pooled
first token, whether the second sentence has any. The last two teach what masking alone does not in so short a time:
to compare two sentences, and to put the outcome where a classifier will look for it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from xfer_ray.models.pretraining_loop import Taken
from xfer_ray.models.streams import by_language, characters, probabilities
from xfer_ray.models.vocabulary import SPECIAL
from xfer_ray.recipe import Document, Pretraining

if TYPE_CHECKING:
    from transformers import BertModel, BertTokenizer

# All of these were found by trial on the miniature world.
CROSS_LINGUAL = (0.0, 0.6)  # pairs in two languages, at the first step and at the last: first comparing, then across languages
MASKED = 0.15  # of the tokens
CORRUPTED = 0.5  # of the pairs have replaced tokens
REPLACED = 0.2  # of the tokens of such a second sentence
REPLACED_WEIGHT = 5.0
BUCKET = 50  # batches whose pairs are sorted by length together

Ids = npt.NDArray[np.int64]


# ------------------------------------------------------------------------------ vocabulary


def tokenizer(documents: Sequence[Document], size: int) -> BertTokenizer:
    """A cased WordPiece tokenizer of about `size` pieces, learned from all sentences."""
    from transformers import BertTokenizer

    cased = {"do_lower_case": False, "strip_accents": False}
    return BertTokenizer(vocab=_learned(BertTokenizer(**cased), documents, size), **cased)


def _learned(blank: BertTokenizer, documents: Sequence[Document], size: int) -> dict[str, int]:
    """A WordPiece vocabulary of about `size` pieces, of words, and of single characters where they are Chinese ones."""
    from tokenizers.trainers import WordPieceTrainer

    sentences = sorted({sentence for document in documents for told in document.values() for sentence in told})
    letters = sorted(set("".join(sentences)) - {" "})
    inside = [f"##{letter}" for letter in letters if blank.backend_tokenizer.normalizer.normalize_str(letter) == letter]
    # Letters come first, in order: the trainer numbers those that it finds itself in an order that changes from run to run.
    trainer = WordPieceTrainer(vocab_size=size, special_tokens=[*SPECIAL, *letters, *inside], show_progress=False)
    blank.backend_tokenizer.train_from_iterator(sentences, trainer)
    learned: dict[str, int] = blank.backend_tokenizer.get_vocab()
    return learned


# ------------------------------------------------------------------------------ losses


class Heads(nn.Module):
    """What only pre-training needs: which token was masked, which one is replaced, whether any is."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        width, pieces = model.config.hidden_size, model.config.vocab_size
        self.masked = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(pieces))
        self.replaced = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        self.pooled = nn.Linear(width, 1)

    def loss(self, model: BertModel, batch: Batch) -> Tensor:
        """The three losses added up."""
        out = model(batch.ids, attention_mask=batch.attended, token_type_ids=batch.segments)
        hidden = out.last_hidden_state  # (batch, length, width)
        words = model.embeddings.word_embeddings.weight
        masked = nn.functional.cross_entropy(self.masked(hidden[batch.masked]) @ words.T + self.bias, batch.labels)
        replaced = _binary(self.replaced(hidden[batch.judged]), batch.replaced[batch.judged])
        pooled = _binary(self.pooled(out.pooler_output), batch.replaced.any(dim=1))
        return masked + REPLACED_WEIGHT * replaced + pooled


def _binary(logits: Tensor, truth: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits.squeeze(-1), truth.float())


class _Loss(nn.Module):
    """The model and the heads as one, for the training loop."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        self.model, self.heads = model, Heads(model)

    def forward(self, batch: Batch) -> Tensor:
        return self.heads.loss(self.model, batch).reshape(1)


class Stories:
    """A `Course` of the training loop; it stays on the CPU."""

    languages: tuple[str, ...] = ("all",)  # a pair may have two

    def __init__(self, model: BertModel, tokenizer: BertTokenizer, documents: Sequence[Document], pretraining: Pretraining) -> None:
        """`documents` have sentences by language."""
        self.module: nn.Module = _Loss(model)
        self._batches: Callable[[], Iterator[Batch]] = functools.partial(batches, tokenizer, documents, pretraining)
        self._coming: Iterator[Batch] = self._batches()

    def take(self, step: int) -> Taken:
        """The next batch, which counts as one row."""
        batch, one = next(self._coming), np.ones(1, dtype=np.int64)
        return Taken(one, 0 * one, lambda rows: (batch,))

    def state(self) -> dict[str, Any]:
        """Nothing: batches are drawn again from the first one on."""
        return {}

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Go on after so many steps."""
        self._coming = itertools.islice(self._batches(), step, None)


# ------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class Batch:
    """Pairs as `[CLS] first [SEP] second [SEP]`. Tensors are (batch, length), but `labels` is one per masked token."""

    ids: Tensor
    attended: Tensor
    segments: Tensor
    masked: Tensor
    labels: Tensor
    replaced: Tensor
    judged: Tensor  # tokens of the second sentence that are there to be called replaced or not


class _Pair(NamedTuple):
    first: Ids
    second: Ids
    replaced: npt.NDArray[np.bool_]  # of the second


def batches(tokenizer: BertTokenizer, documents: Sequence[Document], pretraining: Pretraining) -> Iterator[Batch]:
    """The batches of all steps: of similar length within, in random order."""
    random = np.random.default_rng(pretraining.seed)
    limit = (int(pretraining.architecture.get("max_position_embeddings", 512)) - 3) // 2
    pairs = _Pairs(_encoded(tokenizer, documents, limit), _weights(pretraining, documents), random)
    special = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    size, steps = pretraining.batch_size, pretraining.steps
    for done in range(0, steps, BUCKET):
        count = min(BUCKET, steps - done)
        drawn = [pairs.draw(done / steps) for _ in range(count * size)]
        drawn.sort(key=lambda pair: len(pair.first) + len(pair.second))
        for index in random.permutation(count):
            yield _batch(drawn[index * size : (index + 1) * size], special, random)


def _weights(pretraining: Pretraining, documents: Sequence[Document]) -> Mapping[str, float]:
    if isinstance(pretraining.sampling, Mapping):
        return pretraining.sampling
    told = by_language(documents)
    return probabilities(pretraining.sampling, list(told), lambda: characters(told))


def _encoded(tokenizer: BertTokenizer, documents: Sequence[Document], limit: int) -> list[dict[str, list[Ids]]]:
    sentences = sorted({sentence for document in documents for told in document.values() for sentence in told})
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
    ids = {sentence: np.array(encoding.ids[:limit]) for sentence, encoding in zip(sentences, encodings, strict=True)}
    return [{language: [ids[sentence] for sentence in told] for language, told in document.items()} for document in documents]


class _Pairs:
    """Draws two sentences of one document: neighbors, in either order, the second one corrupted or not."""

    def __init__(self, documents: list[dict[str, list[Ids]]], sampling: Mapping[str, float], random: np.random.Generator) -> None:
        self.documents, self.sampling, self.random = documents, sampling, random
        languages = sorted({language for document in documents for language in document})
        # What a token is replaced by: one of the same language, as frequent as it is there.
        self.tokens = {one: np.concatenate([ids for document in documents for ids in document.get(one, [])]) for one in languages}

    def draw(self, progress: float) -> _Pair:
        document = self.documents[self.random.integers(len(self.documents))]
        start, end = CROSS_LINGUAL
        crossing = self.random.random() < start + (end - start) * progress
        first = self._language(document)
        second = self._language(document) if crossing else first
        last = len(document[first]) - 1
        at = int(self.random.integers(max(1, last)))
        here, there = (at, min(at + 1, last)) if self.random.random() < 0.5 else (min(at + 1, last), at)
        return self._corrupted(document[first][here], document[second][there], second)

    def _language(self, document: Mapping[str, list[Ids]]) -> str:
        languages = list(document)
        weights = np.array([self.sampling.get(language, 1.0) for language in languages])
        return languages[self.random.choice(len(languages), p=weights / weights.sum())]

    def _corrupted(self, first: Ids, second: Ids, language: str) -> _Pair:
        if self.random.random() >= CORRUPTED:
            return _Pair(first, second, np.zeros(len(second), dtype=np.bool_))
        chosen = self.random.random(len(second)) < REPLACED
        chosen[self.random.integers(len(second))] = True  # at least one
        told = np.where(chosen, self.random.choice(self.tokens[language], len(second)), second)
        return _Pair(first, told, told != second)


def _batch(pairs: Sequence[_Pair], special: Mapping[str, int], random: np.random.Generator) -> Batch:
    shape = len(pairs), max(len(pair.first) + len(pair.second) for pair in pairs) + 3
    ids = np.full(shape, special["[PAD]"])
    attended, second, replaced, words = (np.zeros(shape, dtype=np.bool_) for _ in range(4))
    for row, pair in enumerate(pairs):
        middle, end = len(pair.first) + 2, len(pair.first) + len(pair.second) + 2
        ids[row, : end + 1] = [special["[CLS]"], *pair.first, special["[SEP]"], *pair.second, special["[SEP]"]]
        attended[row, : end + 1] = True
        second[row, middle : end + 1] = True
        words[row, 1 : middle - 1] = words[row, middle:end] = True
        replaced[row, middle:end] = pair.replaced
    masked = (random.random(shape) < MASKED) & words & ~replaced
    labels = ids[masked]
    ids[masked] = special["[MASK]"]
    judged = second & words & ~masked
    tensors = (torch.from_numpy(array) for array in (ids, attended, second.astype(np.int64), masked, labels, replaced, judged))
    return Batch(*tensors)
