"""Corpus folders: what a translation leaves, one folder a corpus; tasks/folder.py reads its examples for a trial.

    <root>/<benchmark>/<corpus>/<split>.parquet         id, first, second, answers (JSON list), starts (JSON list)
    <root>/<benchmark>/<corpus>/<split>.audit.parquet   the fate of every example of the origin, and of its answers
    <root>/<benchmark>/<corpus>/shards/<digest>.parquet what has been translated: text, translation, truncated
    <root>/<benchmark>/<corpus>/card.json               what this is and how it was made; put last

Every file is put whole. The shards are what a translation that was stopped goes on from; deleting them costs only time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xfer_ray import results
from xfer_ray.errors import DataError, DeclarationError, StorageError, unknown
from xfer_ray.identity import Json
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.storage import Storage
from xfer_ray.translation.fate import Fate

if TYPE_CHECKING:
    import pandas as pd

AUDIT = ".audit.parquet"
CARD = "card.json"


@dataclass(frozen=True)
class Stored:
    """A row of `<split>.parquet`; lists are JSON, so that the table is flat."""

    id: str
    first: str
    second: str
    answers: str
    starts: str


@dataclass(frozen=True)
class Translated:
    """A row of a shard: a text of the origin and what it became; `truncated` if the model stopped for want of room."""

    text: str
    translation: str
    truncated: bool


@dataclass(frozen=True)
class CorpusFolder:
    """Where the files of one corpus lie."""

    storage: Storage
    benchmark: str
    corpus: Corpus

    @property
    def path(self) -> str:
        """The folder, relative to the storage."""
        return f"{self.benchmark}/{self.corpus}"

    @property
    def url(self) -> str:
        """The folder, as a user would name it."""
        return f"{self.storage.url}/{self.path}"

    def shard(self, digest: str) -> str:
        """The file of one shard of translated texts."""
        return f"{self.path}/shards/{digest}.parquet"

    def card(self) -> dict[str, Any] | None:
        """What card.json says, or None where there is none."""
        return card(self.storage, self.path)


def card(storage: Storage, path: str) -> dict[str, Any] | None:
    """The card of a corpus folder, or None where there is none; DataError where it is no card."""
    try:
        found = json.loads(storage.read(f"{path}/{CARD}"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{storage.url}/{path}/{CARD} is not JSON: {error}; delete it, and translate again: the shards are kept") from error
    by_split = ("counts", "fingerprint", "origin_counts", "origin_fingerprint", "not_kept", "faults")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in by_split):
        raise DataError(f"{storage.url}/{path}/{CARD} is not the card of a corpus; delete it, and translate again: the shards are kept")
    return found


# ------------------------------------------------------------------------------ shards


def shards_done(folder: CorpusFolder) -> set[str]:
    """The digests of the shards that have been translated."""
    names = folder.storage.sizes(f"{folder.path}/shards")
    return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet") and not name.startswith(".")}


def put_shard(folder: CorpusFolder, digest: str, rows: Sequence[Translated]) -> None:
    """Put the translations of one shard; of two equal ones the first stays."""
    folder.storage.create(folder.shard(digest), results.to_bytes(results.flat_table(Translated, rows)))


def read_shard(folder: CorpusFolder, digest: str, texts: Sequence[str]) -> list[Translated]:
    """The translations of one shard; DataError for a file that is damaged, or that holds other texts."""
    path = folder.shard(digest)
    again = "delete it, and translate again: the other shards are kept"
    try:
        table = results.from_bytes(folder.storage.read(path), path)
    except (DataError, StorageError) as error:
        raise DataError(f"{folder.storage.url}/{path} is damaged; {again}") from error
    if not table.schema.equals(results.schema_of(Translated)) or table.column("text").to_pylist() != list(texts):
        raise DataError(f"{folder.storage.url}/{path} holds other texts than its name says; {again}")
    return [Translated(**row) for row in table.to_pylist()]


# ------------------------------------------------------------------------------ the corpus


def put_split(folder: CorpusFolder, split: str, examples: Sequence[Example], fates: Sequence[Fate]) -> None:
    """Put the examples of a split and the fates of those of the origin; the card makes them count."""
    rows = [Stored(e.id, e.first, e.second, _listed(e.answers), _listed(e.starts)) for e in examples]
    folder.storage.replace(f"{folder.path}/{split}.parquet", results.to_bytes(results.flat_table(Stored, rows)))
    folder.storage.replace(f"{folder.path}/{split}{AUDIT}", results.to_bytes(results.flat_table(Fate, fates)))


def is_sound(folder: CorpusFolder, split: str, card: Mapping[str, Any]) -> bool:
    """Whether the examples and the audit of a split are there and are what the card says."""
    try:
        tables = [results.from_bytes(folder.storage.read(f"{folder.path}/{split}{ending}"), "") for ending in (".parquet", AUDIT)]
    except (FileNotFoundError, DataError):
        return False
    if not all(table.schema.equals(results.schema_of(kind)) for table, kind in zip(tables, (Stored, Fate), strict=True)):
        return False
    rows, fates = (table.to_pylist() for table in tables)
    kept = Examples(
        tuple(Example(r["id"], r["first"], r["second"], tuple(json.loads(r["answers"])), tuple(json.loads(r["starts"]))) for r in rows)
    )
    told = {"counts": len(kept), "fingerprint": kept.fingerprint, "origin_counts": len({row["id"] for row in fates})}
    whole = all(split in card[name] for name in ("not_kept", "faults"))
    return whole and all(card[name].get(split) == value for name, value in told.items())


def put_card(folder: CorpusFolder, told: Mapping[str, Json]) -> None:
    """Put the card, after everything that it speaks of."""
    text = json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True)
    folder.storage.replace(f"{folder.path}/{CARD}", text.encode(errors="backslashreplace"))


def audits(storage: Storage, path: str, split: str | None = None) -> dict[str, pd.DataFrame]:
    """By corpus, the audit tables of a split under a folder: that of one corpus, or of all corpora of a benchmark.

    Without `split`, of the only one there is; DataError where there is no such table, DeclarationError where a split must be named.
    """
    files = sorted(name for name in storage.sizes(path) if name.endswith(AUDIT) and not name.startswith("."))
    held = {name: name.rpartition("/")[2].removesuffix(AUDIT) for name in files}
    splits = list(dict.fromkeys(held.values()))
    benchmarks = sorted({name.partition("/")[0] for name in files if name.count("/") > 1})
    if benchmarks:
        raise DeclarationError(f"{storage.url}/{path} holds several benchmarks; give one of them, such as {path}/{benchmarks[0]}")
    if not splits:
        raise DataError(f"{storage.url}/{path} holds no corpus that xfer-ray translate has made; give one, or the folder of a benchmark")
    if split is not None and split not in splits:
        raise unknown(f"split of {storage.url}/{path}", split, splits)
    if split is None and len(splits) > 1:
        raise DeclarationError(f"{storage.url}/{path} holds the splits {', '.join(splits)}; choose one with --split")
    chosen = {f"{path}/{name}": f"{path}/{name}".rsplit("/", 2)[-2] for name, each in held.items() if each == (split or splits[0])}
    return {corpus: _audit(storage, file, split or splits[0]) for file, corpus in chosen.items()}


def _audit(storage: Storage, file: str, split: str) -> pd.DataFrame:
    """One audit table, held against the card beside it."""
    where = f"{storage.url}/{file}"
    try:
        table = results.from_bytes(storage.read(file), file)
    except DataError as error:
        raise DataError(f"{where} is damaged; translate again: the shards are kept") from error
    if not table.schema.equals(results.schema_of(Fate)):
        raise DataError(f"{where} does not have the columns of an audit; translate again: the shards are kept")
    frame: pd.DataFrame = table.to_pandas()
    told = card(storage, file.rpartition("/")[0])
    if told is None:
        raise DataError(f"{where} has no {CARD} beside it, so the translation did not end; translate again: the shards are kept")
    found = {"origin_counts": frame["id"].nunique(), "counts": frame.loc[frame["kept"], "id"].nunique()}
    for name, number in found.items():
        if told.get(name, {}).get(split) != number:
            raise DataError(
                f"{where} speaks of {number} examples, and {CARD} beside it of {told.get(name, {}).get(split)} ({name}); translate again"
            )
    return frame


def _listed(values: Sequence[str] | Sequence[int]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
