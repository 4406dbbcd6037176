"""Text as rows of tokens: for each language a stream that never ends, is shuffled as it is read, and goes on where it stopped.

A stream reads its language's documents lazily and from the start again when they end, so that its memory is bounded: a buffer
of blocks, from which rows are drawn at random. One document in `HELD_OUT` is never trained on.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xfer_ray.errors import DataError, unknown
from xfer_ray.recipe import Document, Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BUFFER = 2**17  # tokens of a language to draw from
CHUNK = 64  # documents encoded at a time
HELD_OUT = 100  # every hundredth document, the last of its hundred

Ids = npt.NDArray[np.int64]
Encode = Callable[[Sequence[str]], list[list[int]]]
Sampling = Mapping[str, float] | str | float


@dataclass(frozen=True)
class _Told:
    """The documents of one language of a parallel text, the sentences of each in a line."""

    documents: Sequence[Document]
    language: str

    def __iter__(self) -> Iterator[str]:
        return (" ".join(document[self.language]) for document in self.documents if self.language in document)


def by_language(text: Texts) -> dict[str, Iterable[str]]:
    """The documents of each language, in the order of the language codes; each can be read again from the start."""
    if isinstance(text, Mapping):
        return {language: text[language] for language in sorted(text)}
    return {language: _Told(text, language) for language in sorted({one for document in text for one in document})}


def characters(text: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How many Unicode characters of text each language has: reads all of it."""
    return {language: sum(map(len, documents)) for language, documents in text.items()}


def probabilities(sampling: Sampling, languages: Sequence[str], count: Callable[[], Mapping[str, int]]) -> dict[str, float]:
    """How often each language is drawn; the probabilities sum to 1.

    `count` gives n, the characters of each language, and is asked only where it matters: p ~ n^alpha, as Xue et al. (2021),
    section 3.1, have it for documents, with alpha = 1 for "proportional" and 0 for "uniform".
    """
    alpha = {"uniform": 0.0, "proportional": 1.0}.get(sampling, 0.0) if isinstance(sampling, str) else sampling
    if isinstance(alpha, Mapping):
        for language in alpha:
            if language not in languages:
                raise unknown("language of the text for the sampling", language, languages)
        weights = {language: float(alpha.get(language, 1.0)) for language in languages}
    else:
        counts = count() if alpha else dict.fromkeys(languages, 1)
        weights = {language: float(counts[language]) ** alpha for language in languages}
    total = math.fsum(weights.values())
    if not total > 0:
        raise DataError(f"the sampling leaves nothing to read: the weights of {', '.join(languages) or 'no language'} are all 0")
    return {language: weight / total for language, weight in weights.items()}


def sample(text: Mapping[str, Iterable[str]], shares: Mapping[str, float], total: int) -> Iterator[str]:
    """About `total` characters of text in the given shares, each language from its start, and again where it is too short."""
    for language, share in shares.items():
        wanted = share * total
        while wanted > 0:
            before = wanted
            for document in text[language]:
                yield document
                wanted -= len(document)
                if wanted <= 0:
                    break
            if wanted == before:
                raise DataError(f"language {language!r} has no text; leave it out of the languages, or give it a weight of 0")


def encoder(tokenizer: PreTrainedTokenizerFast) -> Encode:
    """Texts to ids without special tokens; what looks like a special token in the text is text."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = True
    return lambda texts: [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def blocks(documents: Iterable[str], encode: Encode, length: int, between: Sequence[int]) -> Iterator[Ids]:
    """Documents one after another, `between` after each, cut into blocks of `length` tokens; the rest is left out."""
    rest: list[int] = []
    reading = iter(documents)
    while chunk := list(itertools.islice(reading, CHUNK)):
        for ids in encode(chunk):
            rest += [*ids, *between]
        whole = len(rest) - len(rest) % length
        yield from np.array(rest[:whole], dtype=np.int64).reshape(-1, length)
        del rest[:whole]


def held_out(documents: Iterable[str]) -> Iterator[str]:
    """The documents that are never trained on."""
    return itertools.islice(documents, HELD_OUT - 1, None, HELD_OUT)


class Stream:
    """Rows of one language without end."""

    def __init__(self, language: str, documents: Iterable[str], encode: Encode, length: int, between: Sequence[int]) -> None:
        """Blocks have `length` tokens; `between` follows each document."""
        self._language, self._documents, self._encode = language, documents, encode
        self._length, self._between = length, tuple(between)
        self._random = np.random.default_rng(0)
        self._read, self._rest, self._buffer = 0, [0] * 0, np.empty((0, length), dtype=np.int64)
        self._reading: Iterator[str] | None = None
        self._told = False  # whether this language has given a token at all
        self._ready: list[Ids] = []

    def start(self, seed: Sequence[int]) -> None:
        """Begin at the first document."""
        self._random = np.random.default_rng(list(seed))
        first: list[Ids] = []
        most = max(1, BUFFER // self._length)
        while len(first) < most and not (first and self._reading is None):  # at most once through a short text
            first += self._more()
        self._buffer, self._ready = np.stack(first[:most]), first[most:]

    def draw(self) -> Ids:
        """One block at random; the next one that is read takes its place."""
        while not self._ready:
            self._ready = self._more()
        at = int(self._random.integers(len(self._buffer)))
        drawn: Ids = self._buffer[at].copy()
        self._buffer[at] = self._ready.pop(0)
        return drawn

    def _more(self) -> list[Ids]:
        """The blocks of the next chunk of documents; after the last document, the first comes again."""
        if self._reading is None:
            self._reading, self._read = self._trained(), 0
        chunk = list(itertools.islice(self._reading, CHUNK))
        if not chunk:
            self._reading = None
            if not self._told:
                raise DataError(f"language {self._language!r} has no text to train on; leave it out, or give it a weight of 0")
            return []
        self._read += len(chunk)
        for ids in self._encode(chunk):
            self._told |= len(ids) > 0
            self._rest += [*ids, *self._between]
        whole = len(self._rest) - len(self._rest) % self._length
        made = np.array(self._rest[:whole], dtype=np.int64).reshape(-1, self._length)
        del self._rest[:whole]
        return list(made)

    def _trained(self) -> Iterator[str]:
        return (document for at, document in enumerate(self._documents) if at % HELD_OUT != HELD_OUT - 1)

    def state(self) -> dict[str, Any]:
        """All that it takes to go on from here."""
        ready = np.stack(self._ready) if self._ready else np.empty((0, self._length), dtype=np.int64)
        reading, random = self._reading is not None, json.dumps(self._random.bit_generator.state)
        return {
            "read": self._read,
            "reading": reading,
            "rest": self._rest[:],
            "buffer": self._buffer.copy(),
            "ready": ready,
            "random": random,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; what has been read is passed over, not encoded again."""
        self._random.bit_generator.state = json.loads(state["random"])
        self._told, self._read, self._rest = True, state["read"], list(state["rest"])
        self._buffer, self._ready = np.array(state["buffer"]), list(np.array(state["ready"]))
        self._reading = itertools.islice(self._trained(), self._read, None) if state["reading"] else None
