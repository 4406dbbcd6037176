"""Pairs of sentences from a Parquet repository of the hub, or from a mirror of it, checked as they are read."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xfer_ray.core import Corpus, Example, Policy
from xfer_ray.errors import DataError, SetupError, XferRayError, demand, unknown

if TYPE_CHECKING:
    from datasets import DatasetBuilder

log = logging.getLogger(__name__)
_ROWS = 10_000  # at a time; a file as long as XNLI's training sets takes about a second
_STAND_IN = "a folder laid out like the hub can stand in for it: --mirror DIR"
_Batch = Mapping[str, Sequence[object]]


class _Pair(NamedTuple):
    first: str
    second: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class HubPairs:
    """The `load` of a task: one repository with one configuration per language, its rows parallel across languages.

    An example's id is its row number: PAWS-X numbers the same pair 1 in English and 4 in German, so the id columns of
    the hub do not align languages. `labels` are in the order of the class index, `rows` is the number declared for each
    split, `provenance` how languages other than English came about in it. Text that is blank or one of `placeholders`
    is refused without a `policy`; "keep" keeps it; "drop-aligned" drops the row in all `languages`, so that every
    language keeps the same pairs, and therefore needs the split in all of them.
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

    def __post_init__(self) -> None:
        policies = ("keep", "drop-aligned")
        if self.policy is not None and self.policy not in policies:
            raise unknown("policy", str(self.policy), policies)
        demand(
            self.revision is None or bool(re.fullmatch(r"[0-9a-f]{40}", self.revision)),
            f"revision {self.revision!r} of {self.repository} is not a commit of 40 hex digits; branches move, so give one or None",
        )

    def __call__(self, corpus: Corpus, split: str) -> list[Example]:
        """The examples of one corpus and split, in the order of the repository."""
        self._check(corpus, split)
        pairs = _read(self, corpus.language, split)
        dropped = self._dropped(corpus.language, split, pairs)
        return [Example(str(row), pair.first, pair.second, (pair.answer,)) for row, pair in enumerate(pairs) if row not in dropped]

    def corpora(self, split: str) -> tuple[Corpus, ...]:
        """What a split holds, one corpus per language: en-O, de-MT-en, ..."""
        if split not in self.rows:
            raise unknown(f"split of {self.repository}", split, self.rows)
        english = Corpus("en")
        return tuple(english if code == "en" else Corpus(code, self.provenance[split], english) for code in self.languages)

    def _check(self, corpus: Corpus, split: str) -> None:
        held = {one.language: one for one in self.corpora(split)}
        if corpus.language not in held:
            raise unknown(f"language of {self.repository}", corpus.language, held)
        if corpus != held[corpus.language]:
            raise DataError(f"split {split!r} of {self.repository} holds {held[corpus.language]}, not {corpus}")

    def _dropped(self, language: str, split: str, pairs: Sequence[_Pair]) -> set[int]:
        """The rows that the policy leaves out; what it found is refused or reported in one sentence."""
        unfit = _unfit(self, pairs)
        text = "blank or placeholder text" if self.placeholders else "blank text"
        found = f"{_where(self, language, split)}: {len(unfit)} of {len(pairs)} pairs hold {text}"
        if self.policy == "drop-aligned":
            dropped = unfit.union(*self._unfit_elsewhere(language, split))
            log.warning("%s; with the same rows of the other languages, %d pairs are dropped", found, len(dropped))
            return dropped
        if unfit and self.policy is None:
            raise DataError(f"{found}, the first in row {min(unfit)}; repair them, or declare the policy 'keep' or 'drop-aligned'")
        if unfit:
            log.warning("%s; they are kept, as the policy 'keep' says", found)
        return set()

    def _unfit_elsewhere(self, language: str, split: str) -> list[set[int]]:
        try:
            return [_unfit(self, _read(self, other, split)) for other in self.languages if other != language]
        except DataError as error:
            raise DataError(f"the policy 'drop-aligned' needs the split in all of {', '.join(self.languages)}: {error}") from error


def resolve(repository: str, revision: str | None = None) -> str:
    """The commit to read, 40 hex digits: `revision`, else the hub's newest; `mirror` under a mirror, `local` for a folder."""
    import huggingface_hub

    mirror = os.environ.get("XFER_RAY_MIRROR")
    if mirror:
        _folder(repository, Path(mirror))
        return "mirror"
    if Path(repository).is_dir():
        return "local"
    if revision is not None:
        return revision
    try:  # the folder of a downloaded file is named after the commit, also when the hub is out of reach
        return Path(huggingface_hub.hf_hub_download(repository, "README.md", repo_type="dataset")).parent.name
    except (OSError, ValueError) as error:
        raise SetupError(f"data set {repository}: {' '.join(str(error).split())}; {_STAND_IN}") from error


def _where(load: HubPairs, language: str, split: str) -> str:
    return f"{load.repository}, configuration {language!r}, split {split!r}"


def _unfit(load: HubPairs, pairs: Sequence[_Pair]) -> set[int]:
    """Rows with a text that is blank or a placeholder, in whatever case: one "ns" stands among the Korean "NS"."""
    nothing = {"", *(placeholder.casefold() for placeholder in load.placeholders)}
    return {row for row, pair in enumerate(pairs) if not nothing.isdisjoint(text.strip().casefold() for text in (pair.first, pair.second))}


def _read(load: HubPairs, language: str, split: str) -> list[_Pair]:
    """Every row of one configuration and split, or a refusal; a missing text reads as blank."""
    where = _where(load, language, split)
    columns = _columns(load, language, split)
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
    return [_Pair(str(first or ""), str(second or ""), answers[label]) for first, second, label in rows]


def _columns(load: HubPairs, language: str, split: str) -> dict[str, list[object]]:
    names = (load.first, load.second, "label")
    batches = _batches(load, language, split)
    for batch in batches:
        absent = [name for name in names if name not in batch]
        if absent:
            raise DataError(f"{_where(load, language, split)}: no column {', '.join(absent)}; found: {', '.join(batch)}")
    return {name: [value for batch in batches for value in batch[name]] for name in names}


def _batches(load: HubPairs, language: str, split: str) -> list[_Batch]:
    from datasets.exceptions import DatasetsError

    folder = os.environ.get("XFER_RAY_MIRROR")
    try:
        return _in_place(load, language, split, mirror=Path(folder)) if folder else _fetched(load, language, split)
    except XferRayError:
        raise
    except (ValueError, OSError, DatasetsError) as error:
        sentence = f"{_where(load, language, split)}: {' '.join(str(error).split())}"
        if folder or not isinstance(error, OSError):
            raise DataError(sentence) from error
        raise SetupError(f"{sentence}; {_STAND_IN}") from error


def _in_place(load: HubPairs, language: str, split: str, *, mirror: Path) -> list[_Batch]:
    """Read from a mirror by streaming: nothing is copied to a cache, so a file that changes is seen as it is."""
    folder = _folder(load.repository, mirror)
    builder = _builder(str(folder), language, batch_size=_ROWS)  # without it, a file of no rows is an error of pyarrow's
    _demand_split(load, language, split, found=builder.config.data_files)
    return list(builder.as_streaming_dataset(split).iter(batch_size=_ROWS))


def _folder(repository: str, mirror: Path) -> Path:
    if (mirror / repository).is_dir():
        return mirror / repository
    held = sorted("/".join(path.parts[-2:]) for path in mirror.glob("*/*") if path.is_dir())
    raise SetupError(f"the mirror {mirror} has no folder {repository}; possible: {', '.join(held) or 'none'}")


def _fetched(load: HubPairs, language: str, split: str) -> list[_Batch]:
    """Read from the hub, or from the cache that `datasets` keeps of it (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)."""
    builder = _builder(load.repository, language, revision=load.revision)
    _demand_split(load, language, split, found=builder.config.data_files or builder.info.splits or ())
    builder.download_and_prepare()
    return list(builder.as_dataset(split).iter(batch_size=_ROWS))


def _builder(path: str, language: str, **options: int | str | None) -> DatasetBuilder:
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)  # what goes wrong is said once, in one sentence, by the error
    return datasets.load_dataset_builder(path, language, **options)


def _demand_split(load: HubPairs, language: str, split: str, *, found: Iterable[str]) -> None:
    names = list(found)
    if split not in names:
        raise DataError(f"{load.repository}, configuration {language!r}: no split {split!r}; found: {', '.join(names) or 'none'}")
