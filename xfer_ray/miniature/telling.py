"""Words put together as a written line, with the place of each part of the event in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

UNSPACED = ("zh", "ja")
Part = tuple[str, str]  # the role of some words, such as "agent", "agent.count" or "" for none; and the words


@dataclass(frozen=True)
class Line:
    """A written line, and by role the characters of it that tell this part of the event: first, and one past the last."""

    text: str
    spans: Mapping[str, tuple[int, int]]


def phrase(role: str, words: tuple[str, str]) -> list[Part]:
    """The count and the rest of a noun phrase, each under its role; a definite singular has no count."""
    return [(f"{role}.count", words[0]), (role, words[1])]


def line(parts: Iterable[Part], language: str, mark: str = "") -> Line:
    """Put words together: `der`, ``, `Hund` -> Der Hund.

    Args:
        parts: roles and words, in order; empty words leave no trace.
        language: decides whether spaces part the words.
        mark: the last character; the language's full stop by default.
    """
    space = "" if language in UNSPACED else " "
    text = ""
    spans: dict[str, tuple[int, int]] = {}
    for role, words in parts:
        if not words:
            continue
        text += space if text else ""
        first, text = len(text), text + words
        for name in {role, role.partition(".")[0]} - {""}:  # a count is part of its phrase
            spans[name] = (spans.get(name, (first,))[0], len(text))
    return Line(f"{text[0].upper()}{text[1:]}{mark or ('。' if language in UNSPACED else '.')}", spans)


def joined(lines: Iterable[Line], language: str) -> tuple[str, list[int]]:
    """Lines as running text, and the character at which each begins."""
    space = "" if language in UNSPACED else " "
    text = ""
    starts = []
    for one in lines:
        text += space if text else ""
        starts.append(len(text))
        text += one.text
    return text, starts
