"""Unlabeled text by language for pre-training: a folder of one's own, or a data set of the hub or of a mirror.

Each is the `text` of a Pretraining. It reads lazily: only what a shuffle buffer holds is in memory.
"""

from __future__ import annotations

import gzip
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xfer_ray.errors import DataError, SetupError, XferRayError, demand, unknown
from xfer_ray.tasks.reading import demand_revision

log = logging.getLogger(__name__)
_ENDINGS = (".txt", ".txt.gz", ".parquet")
_ROWS = 1_000  # at a time


@dataclass(frozen=True)
class TextFolder:
    """Files `<language>.txt` or `<language>.txt.gz`, one document a line, or `<language>.parquet` with a column `text`.

    Blank lines are left out, and how many is said in the log. Without `languages` all files of the folder are read. A Pretraining
    is named by the folder and the languages: text that has changed takes another folder, or `edition`.
    """

    folder: str
    languages: tuple[str, ...] = ()
    edition: str = ""

    def __call__(self, seed: int) -> Mapping[str, Iterable[str]]:
        """The documents of each language; the seed changes nothing."""
        return {language: _Documents(file) for language, file in self._files().items()}

    def _files(self) -> dict[str, Path]:
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"text folder {self.folder} does not exist; it holds a file for each language, such as en.txt, de.txt.gz or sw.parquet"
            )
        held: dict[str, Path] = {}
        for file in sorted(folder.iterdir()):
            ending = next((one for one in _ENDINGS if file.name.endswith(one)), None)
            if ending is None:
                continue
            language = file.name.removesuffix(ending)
            if language in held:
                raise DataError(
                    f"text folder {self.folder} has two files for {language!r}: {held[language].name} and {file.name}; keep one"
                )
            held[language] = file
        if not held:
            raise DataError(f"text folder {self.folder} has no text: no file ends with {', '.join(_ENDINGS)}")
        for language in self.languages:
            if language not in held:
                raise unknown(f"language in text folder {self.folder}", language, held)
        return {language: held[language] for language in self.languages or held}


@dataclass(frozen=True)
class _Documents:
    """The lines of one file, from the start each time."""

    file: Path

    def __iter__(self) -> Iterator[str]:
        blank, number = 0, 0
        for document in _lines(self.file):
            number += 1
            if document.strip():
                yield document.strip()
            else:
                blank += 1
        if blank == number:
            raise DataError(f"{self.file} holds no text: {number} lines, all of them blank")
        if blank:
            log.info("%s: %d of %d lines are blank and left out", self.file, blank, number)


def _lines(file: Path) -> Iterator[str]:
    if file.suffix == ".parquet":
        yield from _cells(("text",), str(file), "parquet", data_files={"train": str(file)}, split="train")
        return
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            yield from lines
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text: {error}") from error


@dataclass(frozen=True, kw_only=True)
class HubText:
    """Columns of a data set, each cell a document; a cell that repeats the one before it is read once.

    `configuration` is the name of a configuration with `{language}` in it, or without where one holds all languages: then
    `prefixes` says how the column `id` of each language's rows begins.
    """

    repository: str
    languages: tuple[str, ...]
    columns: tuple[str, ...]
    configuration: str = "{language}"
    split: str = "train"
    revision: str | None = None
    prefixes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        demand(len(self.languages) > 0, f"languages of the text of {self.repository} are empty; give at least one")
        demand(
            len(self.columns) > 0 and not isinstance(self.columns, str),
            f"columns of {self.repository} are {self.columns!r}; give a tuple of names",
        )
        demand_revision(self.repository, self.revision)
        absent = [language for language in self.languages if self.prefixes and language not in self.prefixes]
        demand(not absent, f"prefixes of the text of {self.repository} lack {', '.join(absent)}; give one for each language")
        demand(
            "{language}" in self.configuration or bool(self.prefixes) or len(self.languages) == 1,
            f"configuration {self.configuration!r} of {self.repository} is the same for all languages; "
            "write {language} in it, or give prefixes",
        )

    def __call__(self, seed: int) -> Mapping[str, Iterable[str]]:
        """The documents of each language; the seed changes nothing."""
        return {language: _Cells(self, language) for language in self.languages}


@dataclass(frozen=True)
class _Cells:
    """The documents of one language of a data set, from the start each time."""

    text: HubText
    language: str

    def __iter__(self) -> Iterator[str]:
        for document, _ in itertools.groupby(self._all()):
            if document.strip():
                yield document.strip()

    def _all(self) -> Iterator[str]:
        text = self.text
        mirror = os.environ.get("XFER_RAY_MIRROR")
        path = text.repository if mirror is None else str(Path(mirror) / text.repository)
        if mirror and not Path(path).is_dir():
            raise SetupError(f"the mirror {mirror} has no folder {text.repository}")
        where = f"{text.repository}, configuration {text.configuration.format(language=self.language)!r}, split {text.split!r}"
        return _cells(
            text.columns, where, path, name=text.configuration.format(language=self.language), split=text.split,
            revision=None if mirror else text.revision, prefix=text.prefixes.get(self.language, ""),
        )  # fmt: skip


def _cells(columns: Sequence[str], where: str, path: str, *, prefix: str = "", **options: object) -> Iterator[str]:
    """The cells of the columns, one column after another, of the rows whose id begins with `prefix`; read as a stream."""
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    try:
        for column in columns:
            for batch in datasets.load_dataset(path, streaming=True, **options).iter(batch_size=_ROWS):
                absent = [name for name in (column, *(["id"] if prefix else [])) if name not in batch]
                if absent:
                    raise DataError(f"{where}: no column {', '.join(absent)}; found: {', '.join(batch)}")
                ids = batch["id"] if prefix else [""] * len(batch[column])
                yield from (str(cell or "") for cell, row in zip(batch[column], ids, strict=True) if row.startswith(prefix))
    except XferRayError:
        raise
    except (ValueError, OSError, DatasetsError) as error:
        kind = DataError if isinstance(error, ValueError) else SetupError
        raise kind(f"{where}: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class Joined:
    """Several texts as one: the documents of a language one text after another."""

    texts: tuple[TextFolder | HubText, ...]

    def __call__(self, seed: int) -> Mapping[str, Iterable[str]]:
        """The documents of each language; the seed changes nothing."""
        parts = [text(seed) for text in self.texts]
        languages = sorted({language for part in parts for language in part})
        return {language: _Chain(tuple(part[language] for part in parts if language in part)) for language in languages}


@dataclass(frozen=True)
class _Chain:
    parts: tuple[Iterable[str], ...]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.parts)
