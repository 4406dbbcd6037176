"""What the benchmarks read: pairs of XNLI, questions of SQuAD, from the hub or a mirror of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xfer_ray.core import Task
from xfer_ray.models import MBERT, checkpoints
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import XNLI, XNLI_PAIRS
from xfer_ray.tasks.xquad import SQUAD

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAIRS_SPLIT, ANSWERED_SPLIT = "test", "validation"  # parts of XNLI that people translated; the first has 5,010 pairs a language


@functools.cache
def by_language(each: int, split: str = ANSWERED_SPLIT) -> dict[Corpus, Examples]:
    """So many pairs of XNLI in each of its 15 languages, the same ones in all."""
    return {corpus: spread(XNLI_PAIRS(corpus, split), each) for corpus in XNLI_PAIRS.corpora(split)}


def spread(examples: Sequence[Example], count: int) -> Examples:
    """So many examples from everywhere in a corpus, whose parts are of different kinds of text."""
    return Examples(tuple(examples[:: len(examples) // count][:count]))


def pairs(count: int) -> Examples:
    """Pairs of XNLI in all 15 languages, one language after another, so that lengths are those of XNLI as a whole."""
    held = by_language(-(-count // len(XNLI_PAIRS.languages)), PAIRS_SPLIT)
    rows = zip(*([replace(one, id=f"{corpus} {one.id}") for one in items] for corpus, items in held.items()), strict=True)
    return Examples(tuple(one for row in rows for one in row)[:count])


def english(count: int) -> Examples:
    """Pairs of XNLI in English."""
    return spread(XNLI_PAIRS(Corpus("en"), PAIRS_SPLIT), count)


def questions(count: int) -> Examples:
    """Questions of SQuAD's dev set, from all of its articles."""
    return spread(SQUAD(Corpus("en"), "validation"), count)


def mbert() -> Path:
    """The folder with the configuration and the vocabulary of mBERT."""
    return checkpoints.fetched(str(MBERT.checkpoint))


def tokenizer() -> PreTrainedTokenizerFast:
    """The one of mBERT."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(mbert(), local_files_only=True)


@dataclass(frozen=True)
class Few:
    """The `load` of a small task: the first so many pairs of XNLI, those that people translated."""

    train: int
    test: int

    def __call__(self, corpus: Corpus, split: str) -> Sequence[Example]:
        """The examples of a corpus and split."""
        return XNLI_PAIRS(corpus, PAIRS_SPLIT)[: self.train] if split == "train" else XNLI_PAIRS(corpus, ANSWERED_SPLIT)[: self.test]


def few(languages: Sequence[str], train: int, test: int) -> Task:
    """XNLI in some languages, with so many examples of each."""
    corpora = tuple(corpus for corpus in XNLI_PAIRS.corpora(PAIRS_SPLIT) if corpus.language in languages)
    return replace(XNLI, name="few", sources=corpora, targets=corpora, load=Few(train, test), groups={})
