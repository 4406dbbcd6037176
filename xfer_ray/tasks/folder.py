"""A corpus folder: labeled text that a translation made, as a source of a sweep.

    <root>/<benchmark>/<corpus spelling>/<split>.parquet   id, first, second, answers (JSON list), starts (JSON list)
    <root>/<benchmark>/<corpus spelling>/card.json         task, corpus, origin, translator, revision, decoding, licence,
                                                           counts and fingerprint by split

The card is put last and says how many examples each split has and what their fingerprint is, so that a folder that is half
written, or was edited, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xfer_ray.errors import DataError
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import reading, spans

CARD = "card.json"
COLUMNS = ("id", "first", "second", "answers", "starts")


def folder_of(root: str, benchmark: str, corpus: Corpus) -> Path:
    """Where the folder of a corpus lies; `root` is the folder of all of them."""
    return Path(root) / benchmark / str(corpus)


def is_made(corpus: Corpus, generated: Iterable[Corpus]) -> bool:
    """Whether a corpus is a machine translation, of one that a world generates, which it does not generate itself."""
    known = tuple(generated)
    return corpus.provenance == "MT" and corpus not in known and corpus.root in known


def missing(root: str, benchmark: str, corpus: Corpus, split: str, task: str = "") -> str:
    """Why a split cannot be read, with the command that makes it; "" where it is there. Looks at names only.

    `task` is what the command calls the benchmark's task, where that is not its name.
    """
    folder = folder_of(root, benchmark, corpus)
    wanted = [name for name in (f"{split}.parquet", CARD) if not (folder / name).is_file()]
    if not wanted:
        return ""
    found = f"the folder {folder} holds no {wanted[0]}" if folder.is_dir() else f"the folder {folder} does not exist"
    return f"{found}; make it with `{command(task or benchmark, corpus, split)}`"


def command(benchmark: str, corpus: Corpus, split: str) -> str:
    """The command that makes a translated corpus: xfer-ray translate xquad --split train --from en --to de --translator ..."""
    origin = corpus.origin or corpus
    source = origin if origin.origin else origin.language
    label = f" --label {corpus.label}" if corpus.label else ""
    return f"xfer-ray translate {benchmark} --split {split} --from {source} --to {corpus.language}{label} --translator ..."


def read(root: str, benchmark: str, corpus: Corpus, split: str) -> list[Example]:
    """The examples of one split, as its card says that they are; DataError where folder and card do not agree."""
    reason = missing(root, benchmark, corpus, split)
    if reason:
        raise DataError(reason)
    folder = folder_of(root, benchmark, corpus)
    file = folder / f"{split}.parquet"
    card = _card(folder, benchmark, corpus)
    columns = reading.columns_of_file(file, COLUMNS)
    examples = [_example(file, *row) for row in zip(*(columns[name] for name in COLUMNS), strict=True)]
    declared = _by_split(card, "counts", split)
    if declared is None:
        raise DataError(f"{folder / CARD} does not say how many examples {split}.parquet has; {_again(benchmark, corpus, split)}")
    if declared != len(examples):
        raise DataError(f"{file} has {len(examples)} examples, and its card says {declared}; {_again(benchmark, corpus, split)}")
    fingerprint = Examples(tuple(examples)).fingerprint
    if _by_split(card, "fingerprint", split) != fingerprint:
        raise DataError(f"{file} is not what its card says: its fingerprint is {fingerprint}; {_again(benchmark, corpus, split)}")
    return examples


def pairs(root: str, benchmark: str, corpus: Corpus, split: str, labels: Iterable[str]) -> list[Example]:
    """The labeled pairs of one split; DataError for a label that the task does not have."""
    examples, legal = read(root, benchmark, corpus, split), tuple(labels)
    for example in examples:
        if len(example.answers) != 1 or example.answers[0] not in legal:
            raise DataError(
                f"{folder_of(root, benchmark, corpus)}, split {split!r}: example {example.id!r} is labeled {example.answers!r}, "
                f"and not one of {', '.join(legal)}"
            )
    return examples


def questions(root: str, benchmark: str, corpus: Corpus, split: str) -> list[Example]:
    """The questions of one split; DataError for one without an answer, or whose answer does not stand where it should."""
    examples = read(root, benchmark, corpus, split)
    for example in examples:
        wrong = spans.unfit(example) or spans.misaligned(example)
        if wrong:
            where = f"{folder_of(root, benchmark, corpus)}, split {split!r}"
            raise DataError(f"{where}: question {example.id!r}: {wrong}; make the folder again")
    return examples


def _again(benchmark: str, corpus: Corpus, split: str) -> str:
    return f"delete the folder, and make it again with `{command(benchmark, corpus, split)}`"


def _card(folder: Path, benchmark: str, corpus: Corpus) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{folder / CARD} is not JSON: {error}") from error
    named = card.get("corpus") if isinstance(card, dict) else None
    if named != str(corpus):
        raise DataError(f"{folder / CARD} is the card of corpus {named!r}, and its folder is named {str(corpus)!r}")
    if card.get("task", benchmark) != benchmark:
        raise DataError(f"{folder / CARD} is the card of a translation of {card['task']!r}, and its folder is one of {benchmark!r}")
    return dict(card)


def _by_split(card: dict[str, Any], name: str, split: str) -> object:
    held = card.get(name)
    return held.get(split) if isinstance(held, dict) else None


def _example(file: Path, id_: object, first: object, second: object, answers: object, starts: object) -> Example:
    """An example from the values of a row; JSON lists stand as text in the columns of answers and starts."""
    try:
        golds, places = json.loads(str(answers)), json.loads(str(starts))
    except ValueError as error:
        raise DataError(f"{file}: the answers or starts of example {id_!r} are not JSON: {error}") from error
    sound = isinstance(golds, list) and isinstance(places, list) and all(isinstance(text, str) for text in (id_, first, second, *golds))
    if not sound or not all(isinstance(start, int) for start in places):
        raise DataError(
            f"{file}: example {id_!r} is not text with a list of answers, which are text, and one of starts, which are integers"
        )
    return Example(str(id_), str(first), str(second), tuple(golds), tuple(places))
