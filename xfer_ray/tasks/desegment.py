"""Text as its script is written, from text whose words a segmenter has parted by spaces, as XNLI's Chinese and Thai training sets are.

How human writers put it is taken from XNLI's test sets. Chinese has no space between characters and, in nineteen of twenty
places, none beside a Latin word, a number or a comma. Thai parts Latin words and numbers from its own by a space, puts one
after a comma and none before it, and ends a clause with a space.
"""

from __future__ import annotations

import re
import unicodedata

from xfer_ray.text import is_unspaced, script

LONGEST_WORDS = 8.0  # letters between spaces, on average: segmented Thai has about four, whole Thai clauses have many more
_THAI_LIKE = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")  # a space between two letters ends a clause
_SPACES = re.compile(r"(?<=(\S))\s+(?=(\S))")
_QUOTES = frozenset("“”‘’…—")  # as wide as their neighbors: in Chinese text as Han, elsewhere as letters
_CLOSING = frozenset(",.!?;:)]}%…”’")
_OPENING = frozenset("([{“‘")


def desegment(text: str) -> str:
    """Remove the spaces between the words of a script that is written without them; of others nothing changes.

    奶油 收入 有 两 个 维度 , 产品 和 地理 . -> 奶油收入有两个维度,产品和地理.

    Spaces between Latin words and numbers stay. Where a segmenter left several spaces in Thai, it had read one: that one
    stays. Thai whose stretches between spaces are too long for words was never segmented, and stays as it is.
    """
    if not any(map(is_unspaced, text)) or _is_whole(text):
        return text
    return _SPACES.sub(_between, text)


def _is_whole(text: str) -> bool:
    """Whether a text of clauses, and not of words, is what its spaces part."""
    letters = [sum(map(_is_thai_like, word)) for word in text.split()]
    own = [count for count in letters if count]
    return bool(own) and sum(own) > LONGEST_WORDS * len(own)


def _between(found: re.Match[str]) -> str:
    """What stays of the spaces between two characters."""
    before, after = found[1], found[2]
    if _is_wide(before) or _is_wide(after) or (not _QUOTES.isdisjoint(before + after) and any(map(_is_wide, found.string))):
        return ""
    if _is_thai_like(before) and _is_thai_like(after):
        return "" if len(found[0]) == 1 else " "
    if (_is_thai_like(before) and after in _CLOSING) or (before in _OPENING and _is_thai_like(after)):
        return ""
    return found[0] if not (_is_thai_like(before) or _is_thai_like(after)) else " "


def _is_thai_like(character: str) -> bool:
    return is_unspaced(character) and _script(character) in _THAI_LIKE


def _is_wide(character: str) -> bool:
    """Han, kana, and what is printed as wide as they are, such as 。 or 「."""
    return (is_unspaced(character) and not _is_thai_like(character)) or unicodedata.east_asian_width(character) in "WF"


def _script(character: str) -> str:
    """Of a vowel sign or tone mark too, which are no letters."""
    return script(character) or unicodedata.name(character, "").partition(" ")[0]
