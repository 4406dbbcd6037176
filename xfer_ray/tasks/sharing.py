"""Equal information: corpora that are compared with each other keep only the examples that all of them have."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from xfer_ray.errors import DataError
from xfer_ray.sources import Corpus, Example

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What the `load` of a benchmark is that can make sources equal.

    `shared_by` names sources that are compared with each other: of the split `shared_split`, each of them keeps only the
    examples whose ids all of them have (§3 of Turc et al. 2021: 80,000 of SQuAD's 87,599).
    """

    shared_by: tuple[Corpus, ...] = ()
    shared_split: str = "train"

    def together(self, corpus: Corpus, split: str) -> tuple[Corpus, ...]:
        """What has to be read for a corpus and split: itself, and what it shares its examples with."""
        shares = split == self.shared_split and corpus in self.shared_by
        return (corpus, *(other for other in self.shared_by if shares and other != corpus))

    def shared(self, name: str, corpus: Corpus, split: str, read: Callable[[Corpus, str], list[Example]]) -> list[Example]:
        """What `read` gives for a corpus and split, less what another source lacks; `name` is the benchmark's."""
        examples = read(corpus, split)
        others = self.together(corpus, split)[1:]
        if not others:
            return examples
        kept = {example.id for example in examples}.intersection(*({example.id for example in read(other, split)} for other in others))
        sources = ", ".join(map(str, self.shared_by))
        if not kept:
            raise DataError(f"{name}, split {split!r}: {sources} have no example in common; their ids must be those of their origin")
        count = f"{len(kept)} of {len(examples)}"
        log.info("%s, split %r: %s keeps %s examples, those that %s share", name, split, corpus, count, sources)
        return [example for example in examples if example.id in kept]
