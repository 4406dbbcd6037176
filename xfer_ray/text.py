"""Facts about characters, and the padding of punctuation in which text-to-text models read and write questions and answers."""

from __future__ import annotations

import functools
import re
import unicodedata

_SPACES = re.compile(r"\s+")


def pad(text: str) -> str:
    """The text with spaces around its punctuation and symbols, single spaces, and none at the ends.

    pad("U.S. François's 1,000") -> "U . S . François ' s 1 , 000"

    Everything but underscore, white space, numbers, letters and marks stands alone, as in the preprocessor of mT5's question
    answering tasks (google-research/multilingual-t5, Xue et al. 2021).
    """
    return _SPACES.sub(" ", "".join(f" {c} " if _stands_alone(c) else c for c in text)).strip()


def unpadded(text: str, context: str) -> str | None:
    """The stretch of `context`, as it stands there, whose padding is `text`; None if there is none, of several the first.

    It begins and ends where a padded context has a border, so that "1" is not found in "10".
    """
    if not text or text != pad(text):
        return None
    places: list[tuple[int, int]] = []  # of each character of the padded context that is no space: from where to where it reaches
    words: list[str] = []
    for match in re.finditer(r"\S+", context):
        for word, start, end in _words(match[0], match.start()):
            words.append(word)
            places.append((start, end))
    wanted = text.split(" ")
    for first in range(len(words) - len(wanted) + 1):
        if words[first : first + len(wanted)] == wanted:
            return context[places[first][0] : places[first + len(wanted) - 1][1]]
    return None


def _words(stretch: str, offset: int) -> list[tuple[str, int, int]]:
    """The words of a stretch without white space once it is padded, and where each lies."""
    found, start = [], 0
    for at, character in enumerate(stretch):
        if _stands_alone(character):
            found += [(start, at)] * (start < at) + [(at, at + 1)]
            start = at + 1
    found += [(start, len(stretch))] * (start < len(stretch))
    return [(stretch[low:high], offset + low, offset + high) for low, high in found]


@functools.cache
def _stands_alone(character: str) -> bool:
    return not (character == "_" or character.isspace() or unicodedata.category(character)[0] in "NLM")


@functools.cache
def script(character: str) -> str:
    """The script of a letter by the first word of its Unicode name, such as LATIN, GREEK or CJK; "" for what is no letter."""
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "").partition(" ")[0]


# What is written without spaces between words, by the first word of a character's name.
_UNSPACED = frozenset(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "BOPOMOFO", "KATAKANA-HIRAGANA"))


@functools.cache
def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that is written without spaces between words, its vowel signs and tone marks included."""
    return unicodedata.name(character, "").partition(" ")[0] in _UNSPACED and unicodedata.category(character)[0] in "LM"
