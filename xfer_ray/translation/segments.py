"""A text in the pieces that a translation model reads: its sentences, and of one that is too long its parts. Nothing is cut away."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from xfer_ray.text import is_unspaced
from xfer_ray.translation.translator import Translate, Translation

# Written without a space between sentences. Thai, Lao, Khmer and Burmese have none between words, but do have one there.
_NO_SPACE = re.compile(r"(zh|ja|cmn|yue|wuu|jpn|zho|lzh)([-_].*)?")
_LINE_BREAKS = re.compile(r"(\s*[\r\n\u2028\u2029]\s*)")
_SPACES = re.compile(r"\s+")
# Where one would draw breath within a sentence, in the scripts of the benchmarks; a dash only where it stands alone.
_PAUSE = re.compile(r"[,;:)\]}»”،؛、，；：）」』।॥·]+(?=\s|[^\s\x00-\u036f])|(?<=\s)[-–—]+(?=\s)|[–—]{2,}|…")
_JOINERS = "\u200c\u200d"


class Segment(NamedTuple):
    """A piece of a text and the white space before it. The last one may have no text: it holds what is at the end."""

    before: str
    text: str


Fits = Callable[[str], bool]


def segments(text: str, language: str, length: Callable[[str], int], limit: int) -> list[Segment]:
    r"""The sentences of a text, by the rules of its language, none longer than `limit`; put together they are the text again.

    A sentence that is too long is split in two near its middle: after punctuation, else at white space, else between any two
    characters that do not belong together; and so on. Line breaks end a sentence.

    "Er kam.  Sie ging.\n" -> ("", "Er kam."), ("  ", "Sie ging."), ("\n", "")
    """
    found: list[Segment] = []
    pending = ""
    for piece in _pieces(text, language, lambda one: length(one) <= limit):
        before, inside, after = _edges(piece)
        if inside:
            found.append(Segment(pending + before, inside))
            pending = after
        else:
            pending += piece
    return [*found, Segment(pending, "")] if pending else found


def joined(parts: Sequence[Segment], translations: Sequence[str], target: str) -> str:
    """The translations of the parts that have a text, with the white space that was between those.

    Chinese and Japanese are written without a space between sentences, so there a space is left out, unless it is between two words
    of another script; other languages have one, even if the source had none. Line breaks stay.

    "Er kam.", " " "Sie ging." -> 他来了。她走了。        他来了。她走了。 -> "He came. She went."
    """
    found, last = "", ""  # `last` is the character of the source before the white space
    rest = iter(translations)
    unspaced = bool(_NO_SPACE.fullmatch(target))
    for part in parts:
        following = next(rest) if part.text else ""
        if not (part.text and last):  # at the beginning, or at the end
            found += part.before
        elif following and found.strip():
            found += _glue(part.before, (last, part.text[0]), (found[-1], following[0]), unspaced)
        found += following
        last = part.text[-1:] or last
    return found


def by_segment(translate: Translate, cut: Callable[[str], list[Segment]], target: str) -> Translate:
    """The translator of whole texts that one of segments makes. Each distinct segment is translated once.

    A segment without a letter or a number, such as "***", stays as it is: a model would make something up.
    """

    def whole(texts: Sequence[str]) -> list[Translation]:
        parts = [cut(text) for text in texts]
        wanted = list(dict.fromkeys(part.text for row in parts for part in row if _says_something(part.text)))
        memory = dict(zip(wanted, translate(wanted) if wanted else [], strict=True))
        return [_whole(row, [memory.get(part.text, Translation(part.text)) for part in row if part.text], target) for row in parts]

    return whole


def _whole(parts: Sequence[Segment], found: Sequence[Translation], target: str) -> Translation:
    return Translation(joined(parts, [one.text for one in found], target), any(one.truncated for one in found))


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)


# ------------------------------------------------------------------------------ cutting


def _pieces(text: str, language: str, fits: Fits) -> Iterator[str]:
    for number, line in enumerate(_LINE_BREAKS.split(text)):
        if number % 2 or not line.strip():  # a line break
            yield line
            continue
        for sentence in _sentences(line, language):
            yield from _fitting(sentence, fits)


def _sentences(line: str, language: str) -> list[str]:
    import sentencex

    found: list[str] = sentencex.segment(language, line)
    return found if "".join(found) == line else [line]


def _fitting(piece: str, fits: Fits) -> Iterator[str]:
    waiting = [piece]
    while waiting:
        one = waiting.pop()
        if not one.strip() or len(one.strip()) == 1 or fits(one.strip()):
            yield one
        else:
            at = _split(one)
            waiting += [one[at:], one[:at]]


def _split(piece: str) -> int:
    """Where to split a piece that is too long, neither half without a text."""
    start, end = len(piece) - len(piece.lstrip()), len(piece.rstrip())
    middle, quarter = (start + end) // 2, (end - start) // 4
    near = [found.end() for found in _PAUSE.finditer(piece, start, end) if abs(found.end() - middle) <= quarter]
    spaces = [found.start() for found in _SPACES.finditer(piece, start, end)]
    between = (at for distance in range(end - start) for at in (middle - distance, middle + distance) if start < at < end)
    apart = next((at for at in between if _is_apart(piece, at)), middle)
    for places in (near, spaces, [apart]):
        inside = [at for at in places if start < at < end]
        if inside:
            return min(inside, key=lambda at: abs(at - middle))
    return max(start + 1, middle)


def _is_apart(piece: str, at: int) -> bool:
    """Whether a split here parts no character from its marks, and nothing that joiners hold together."""
    return unicodedata.category(piece[at])[0] != "M" and piece[at] not in _JOINERS and piece[at - 1] not in _JOINERS


def _edges(piece: str) -> tuple[str, str, str]:
    inside = piece.strip()
    start = len(piece) - len(piece.lstrip())
    return piece[:start], inside, piece[start + len(inside) :]


# ------------------------------------------------------------------------------ joining


def _glue(gap: str, source: tuple[str, str], target: tuple[str, str], unspaced: bool) -> str:
    """The white space between two translations, by that of the source and the characters beside it in source and target."""
    if any(map(_is_wide, target)) and unspaced:
        return "".join(character for character in gap if character in "\r\n\u2028\u2029")
    return gap or (" " if any(map(_is_wide, source)) and not unspaced else "")


def _is_wide(character: str) -> bool:
    """Whether a character takes no spaces beside it: of a script without spaces, or its punctuation."""
    return is_unspaced(character) or unicodedata.east_asian_width(character) in "WF"
