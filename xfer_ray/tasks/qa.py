"""Extractive question answering: questions from Parquet repositories in the columns of SQuAD, every one checked as it is read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from xfer_ray.core import is_commit
from xfer_ray.errors import DataError, demand, unknown
from xfer_ray.sources import Corpus, Example
from xfer_ray.tasks import folder, reading, spans
from xfer_ray.tasks.reading import Place
from xfer_ray.tasks.sharing import Sharing

log = logging.getLogger(__name__)
_COLUMNS = ("id", "question", "context", "answers")
PROMPT = "question: {first} context: {second}"  # google-research/multilingual-t5, as T5 puts SQuAD


@dataclass(frozen=True, kw_only=True)
class HubQa:
    """Questions of one repository: which corpora it holds, and under which names.

    `splits` says what the repository calls a split of the task. `rows` is the number declared for each split of the task,
    one for all languages or one by language. `configuration` and `files` may hold `{language}`, and `files` also
    `{split}`. Where one configuration holds all languages, `prefixes` tells them apart: the part of an id before its
    first hyphen, by language. A question whose answer does not stand where it should is refused, or dropped and counted
    with `misaligned="drop"`; it is never repaired.
    """

    repository: str
    configuration: str
    corpora: tuple[Corpus, ...]
    splits: Mapping[str, str]
    rows: Mapping[str, int | Mapping[str, int]] = field(metadata={"identity": False})
    prefixes: Mapping[str, str] = field(default_factory=dict)
    files: str = ""
    branch: str = ""
    revision: str | None = None
    misaligned: Literal["drop"] | None = None

    def __post_init__(self) -> None:
        reading.demand_revision(self.repository, self.revision)
        if self.misaligned not in (None, "drop"):
            raise unknown("policy for misaligned answers", str(self.misaligned), ["drop"])
        demand(set(self.splits) == set(self.rows), f"{self.repository} declares rows for {list(self.rows)}, and splits {list(self.splits)}")

    def holds(self, corpus: Corpus, split: str) -> bool:
        """Whether this repository is where a corpus and split of the task are read."""
        return corpus in self.corpora and split in self.splits

    def __call__(self, corpus: Corpus, split: str) -> list[Example]:
        """The questions of a corpus and split of the task, in the order of the repository, all gold answers kept."""
        if not self.holds(corpus, split):
            held = ", ".join(f"{one} in {name}" for name in self.splits for one in self.corpora)
            raise DataError(f"{self.repository} does not hold {corpus} in split {split!r}; it holds {held}")
        place = self.place(corpus.language, split)
        columns = reading.columns(place, _COLUMNS)
        rows = list(zip(*(columns[name] for name in _COLUMNS), strict=True))
        examples = [_example(place, *row) for row in self._of_language(rows, corpus.language, split)]
        return self._aligned(place, examples)

    def place(self, language: str, split: str) -> Place:
        """Where the questions of a language and split of the task lie."""
        named = self.splits[split]
        return Place(
            repository=self.repository,
            configuration=self.configuration.format(language=language),
            split=named,
            files=self.files.format(language=language, split=named),
            branch=self.branch,
            revision=self.revision,
        )

    def titles(self, split: str) -> dict[str, str]:
        """The title of the article that each question is about, by id."""
        columns = reading.columns(self.place(self.corpora[0].language, split), ("id", "title"))
        return {str(id_): str(title) for id_, title in zip(columns["id"], columns["title"], strict=True)}

    def _of_language(self, rows: Sequence[tuple[object, ...]], language: str, split: str) -> list[tuple[object, ...]]:
        """The rows of one language, as many as are declared."""
        place, declared = self.place(language, split), self.rows[split]
        number = declared if isinstance(declared, int) else declared[language]
        mine, found = list(rows), f"{len(rows)} questions"
        if self.prefixes:
            prefix = self.prefixes[language]
            mine = [row for row in rows if _prefix(row[0]) == prefix]
            held = Counter(_prefix(row[0]) for row in rows)
            found = f"{len(mine)} questions of {prefix!r} among {', '.join(f'{n} {name}' for name, n in sorted(held.items())) or 'none'}"
        if len(mine) != number:
            raise DataError(f"{place}: found {found}, and {number} are declared; this is another edition, or a part of it")
        return mine

    def _aligned(self, place: Place, examples: Sequence[Example]) -> list[Example]:
        """The questions that are fit to train on or to score; what is not is refused, or dropped where that is declared."""
        kept: list[Example] = []
        dropped: list[Example] = []
        for example in examples:
            useless = spans.unfit(example)
            if useless:
                raise DataError(f"{place}: question {example.id!r} cannot be used: {useless}")
            moved = spans.misaligned(example)
            if moved and self.misaligned is None:
                raise DataError(f"{place}: question {example.id!r}: {moved}; repair it, or declare misaligned='drop'")
            (dropped if moved else kept).append(example)
        if dropped:
            log.warning(
                "%s: %d of %d questions are dropped, whose answers do not stand where they should; the first is %r",
                place,
                len(dropped),
                len(examples),
                dropped[0].id,
            )
        return kept


def _prefix(id_: object) -> str:
    return str(id_).partition("-")[0]


def _example(place: Place, id_: object, question: object, context: object, answers: object) -> Example:
    """A row as an example; a missing text reads as blank."""
    for name, text in (("id", id_), ("question", question), ("context", context)):
        if text is not None and not isinstance(text, str):
            raise DataError(f"{place}: {name} {text!r} of question {id_!r} is not text")
    golds = answers.get("text") if isinstance(answers, Mapping) else None
    starts = answers.get("answer_start") if isinstance(answers, Mapping) else None
    sound = isinstance(golds, list) and isinstance(starts, list)
    if not sound or not all(isinstance(text, str) for text in golds or ()) or not all(isinstance(start, int) for start in starts or ()):
        raise DataError(f"{place}: the answers of question {id_!r} are not a list of text and a list of answer_start: {answers!r}")
    return Example(str(id_), str(question or ""), str(context or ""), tuple(golds or ()), tuple(starts or ()))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The `load` of a task that is read from several repositories."""

    parts: tuple[HubQa, ...]

    @property
    def revisions(self) -> dict[str, str | None]:
        """Declared revision by repository."""
        return {part.repository: part.revision for part in self.parts}

    def at(self, revisions: Mapping[str, str]) -> Self:
        """The same with the repositories pinned to the commits that `run` resolved; other words, such as `mirror`, pin nothing."""
        pinned = {name: commit for name, commit in revisions.items() if is_commit(commit)}
        return replace(self, parts=tuple(replace(part, revision=pinned.get(part.repository, part.revision)) for part in self.parts))

    def resolve(self, repository: str, revision: str | None) -> str:
        """The commit of one of the repositories to read, as `reading.resolve` says it."""
        branches = {part.repository: part.branch for part in self.parts}
        return reading.resolve(repository, revision, branches[repository])

    def repositories(self, corpus: Corpus, split: str) -> set[str]:
        """The repositories that are read for a corpus and split."""
        return {part.repository for part in self.parts}

    def missing(self, corpus: Corpus, split: str) -> str:
        """Why a corpus and split cannot be read, or ""; looks at the names of folders only."""
        return next(filter(None, (reading.in_mirror(name) for name in sorted(self.repositories(corpus, split)))), "")

    def part(self, corpus: Corpus, split: str) -> HubQa:
        """The repository that holds a corpus and split; DataError says which corpora the split has."""
        for part in self.parts:
            if part.holds(corpus, split):
                return part
        raise _not_held(self.parts, corpus, split)


@dataclass(frozen=True, kw_only=True)
class QaSets(Parts, Sharing):
    """The `load` of a QA benchmark: its repositories, and corpus folders for machine translations that they do not hold.

    `name` is what the benchmark is called in the folders of `translated` and in the command that makes them.
    """

    name: str
    translated: str = field(default="translated", metadata={"identity": False})

    def __call__(self, corpus: Corpus, split: str) -> list[Example]:
        """The questions of a corpus and split."""
        return self.shared(self.name, corpus, split, self._read)

    def missing(self, corpus: Corpus, split: str) -> str:
        """Why a corpus and split cannot be read, or "": a folder that nobody has made yet, with the command that makes it."""
        return next(filter(None, (self._missing(one, split) for one in self.together(corpus, split))), "")

    def repositories(self, corpus: Corpus, split: str) -> set[str]:
        """The repositories that are read for a corpus and split."""
        return {part.repository for one in self.together(corpus, split) for part in self.parts if part.holds(one, split)}

    def _missing(self, corpus: Corpus, split: str) -> str:
        held = [part.repository for part in self.parts if part.holds(corpus, split)]
        if held:
            return reading.in_mirror(held[0])
        return folder.missing(self.translated, self.name, corpus, split) if corpus.provenance == "MT" else ""

    def reads_folder(self, corpus: Corpus, split: str) -> bool:
        """Whether a corpus is read from a translated folder, and not from a repository."""
        return corpus.provenance == "MT" and not any(part.holds(corpus, split) for part in self.parts)

    def _read(self, corpus: Corpus, split: str) -> list[Example]:
        if self.reads_folder(corpus, split):
            return folder.questions(self.translated, self.name, corpus, split)
        return self.part(corpus, split)(corpus, split)


def _not_held(parts: Iterable[HubQa], corpus: Corpus, split: str) -> DataError:
    held = {name: [str(one) for part in parts if name in part.splits for one in part.corpora] for part in parts for name in part.splits}
    if split not in held:
        return DataError(f"no split {split!r} of {corpus}; possible: {', '.join(held)}")
    return DataError(f"split {split!r} holds no {corpus}; it holds {', '.join(held[split])}")
