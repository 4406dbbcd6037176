"""Which characters of a text its tokens cover, in every script: what an answer may be cut from."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Direction marks and spaces of no width: at the end of an answer nobody sees them, and no metric of text forgives them.
_UNSEEN = frozenset("\u061c\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What does not stand alone, besides Unicode marks: joiners, the Thai and Lao sign AM, and skin tones (UAX 29, Extend and SpacingMark).
_JOINED = frozenset("\u200c\u200d\u0e33\u0eb3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")


def covered(text: str, offsets: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    r"""From which character to which each token reaches, (tokens, 2), such that an answer may be cut there.

    Without white space or direction marks at the ends, and letters with their marks whole: a tokenizer that composes or strips
    accents gives the offsets of the letter alone, and a cut there would lose the accent. Never backwards, whatever the tokenizer:
    the search for an answer relies on it.

    "cafe\u0301 x", [(0, 4), (5, 7)] -> [(0, 5), (6, 7)]
    """
    starts, ends = np.maximum.accumulate(np.array(offsets, dtype=np.int64).reshape(-1, 2)).T
    blank = np.array([*(character.isspace() or character in _UNSEEN for character in text), False], dtype=np.bool_)
    starts = np.minimum(_next(~blank)[starts], ends)
    ends = np.maximum(_last(np.append(True, ~blank[:-1]))[ends], starts)
    if any(_ties(character) for character in set(text)):
        border = ~_tied(text, blank)
        starts, ends = _last(border)[starts], _next(border)[ends]
    return np.stack([starts, ends], axis=1).astype(np.int32)


def _next(free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each place between characters the nearest free one from there on; the last of all is free."""
    return np.minimum.accumulate(np.where(free, np.arange(len(free)), len(free) - 1)[::-1])[::-1]


def _last(free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each place between characters the nearest free one up to there; the first of all is free."""
    return np.maximum.accumulate(np.where(free, np.arange(len(free)), 0))


def _tied(text: str, blank: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Before which characters no answer may be cut: marks and joiners, and what follows a joiner; none is tied to white space."""
    tied = np.array([*map(_ties, text), False], dtype=np.bool_)
    tied[1:] |= np.array([character == "\u200d" for character in text], dtype=np.bool_)
    tied &= ~blank
    tied[1:] &= ~blank[:-1]
    tied[0] = False
    return tied


@functools.cache
def _ties(character: str) -> bool:
    """Whether it is a combining mark, a vowel or final consonant of decomposed Hangul, or the like."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff" or character in _JOINED
