"""Translations that were made elsewhere: a table with the columns `source` and `translation`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xfer_ray.errors import DataError, SetupError
from xfer_ray.translation.translator import Translate, Translation

COLUMNS = ("source", "translation")
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def opened(path: Path) -> Translate:
    """The table as a function from texts to translations; DataError with the number and the first of the texts that it lacks."""
    memory = _memory(path, _rows(path))

    def translate(texts: Sequence[str]) -> list[Translation]:
        lacking = [text for text in texts if text not in memory]
        if lacking:
            raise DataError(f"{path} lacks the translations of {len(lacking)} of {len(texts)} texts, the first of them {lacking[0]!r}")
        return [Translation(memory[text]) for text in texts]

    return translate


def _memory(path: Path, rows: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    memory: dict[str, str] = {}
    for number, (text, translation) in enumerate(rows, start=1):
        if not isinstance(text, str) or not isinstance(translation, str):
            raise DataError(f"row {number} of {path} has {text!r} and {translation!r} as source and translation; both have to be strings")
        if memory.setdefault(text, translation) != translation:
            raise DataError(f"{path} has two translations of {text!r}: {memory[text]!r} and {translation!r}")
    return memory


def _rows(path: Path) -> Iterable[tuple[Any, Any]]:
    """The rows; CSV and TSV in UTF-8 with a header, quoted as spreadsheets do; JSON Lines with one object a line."""
    if path.suffix not in ENDINGS:
        raise DataError(f"{path} ends in {path.suffix!r}, which says no format of a table; possible: {', '.join(ENDINGS)}")
    if not path.is_file():
        raise SetupError(f"there is no file {path} with translations")
    if path.suffix == ".jsonl":
        try:
            return _lines(path)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} cannot be read as UTF-8: {error}") from error
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:  # the errors of pandas and pyarrow are ValueErrors
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(map(str, frame))}")
    return zip(*(frame[name].tolist() for name in COLUMNS), strict=True)


def _lines(path: Path) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                found.append((row["source"], row["translation"]))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f'line {number} of {path} is no object such as {{"source": "…", "translation": "…"}}') from error
    return found
