"""What is suspicious about a translation, by rules that need no second model. A suspicion is told; nothing is dropped for it."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

from xfer_ray.text import is_blank, is_unspaced, script
from xfer_ray.translation.translator import Translation

FAULTS = ("empty", "truncated", "looping", "untranslated", "script")

_LOOP_TIMES, _LOOP_TOKENS, _LOOP_PERIOD = 4, 8, 32
_GRAM, _FEW_GRAMS, _FRESH = 4, 16, 0.5
_PLAIN_WORDS = 3

# The first words of the Unicode names of the letters of a script, by ISO 15924; those left out are their English name.
_NAMES = {
    "Latn": "LATIN", "Cyrl": "CYRILLIC", "Grek": "GREEK", "Arab": "ARABIC", "Hebr": "HEBREW", "Deva": "DEVANAGARI", "Thai": "THAI",
    "Hans": "CJK", "Hant": "CJK", "Jpan": "CJK HIRAGANA KATAKANA KATAKANA-HIRAGANA IDEOGRAPHIC", "Kore": "HANGUL CJK", "Beng": "BENGALI",
    "Taml": "TAMIL", "Telu": "TELUGU", "Geor": "GEORGIAN", "Armn": "ARMENIAN", "Ethi": "ETHIOPIC", "Khmr": "KHMER", "Laoo": "LAO",
    "Mymr": "MYANMAR", "Tibt": "TIBETAN", "Gujr": "GUJARATI", "Guru": "GURMUKHI", "Knda": "KANNADA", "Mlym": "MALAYALAM",
    "Orya": "ORIYA", "Sinh": "SINHALA",
}  # fmt: skip
_ALSO = {"sr": "Latn", "az": "Cyrl", "uz": "Cyrl", "kk": "Latn", "mn": "Mong", "ku": "Arab", "pa": "Arab", "bs": "Cyrl"}


def faults_of(text: str, translation: Translation, source: str, target: str) -> tuple[str, ...]:
    """The names, of FAULTS and in that order, of what is suspicious about the translation of a text.

    How often that is so of XNLI's human translations (its dev and test sets, 10,000 distinct pairs of English and each other language):
    0.00 to 0.15 %, but 3.1 % in Hindi and 6.0 % in Urdu, where all but three hold not one letter of their script.
    """
    said = translation.text
    if is_blank(said):
        return () if is_blank(text) else ("empty",)
    found = {
        "truncated": translation.truncated,
        "looping": is_looping(text, said),
        "untranslated": is_untranslated(text, said),
        "script": is_other_script(said, target),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def is_looping(text: str, said: str) -> bool:
    """Whether a translation says the same again and again, and its source does not.

    Words, or characters of scripts without spaces, are counted, punctuation is not. It loops if up to 32 of them come 4 times in a
    row or more often, 8 altogether or more: "a dog and a dog and a dog and a dog and". Or if, of 16 or more runs of four, under half
    are there for the first time: "in the house in the old house in the house in the ...".

    "ha ha ha ha ha ha ha ha" of a source that laughs as often is none.
    """
    return _loops(tokens(said)) and not _loops(tokens(text))


def _loops(words: Sequence[str]) -> bool:
    return any(_repeats(words, period) for period in range(1, _LOOP_PERIOD + 1)) or _is_stale(words)


def _repeats(words: Sequence[str], period: int) -> bool:
    """Whether some run of `period` words comes often enough in a row."""
    needed = max(_LOOP_TIMES * period, _LOOP_TOKENS) - period
    same = 0
    for before, after in zip(words, words[period:], strict=False):
        same = same + 1 if before == after else 0
        if same >= needed:
            return True
    return False


def _is_stale(words: Sequence[str]) -> bool:
    grams = [tuple(words[at : at + _GRAM]) for at in range(len(words) - _GRAM + 1)]
    return len(grams) >= _FEW_GRAMS and len(set(grams)) < _FRESH * len(grams)


def is_untranslated(text: str, said: str) -> bool:
    """Whether a translation is its source, apart from case, space and punctuation, though that holds three plain words or more.

    "The dog barks." of "the dog barks" is untranslated. "Denver Broncos, Super Bowl 50" is not: names and numbers often stay. Plain
    is a word in lower case, or one of a script without cases; of scripts without spaces each letter counts.
    """
    return tokens(text) == tokens(said) and len(_plain(text)) >= _PLAIN_WORDS


def is_other_script(said: str, target: str) -> bool:
    """Whether most plain words, three or more, are of a script that the target language is not written in.

    "the dog barks loudly" is no Russian. "Denver Broncos" may be, and so may one English word among Russian ones. What script a
    language is written in is what CLDR finds likely; languages that it does not know are never blamed.
    """
    own, words = scripts(target), _plain(said)
    other = sum(script(word[0]) not in own for word in words)
    return bool(own) and other >= _PLAIN_WORDS and 2 * other > len(words)


@functools.cache
def scripts(language: str) -> frozenset[str]:
    """The scripts that a language is written in, as `text.script` names them; none for a language that is not known.

    ja -> CJK, HIRAGANA, KATAKANA ...; sr -> CYRILLIC, LATIN
    """
    from xfer_ray.translation.codes import tongue

    found = tongue(language)
    if found is None:
        return frozenset()
    codes = [found.script] if found.named else [found.script, _ALSO.get(found.language, "")]
    return frozenset(" ".join(_NAMES.get(code, "") for code in codes).split())


# ------------------------------------------------------------------------------ words


def tokens(text: str) -> list[str]:
    """Words in lower case, and single characters of scripts without spaces between words.

    "Das HAUS, 好的" -> das, haus, 好, 的
    """
    return [piece.lower() for piece in _pieces(text)]


def _pieces(text: str) -> list[str]:
    return "".join(map(_spread, text)).split()


@functools.cache
def _spread(character: str) -> str:
    """A character as it is among words that spaces part: alone if its script has no spaces, and punctuation left out."""
    if is_unspaced(character):
        return f" {character} "
    if character in "'’" or unicodedata.category(character) == "Cf":  # don't is one word, and so is what joiners hold together
        return ""
    return character if character.isalnum() or unicodedata.category(character)[0] == "M" else " "


def _plain(text: str) -> list[str]:
    """Words that are no names and no numbers, as far as their letters tell."""
    return [word for word in _pieces(text) if word[0].isalpha() and not word[0].isupper()]
