"""Facts about characters, and the padding of punctuation in which text-to-text models read and write questions and answers."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

_SPACES = re.compile(r"\s+")


def pad(text: str) -> str:
    """The text with spaces around its punctuation and symbols, single spaces, and none at the ends.

    pad("U.S. François's 1,000") -> "U . S . François ' s 1 , 000"

    Everything but underscore, white space, numbers, letters and marks stands alone, as in the preprocessor of mT5's question
    answering tasks (google-research/multilingual-t5, Xue et al. 2021). That one leaves a space at an end where punctuation stands;
    the scorers split at white space, so no score depends on it.
    """
    return _SPACES.sub(" ", "".join(f" {c} " if _stands_alone(c) else c for c in text)).strip()


def unpadded(text: str, context: str) -> str | None:
    """The stretch of `context`, as it stands there, whose padding is that of `text`; None if there is none.

    unpadded("U . S", "the U.S. troops") -> "U.S"

    Of several the first that begins and ends where words do ("1" rather in "10 or 1" than in "10"), else the first, since some
    scripts have no spaces. None that takes a letter without its accents: "e" is not found in "e" with a combining acute. Where
    none is, text and context are compared as tokenizers rewrite them: in NFKC, and with spaces for invisible characters.
    """
    words = pad(text).split(" ")
    if words == [""]:
        return None
    found = [place for place in _matches(_pattern(words, r"\s+"), context) if not _cuts_mark(context, *place)]
    if not found:
        return _unwritten(text, context)
    start, end = next((place for place in found if _is_apart(context, *place)), found[0])
    return context[start:end]


def _pattern(words: Sequence[str], gap: str) -> re.Pattern[str]:
    """Padded words in a text that may lack the spaces beside punctuation; `gap` is what lies between two that are none."""
    parts = [re.escape(words[0])]
    for before, after in zip(words, words[1:], strict=False):
        parts += [r"\s*" if _stands_alone(before) or _stands_alone(after) else gap, re.escape(after)]
    return re.compile("".join(parts))


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Where the pattern matches, from left to right, overlapping matches included."""
    match = pattern.search(text)
    while match:
        yield match.span()
        match = pattern.search(text, match.start() + 1)


def _cuts_mark(text: str, start: int, end: int) -> bool:
    """Whether a stretch lacks a mark of its last letter, or begins with a mark of the letter before it."""
    return is_mark(text[start]) or is_mark(text[end : end + 1])


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether a stretch begins and ends where the padded text has a space."""
    return all(at in (0, len(text)) or _ends_word(text[at - 1]) or _ends_word(text[at]) for at in (start, end))


def _ends_word(character: str) -> bool:
    return character.isspace() or _stands_alone(character)


# ------------------------------------------------------------------------------ what tokenizers rewrite


def _unwritten(text: str, context: str) -> str | None:
    """`unpadded` over the rewritten text and context: the characters of the context whose rewriting matches."""
    wanted, (written, origins) = pad(_rewritten(text)[0]), _rewritten(context)
    if not wanted or (written == context and wanted == pad(text)):
        return None
    pattern = _pattern(wanted.split(" "), r"\s*")  # what stands alone may be rewritten as letters: the sign "No" of numbers
    found = sorted(_matches(pattern, written), key=lambda place: not _is_apart(written, *place))
    for start, end in found:
        stretch = context[origins[start] : origins[end]].strip()  # whole clusters, so more or less than the match if that cuts one
        if wanted in (pad(_rewritten(stretch)[0]), pad(_rewritten(pad(stretch))[0])):
            return stretch
    return None


@functools.lru_cache(maxsize=256)
def _rewritten(text: str) -> tuple[str, tuple[int, ...]]:
    """The text in NFKC with spaces for format characters; and of each of its characters, and of the end, where its cluster began."""
    if unicodedata.is_normalized("NFKC", text) and not any(map(_is_format, text)):
        return text, tuple(range(len(text) + 1))
    starts = [at for at, character in enumerate(text) if at == 0 or _begins_cluster(character)]
    parts: list[str] = []
    origins: list[int] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        cluster = "".join(" " if _is_format(character) else character for character in text[start:end])
        parts.append(unicodedata.normalize("NFKC", cluster))
        origins += [start] * len(parts[-1])
    return "".join(parts), (*origins, len(text))


@functools.cache
def _begins_cluster(character: str) -> bool:
    """Whether normalization never joins a character to the one before it: no mark, and no later jamo of a Hangul syllable."""
    first = unicodedata.normalize("NFKD", character)[0]
    return not is_mark(first) and not 0x1160 <= ord(first) <= 0x11FF


def is_blank(text: str) -> bool:
    """Whether there is nothing to see: no character, or only white space, controls and invisible ones such as U+200F."""
    return all(character.isspace() or unicodedata.category(character)[0] == "C" for character in text)


@functools.cache
def is_mark(character: str) -> bool:
    """Whether a character belongs to the letter before it: an accent, a vowel sign, a virama. "" is none."""
    return character != "" and unicodedata.category(character)[0] == "M"


@functools.cache
def _is_format(character: str) -> bool:
    """Invisible ones such as joiners and directional marks."""
    return unicodedata.category(character) == "Cf"


# ------------------------------------------------------------------------------ characters


@functools.cache
def _stands_alone(character: str) -> bool:
    return len(character) == 1 and not (character == "_" or character.isspace() or unicodedata.category(character)[0] in "NLM")


@functools.cache
def script(character: str) -> str:
    """The script of a letter by the first word of its Unicode name, such as LATIN, GREEK or CJK; "" for what is no letter.

    Compatibility forms count as what they stand for: a full-width A is LATIN.
    """
    return _name(character) if character.isalpha() else ""


def is_ascii_only(answer: str) -> bool:
    """Whether the whole answer is ASCII and holds a letter: "Lady Gaga", but neither "308" nor "ABC 東京"."""
    return answer.isascii() and any(character.isalpha() for character in answer)


# What is written without spaces between words, by the first word of a character's name.
_HAN_AND_KANA = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO")
_UNSPACED = frozenset((*_HAN_AND_KANA, "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"))


@functools.cache
def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that is written without spaces between words, its vowel signs and tone marks included.

    Its digits do not, since a number is one word; the Han zero does, as the other Han numerals.
    """
    category = unicodedata.category(character)
    return (category[0] in "LM" or category == "Nl") and _name(character) in _UNSPACED


def _name(character: str) -> str:
    return unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").partition(" ")[0]
