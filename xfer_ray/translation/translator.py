"""What a translator is: a declaration that names it, and a function from texts to their translations."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from xfer_ray.errors import DataError, demand, is_count
from xfer_ray.identity import Json

Kind = Literal["checkpoint", "ctranslate2", "dictionary", "file"]
POSSIBLE = (
    "possible: a checkpoint (a hub id such as Helsinki-NLP/opus-mt-{source}-{target}, or a folder), "
    "ctranslate2:FOLDER, file:PATH, or dictionary"
)
_NEURAL = ("checkpoint", "ctranslate2")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class Translation(NamedTuple):
    """What a text became; `truncated` if the model stopped for want of room and not at an end."""

    text: str
    truncated: bool = False


Translate = Callable[[Sequence[str]], Sequence[Translation]]
"""Texts of one language -> one translation each, in order."""


@dataclass(frozen=True, kw_only=True)
class Translator:
    """A translator by kind and name: a hub id, a folder, or a file; the embedded dictionary needs no name.

    `beams` is the width of the search; 1 is greedy. `max_length` is how many tokens a segment of a text may have, its end and the
    tokens of its language included; None stands for the model's own limit. `batch_tokens` is how many tokens, padding included, are
    read side by side, which changes speed and memory only.
    """

    kind: Kind
    name: str = ""
    revision: str | None = None
    beams: int = 4
    max_length: int | None = None
    batch_tokens: int = dataclasses.field(default=4096, metadata={"identity": False})

    def __post_init__(self) -> None:
        demand(self.kind in get_args(Kind), f"no translator is of kind {self.kind!r}; possible: {', '.join(get_args(Kind))}")
        needs_name = self.kind != "dictionary"
        demand(bool(self.name) == needs_name, f"a translator of kind {self.kind} {'needs a' if needs_name else 'has no'} name")
        demand(
            self.revision is None or self.kind == "checkpoint",
            f"revision {self.revision!r} chooses a commit of a checkpoint, and this translator is of kind {self.kind}",
        )
        demand(is_count(self.beams), f"beams is {self.beams!r}; it is how many translations are followed side by side, 1 or more")
        least = self.max_length is None or is_count(self.max_length, 8)
        demand(least, f"max_length is {self.max_length!r}; it is the tokens of a segment, 8 or more, or None for the model's own limit")
        demand(is_count(self.batch_tokens), f"batch_tokens is {self.batch_tokens!r}; it is the tokens of a batch, 1 or more")


def translator_of(spec: str, *, source: str, target: str, revision: str | None = None, beams: int = 4) -> Translator:
    """The translator that a user names; `{source}` and `{target}` in it stand for the two languages.

    "Helsinki-NLP/opus-mt-{source}-{target}" -> a checkpoint named Helsinki-NLP/opus-mt-en-de
    "ctranslate2:./opus-en-de" -> a converted model in that folder; "file:mt.tsv" -> a table of translations; "dictionary"
    """
    filled = spec.strip().replace("{source}", source).replace("{target}", target)
    head, colon, rest = filled.partition(":")
    if filled == "dictionary":
        return Translator(kind="dictionary", revision=revision)
    if colon and head in ("file", "ctranslate2"):
        demand(bool(rest), f"translator {spec!r} names no {'file' if head == 'file' else 'folder'}; {POSSIBLE}")
        if head == "file":
            return Translator(kind="file", name=rest, revision=revision)
        return Translator(kind="ctranslate2", name=rest, revision=revision, beams=beams)
    known = Path(filled).is_dir() or bool(_HUB_ID.fullmatch(filled))
    demand(known and filled != "", f"translator {spec!r} is no folder and no hub id; {POSSIBLE}")
    return Translator(kind="checkpoint", name=filled, revision=revision, beams=beams)


def translated(translate: Translate, texts: Sequence[str]) -> list[Translation]:
    """One translation for each text; blank texts stay as they are and are never sent.

    DataError for a translator that gives another number of translations, or something that is none.
    """
    sent = [text for text in texts if text.strip()]
    found: Sequence[Any] = translate(sent) if sent else []
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise DataError(
            f"the translator gave {type(found).__name__} for {len(sent)} texts; it has to give a list, one translation for each"
        )
    if len(found) != len(sent):
        raise DataError(f"the translator gave {len(found)} translations for {len(sent)} texts; it has to give one for each, in order")
    for text, one in zip(sent, found, strict=True):
        if not isinstance(one, Translation) or not isinstance(one.text, str):
            raise DataError(f"the translator gave {one!r} for {text[:80]!r}, which is no Translation with a string")
        if not one.text.isprintable() and any("\ud800" <= character <= "\udfff" for character in one.text):
            raise DataError(
                f"the translator gave {one.text[:80]!r} for {text[:80]!r}, with half of a surrogate pair, which UTF-8 cannot hold"
            )
    rest = iter(found)
    return [next(rest) if text.strip() else Translation(text) for text in texts]


# ------------------------------------------------------------------------------ what the card says


def decoding(translator: Translator) -> dict[str, Json]:
    """How the text is written, as the card says it; empty for what looks translations up."""
    if translator.kind not in _NEURAL:
        return {}
    return {
        "beams": translator.beams,
        "sampling": False,
        "length_penalty": 1.0,
        "max_length": translator.max_length,
        "max_new_tokens": "2 x input + 20",
        "segments": "sentences (sentencex); longer ones split",
    }


# By the beginning of a checkpoint's hub id, from the models' own pages.
_LICENCES = {
    "helsinki-nlp/opus-mt": "CC-BY 4.0 or Apache 2.0, as the page of the pair says",
    "facebook/m2m100": "MIT",
    "facebook/nllb-200": "CC-BY-NC 4.0",
    "google/madlad400": "Apache 2.0",
}
_FRONT_MATTER = re.compile(r"---\s*\n(.*?)\n---\s*(\n|$)", re.DOTALL)
_LICENCE = re.compile(r"^licen[sc]e:[ \t]*(.*?)[ \t]*$((?:\n[ \t]*-[ \t]*.*$)*)", re.MULTILINE)


def licence(translator: Translator, folder: Path | None) -> str:
    """The licence by the README.md beside the checkpoint, else by its family, else "not known"."""
    if translator.kind == "dictionary":
        return "generated by this package"
    page = folder / "README.md" if folder else None
    if page is not None and page.is_file():
        told = _FRONT_MATTER.match(page.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff"))
        found = _LICENCE.search(told.group(1)) if told else None
        names = [name.strip(" -\t'\"") for name in (found.group(1), *found.group(2).splitlines())] if found else []
        if any(names):
            return ", ".join(name for name in names if name)
    known = [licence for family, licence in _LICENCES.items() if translator.name.lower().startswith(family)]
    return known[0] if known else "not known"
