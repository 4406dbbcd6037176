"""Pairs of sentences from a Parquet repository of the hub, or from a mirror of it, checked as they are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from xfer_ray.core import Policy
from xfer_ray.errors import DataError, unknown
from xfer_ray.sources import Corpus, Example
from xfer_ray.tasks import folder, reading
from xfer_ray.tasks.reading import Place
from xfer_ray.tasks.sharing import Sharing

log = logging.getLogger(__name__)


class _Pair(NamedTuple):
    first: str
    second: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class HubPairs(Sharing):
    """The `load` of a task: one repository with one configuration per language, its rows parallel across languages.

    An example's id is its row number: PAWS-X numbers the same pair 1 in English and 4 in German, so the id columns of
    the hub do not align languages. `labels` are in the order of the class index, `rows` is the number declared for each
    split, `provenance` how languages other than English came about in it. Text that is blank or one of `placeholders`
    is refused without a `policy`; "keep" keeps it; "drop-aligned" drops the row in all `languages`, so that every
    language keeps the same pairs, and therefore needs the split in all of them. Machine translations that the repository
    does not hold are read from corpus folders: `name` is what the benchmark is called there, in the folder `translated`.
    `variants` names by label what else is made of a corpus: `zh-MT-en~desegmented` is what that function makes of the texts
    of `zh-MT-en`.
    """

    repository: str
    languages: tuple[str, ...]
    first: str
    second: str
    labels: tuple[str, ...]
    rows: Mapping[str, int] = field(metadata={"identity": False})
    provenance: Mapping[str, str] = field(metadata={"identity": False})
    revision: str | None = None
    placeholders: tuple[str, ...] = ()
    policy: Policy | None = None
    variants: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    name: str = field(default="", metadata={"identity": False})
    translated: str = field(default="translated", metadata={"identity": False})

    def __post_init__(self) -> None:
        policies = ("keep", "drop-aligned")
        if self.policy is not None and self.policy not in policies:
            raise unknown("policy", str(self.policy), policies)
        reading.demand_revision(self.repository, self.revision)

    def __call__(self, corpus: Corpus, split: str) -> list[Example]:
        """The examples of one corpus and split, in the order of the repository."""
        return self.shared(self.name or self.repository, corpus, split, self._examples)

    def _examples(self, corpus: Corpus, split: str) -> list[Example]:
        plain = self._plain(corpus)
        if self._translated(plain, split):
            where, pairs = self._from_folder(plain, split)
        else:
            self._check(plain, split)
            where, pairs = str(_place(self, plain.language, split)), _read(self, plain.language, split)
        dropped = self._dropped(where, split, pairs)
        examples = [Example(row, pair.first, pair.second, (pair.answer,)) for row, pair in pairs.items() if row not in dropped]
        change = self.variants.get(corpus.label)
        return [replace(one, first=change(one.first), second=change(one.second)) for one in examples] if change else examples

    def corpora(self, split: str) -> tuple[Corpus, ...]:
        """What a split holds, one corpus per language: en-O, de-MT-en, ..."""
        if split not in self.rows:
            raise unknown(f"split of {self.repository}", split, self.rows)
        english = Corpus("en")
        return tuple(english if code == "en" else Corpus(code, self.provenance[split], english) for code in self.languages)

    def missing(self, corpus: Corpus, split: str) -> str:
        """Why a corpus and split cannot be read, or "": a folder that nobody has made yet, with the command that makes it."""
        needed = dict.fromkeys(map(self._plain, self.together(corpus, split)))
        made = [one for one in needed if self._translated(one, split)]
        return next(filter(None, (folder.missing(self.translated, self.name or self.repository, one, split) for one in made)), "")

    def reads_folder(self, corpus: Corpus, split: str) -> bool:
        """Whether a corpus is read from a translated folder, and not from the repository."""
        return self._translated(self._plain(corpus), split)

    def _plain(self, corpus: Corpus) -> Corpus:
        """The corpus of which this one is a variant, or the corpus itself."""
        return replace(corpus, label="") if corpus.label in self.variants else corpus

    def _translated(self, corpus: Corpus, split: str) -> bool:
        """Whether a corpus is a machine translation that the repository does not hold."""
        return corpus.provenance == "MT" and split in self.rows and corpus not in self.corpora(split)

    def _from_folder(self, corpus: Corpus, split: str) -> tuple[str, dict[str, _Pair]]:
        """The pairs of a corpus folder; their ids are the row numbers of their origin."""
        name = self.name or self.repository
        examples = folder.pairs(self.translated, name, corpus, split, self.labels)
        where = f"{folder.folder_of(self.translated, name, corpus)}, split {split!r}"
        return where, {example.id: _Pair(example.first, example.second, example.answers[0]) for example in examples}

    def _check(self, corpus: Corpus, split: str) -> None:
        held = {one.language: one for one in self.corpora(split)}
        if corpus.language not in held:
            raise unknown(f"language of {self.repository}", corpus.language, held)
        if corpus != held[corpus.language]:
            raise DataError(f"split {split!r} of {self.repository} holds {held[corpus.language]}, not {corpus}")

    def _dropped(self, where: str, split: str, pairs: Mapping[str, _Pair]) -> set[str]:
        """The rows that the policy leaves out; what it found is refused or reported in one sentence."""
        unfit = _unfit(self, pairs)
        text = "blank or placeholder text" if self.placeholders else "blank text"
        found = f"{where}: {len(unfit)} of {len(pairs)} pairs hold {text}"
        if self.policy == "drop-aligned":
            dropped = unfit.union(*self._unfit_anywhere(split))
            log.warning("%s; with the same rows of the other languages, %d pairs are dropped", found, len(dropped))
            return dropped
        if unfit and self.policy is None:
            first = next(row for row in pairs if row in unfit)
            raise DataError(f"{found}, the first in row {first}; repair them, or declare the policy 'keep' or 'drop-aligned'")
        if unfit:
            log.warning("%s; they are kept, as the policy 'keep' says", found)
        return set()

    def _unfit_anywhere(self, split: str) -> list[set[str]]:
        try:
            return [_unfit(self, _read(self, language, split)) for language in self.languages]
        except DataError as error:
            raise DataError(f"the policy 'drop-aligned' needs the split in all of {', '.join(self.languages)}: {error}") from error


def _place(load: HubPairs, language: str, split: str) -> Place:
    return Place(repository=load.repository, configuration=language, split=split, revision=load.revision)


def _unfit(load: HubPairs, pairs: Mapping[str, _Pair]) -> set[str]:
    """Rows with a text that is blank or a placeholder, in whatever case: one "ns" stands among the Korean "NS"."""
    nothing = {"", *(placeholder.casefold() for placeholder in load.placeholders)}
    return {row for row, pair in pairs.items() if not nothing.isdisjoint(text.strip().casefold() for text in (pair.first, pair.second))}


def _read(load: HubPairs, language: str, split: str) -> dict[str, _Pair]:
    """By its number, every row of one configuration and split, or a refusal; a missing text reads as blank."""
    where = _place(load, language, split)
    columns = reading.columns(where, (load.first, load.second, "label"))
    labels = columns["label"]
    if len(labels) != load.rows[split]:
        raise DataError(f"{where}: found {len(labels)} rows, and {load.rows[split]} are declared; this is another edition, or a part of it")
    answers: dict[object, str] = dict(enumerate(load.labels))
    legal = ", ".join(f"{index} ({label})" for index, label in answers.items())
    for row, label in enumerate(labels):
        if not isinstance(label, int | float) or label not in answers:
            raise DataError(f"{where}: label {label!r} in row {row} is none of {legal}")
    for name in (load.first, load.second):
        for row, text in enumerate(columns[name]):
            if text is not None and not isinstance(text, str):
                raise DataError(f"{where}: {name} {text!r} in row {row} is not text")
    rows = zip(columns[load.first], columns[load.second], labels, strict=True)
    return {str(row): _Pair(str(first or ""), str(second or ""), answers[label]) for row, (first, second, label) in enumerate(rows)}
