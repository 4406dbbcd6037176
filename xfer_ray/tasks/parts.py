"""Question answering on what can be had without a training set: parts of XQuAD, of SQuAD's dev set, and of TyDi QA."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from xfer_ray.errors import demand, unknown
from xfer_ray.sources import Corpus, Example
from xfer_ray.tasks.qa import Parts
from xfer_ray.tasks.tydiqa import TYDIQA
from xfer_ray.tasks.xquad import SQUAD, XQUAD, XQUAD_QUESTIONS

_ENGLISH = Corpus("en")


@dataclass(frozen=True, kw_only=True)
class ByArticle(Parts):
    """XQuAD cut into train, validation and test by article, the same articles in every language.

    XQuAD names no articles. Its questions are a part of SQuAD's dev set and have kept their ids, so the titles are
    read there. `train` and `validation` are numbers of articles, in the order of the sha256 of their titles; the rest
    of the 48 is the test set.
    """

    train: int = 32
    validation: int = 4

    def __post_init__(self) -> None:
        demand(
            self.train > 0 and self.validation > 0 and self.train + self.validation < 48,
            f"{self.train} articles for training and {self.validation} for validation leave none of XQuAD's 48 for the test",
        )

    def __call__(self, corpus: Corpus, split: str) -> list[Example]:
        """The questions of a corpus about the articles of a split."""
        bounds = {"train": (0, self.train), "validation": (self.train, self.train + self.validation), "test": (-self._rest, None)}
        if split not in bounds:
            raise unknown("split of the articles of XQuAD", split, bounds)
        examples = self.part(corpus, "test")(corpus, "test")
        titles = self.part(_ENGLISH, "validation").titles("validation")
        articles = sorted({titles[example.id] for example in examples}, key=_scattered)
        mine = set(articles[slice(*bounds[split])])
        return [example for example in examples if titles[example.id] in mine]

    @property
    def _rest(self) -> int:
        return 48 - self.train - self.validation


def _scattered(title: str) -> str:
    return hashlib.sha256(title.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Unshared(Parts):
    """Training on SQuAD's dev set without the paragraphs that XQuAD took from it, so that XQuAD can be the test."""

    def __call__(self, corpus: Corpus, split: str) -> list[Example]:
        """`train`: the questions of the 1,827 paragraphs that XQuAD does not hold; `test`: XQuAD."""
        if split not in ("train", "test"):
            raise unknown("split of SQuAD's dev set without XQuAD", split, ("train", "test"))
        if split == "test":
            return self.part(corpus, "test")(corpus, "test")
        shared = {example.second for example in self.part(_ENGLISH, "test")(_ENGLISH, "test")}
        examples = self.part(corpus, "validation")(corpus, "validation")
        return [example for example in examples if example.second not in shared]


XQUAD_ARTICLES = replace(
    XQUAD,
    name="xquad-articles",
    sources=XQUAD.targets,
    load=ByArticle(parts=(XQUAD_QUESTIONS, SQUAD)),
)
"""11 human-translated sources of 32 articles, 11 targets of 12 others, 4 more to choose a checkpoint on."""

SQUAD_DEV = replace(XQUAD, name="squad-dev", sources=(_ENGLISH,), load=Unshared(parts=(XQUAD_QUESTIONS, SQUAD)))
"""English alone, 9,380 questions. It has no validation split: a recipe for it keeps its last step."""

TYDIQA_THREE = replace(TYDIQA, name="tydiqa-three", sources=tuple(Corpus(language) for language in ("en", "ko", "sw")))
"""Three originals as sources, for a mirror that holds no others."""
