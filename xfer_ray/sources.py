"""What a model is fine-tuned on and scored on: corpora, mixtures of them, and their examples.

Every source and target has one spelling, and parsing is its inverse.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import overload

from xfer_ray.errors import DeclarationError, demand, is_count, one_each

_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z0-9]+)?")
_LABEL = re.compile(r"[a-z0-9_.]+")
_COUNT = re.compile(r"[1-9][0-9]{0,17}")


PROVENANCES = ("O", "HT", "MT")
LARGEST_SHARE = 1_000  # so that a round of turns is short


@dataclass(frozen=True)
class Corpus:
    """Labeled text in one language, with its translation provenance and origin.

    `en-O` is an original; `de-MT-en` was machine-translated from English; `en-MT-de-MT-en` went there
    and back; `de-MT-en~opus` carries a label that tells it from its equals. `parse` and `str` are inverse.
    """

    language: str
    provenance: str = "O"
    origin: Corpus | None = None
    label: str = ""

    def __post_init__(self) -> None:
        demand(
            bool(_LANGUAGE.fullmatch(self.language)),
            f"language {self.language!r} is not a code such as 'en', 'de', 'zh' or 'zh_Hant'",
        )
        demand(
            self.provenance in PROVENANCES,
            f"provenance {self.provenance!r} of {self.language!r} is none of O (original), HT, MT (human, machine translation)",
        )
        demand(
            (self.origin is None) == (self.provenance == "O"),
            f"a translation has an origin and an original has none: {self.language!r} is {self.provenance} with origin {self.origin}",
        )
        demand(not self.label or bool(_LABEL.fullmatch(self.label)), f"label {self.label!r} has characters other than a-z 0-9 _ .")
        demand(
            self.origin is None or not self.origin.label,
            f"the label of origin {self.origin} belongs at the end of the whole chain",
        )

    def __str__(self) -> str:
        label = f"~{self.label}" if self.label else ""
        return f"{self.language}-O{label}" if self.origin is None else self._chain() + label

    def _chain(self) -> str:
        return self.language if self.origin is None else f"{self.language}-{self.provenance}-{self.origin._chain()}"

    @property
    def root(self) -> Corpus:
        """The original at the end of the chain: `en-O` of `en-MT-de-MT-en`."""
        return self if self.origin is None else self.origin.root

    @property
    def length(self) -> int:
        """How many translations lie between this corpus and its original."""
        return 0 if self.origin is None else 1 + self.origin.length

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """What a source is made of: a corpus, of itself."""
        return (self,)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of a source."""
        return (self.language,)

    @property
    def total(self) -> None:
        """How many examples a source has at most; a corpus by itself is read whole."""

    @staticmethod
    def parse(text: str) -> Corpus:
        """Read `en-O`, `de-MT-en`, `en-MT-de-MT-en`, `de-MT-en~opus`; the inverse of `str`."""
        if _is_mixture(text):
            raise DeclarationError(f"corpus {text!r} is a mixture; only a source may be one, and here a single corpus is needed")
        chain, mark, label = text.partition("~")
        parts = chain.split("-")
        if (mark and not label) or not (parts[1:] == ["O"] or (len(parts) >= 3 and len(parts) % 2)):
            hint = f"; did you mean {text + '-O'!r}?" if _LANGUAGE.fullmatch(text) else ""
            raise DeclarationError(
                f"corpus {text!r} is not spelled like 'en-O', 'de-MT-en', 'sw-HT-en', 'en-MT-de-MT-en' or 'de-MT-en~opus'{hint}"
            )
        if parts[1:] == ["O"]:
            return Corpus(parts[0], label=label)
        corpus = Corpus(parts[-1])
        for language, provenance in zip(parts[-3::-2], parts[-2::-2], strict=True):
            corpus = Corpus(language, provenance, corpus)
        return dataclasses.replace(corpus, label=label)


@dataclass(frozen=True)
class Mixture:
    """Several corpora as one source, by shares, with a total number of examples; or one corpus with a total.

    `de-MT-en+ru-MT-en`, `de-MT-en=3+ru-MT-en=1@392702`, `en-O@5000`. Equal mixtures are equal and spelled alike, however they
    were written: corpora stand in the order of their spelling, and shares in lowest terms. `parse` and `str` are inverse.
    """

    shares: tuple[tuple[Corpus, int], ...]
    total: int | None = None

    def __post_init__(self) -> None:
        demand(len(self.shares) + (self.total is not None) > 1, "a mixture has at least two corpora, or one and a total")
        one_each("corpora of a mixture", self.corpora)
        for corpus, share in self.shares:
            demand(
                is_count(share) and share <= LARGEST_SHARE,
                f"the share of {corpus} in a mixture is {share!r}; give an integer from 1 to {LARGEST_SHARE}",
            )
        common = math.gcd(*(share for _, share in self.shares))
        ordered = sorted(((corpus, share // common) for corpus, share in self.shares), key=lambda pair: str(pair[0]))
        object.__setattr__(self, "shares", tuple(ordered))
        demand(self.total is None or is_count(self.total), f"the total of mixture {self} is {self.total!r}; give a positive integer")
        given = set(self.turns[: self.total])
        idle = ", ".join(str(corpus) for i, corpus in enumerate(self.corpora) if i not in given)
        demand(not idle, f"the total of mixture {self} leaves no example for {idle}; give more")

    def __str__(self) -> str:
        equal = all(share == 1 for _, share in self.shares)
        joined = "+".join(str(corpus) if equal else f"{corpus}={share}" for corpus, share in self.shares)
        return joined if self.total is None else f"{joined}@{self.total}"

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """What it is made of."""
        return tuple(corpus for corpus, _ in self.shares)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of its corpora, each once."""
        return tuple(dict.fromkeys(corpus.language for corpus in self.corpora))

    @functools.cached_property
    def turns(self) -> tuple[int, ...]:
        """Which corpus, by index, gives each example of a round; the next round is the same.

        The k-th turn of a corpus with share w comes when (k - 1/2) / w of the round is over. So the first N turns are shared out
        by the method of Webster and Sainte-Laguë, and they are the beginning of any more: by largest remainders, a corpus could
        lose an example where N grows.
        """
        turns = ((Fraction(2 * k + 1, 2 * share), i) for i, (_, share) in enumerate(self.shares) for k in range(share))
        return tuple(i for _, i in sorted(turns))

    @staticmethod
    def parse(text: str) -> Mixture:
        """Read `de-MT-en+ru-MT-en`, `de-MT-en=3+ru-MT-en=1@392702`, `en-O@5000`; the inverse of `str`."""
        joined, budgeted, total = text.partition("@")
        parts = [part.partition("=") for part in joined.split("+")]
        numbers = [share for _, shared, share in parts if shared] + [total] * bool(budgeted)
        odd = [number for number in numbers if not _COUNT.fullmatch(number)]
        demand(
            not odd,
            f"mixture {text!r} has {odd and odd[0]!r} for a number; it is spelled like 'de-MT-en+ru-MT-en', 'en-O@5000' or "
            "'de-MT-en=3+ru-MT-en=1@392702'",
        )
        return Mixture(tuple((Corpus.parse(corpus), int(share or 1)) for corpus, _, share in parts), int(total) if budgeted else None)


Source = Corpus | Mixture
"""What a model is fine-tuned on; either says its `corpora`, its `languages` and its `total`."""


def _is_mixture(text: str) -> bool:
    return not {"+", "=", "@"}.isdisjoint(text)


def parse_source(text: str) -> Source:
    """The corpus or mixture of a spelling; the inverse of `str`."""
    return Mixture.parse(text) if _is_mixture(text) else Corpus.parse(text)


@dataclass(frozen=True)
class Example:
    """One item: an id, a pair of texts, and the answers that count as right.

    In question answering `first` is the question, `second` the context, and `starts` says at which character of the
    context each answer begins.
    """

    id: str
    first: str
    second: str
    answers: tuple[str, ...]
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """The examples of one source and split, in order, with the fingerprint of what was read; of a mixture, the language of each."""

    items: tuple[Example, ...]
    languages: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...
    def __getitem__(self, index: int | slice) -> Example | tuple[Example, ...]:
        return self.items[index]

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, texts, answers and where they begin, in order; 64 hex digits."""
        digest = hashlib.sha256()
        for item in self.items:
            starts = [item.starts] if item.starts else []
            line = json.dumps([item.id, item.first, item.second, item.answers, *starts], ensure_ascii=True)
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()


Load = Callable[[Corpus, str], Iterable[Example]]
