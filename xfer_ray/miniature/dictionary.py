"""The machine translation of the miniature world: word by word, with a dictionary and no grammar.

Every form of a word is looked up, and its dictionary form in the other language is put in its place:

    Вчера в саду врач увидел трёх чёрных собак. -> Yesterday in garden doctor see three black dog.

It is made for what was written in English or Russian. Of other languages it knows the words, and not the grammar:
enough to translate back what it has translated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from xfer_ray.errors import unknown
from xfer_ray.miniature.lexicon import (
    ASKING,
    COUNTS,
    LANGUAGES,
    NOUNS,
    PLACES,
    QUALITIES,
    RUSSIAN_SENSES,
    SENSES,
    TIMES,
    VERBS,
    Word,
)
from xfer_ray.miniature.telling import UNSPACED, Line, Part, line

WRONG_SENSE = 0.2  # how often a word with another sense is taken in that sense
_SENSES = {"en": SENSES, "ru": RUSSIAN_SENSES}
_ARTICLES = {"en": "the", "de": "der", "es": "el", "fr": "le", "ru": "", "zh": "", "ja": "その"}
_WITH_A_PLACE = ("the", "der", "die", "el", "la", "le")  # articles of the places in the lexicon
_NEGATIONS = {"en": "not", "de": "nicht", "es": "no", "fr": "pas", "ru": "не", "zh": "不", "ja": "ない"}
# In what is read: other articles, and words that are nothing in another language.
_OTHER_ARTICLES = {"de": ("die", "das", "den"), "es": ("la",), "fr": ("la",)}
_NOTHING = {"en": ("did",), "de": ("hat", "haben"), "fr": ("a", "ont"), "es": ("¿",)}
_COUNTED_BEINGS = "скольких"  # the form of `сколько` before a Russian object that lives
_SENTENCE = re.compile(r"\s*(.+?)([.?!](?=\s|$)|[。？！]|$)", re.DOTALL)  # a sentence and the mark that ends it
_WIDE = dict(zip(".?!", "。？！", strict=True))

_LookUp = Callable[[str], list[str]]


def translated(text: str, source: str, target: str) -> str:
    """Translate text of the miniature world sentence by sentence; words that the dictionary lacks stay as they are.

    A word of several senses is sometimes taken in the wrong one, always in the same sentences.

    The doctor saw three dogs. -> Der Arzt sehen drei Hund.
    """
    sentences = (_sentence(told, mark, source, target) for told, mark in _SENTENCE.findall(text))
    return ("" if target in UNSPACED else " ").join(sentence for sentence in sentences if sentence)


def gloss(parts: Sequence[Part], source: str, target: str) -> Line:
    """Translate a written line part by part, to the same text as `translated`, and say where each part is told."""
    look_up = _reader(line(parts, source).text[:-1], source, target)
    space = "" if target in UNSPACED else " "
    return line([(role, space.join(look_up(words))) for role, words in parts], target)


def _sentence(told: str, mark: str, source: str, target: str) -> str:
    words = _reader(told, source, target)(told)
    text = _joined(words, target)
    if text and (told[0].isupper() or (source in UNSPACED and mark)):
        text = f"{text[0].upper()}{text[1:]}"
    narrow = {wide: mark for mark, wide in _WIDE.items()}
    return text + (_WIDE.get(mark, mark) if target in UNSPACED else narrow.get(mark, mark))


def _joined(words: Iterable[str], language: str) -> str:
    """Words as text; unknown punctuation stays where it stood, after a word."""
    text = ""
    for word in words:
        apart = language not in UNSPACED and word[0].isalnum()
        text += f" {word}" if text and apart else word
    return text


def _reader(sentence: str, source: str, target: str) -> _LookUp:
    """The function that translates the words of this sentence. The order in which they are read decides their senses."""
    for language in (source, target):
        if language not in LANGUAGES:
            raise unknown("language of the miniature", language, LANGUAGES)
    random, senses = Random(f"{sentence} {target}"), _SENSES.get(source, {})
    pattern, words = _dictionary(source, target)

    def look_up(text: str) -> list[str]:
        found = (_found(word) for word in pattern.findall(text))
        return [word for word in found if word]

    def _found(word: str) -> str:
        known = words.get(word.lower())
        if known is None:
            return word
        lemma, translation = known
        return senses[lemma].forms[target][0] if lemma in senses and random.random() < WRONG_SENSE else translation

    return look_up


# ------------------------------------------------------------------------------ the dictionary of two languages


@functools.cache
def _dictionary(source: str, target: str) -> tuple[re.Pattern[str], Mapping[str, tuple[str, str]]]:
    """What is read as one word, the longest first; and of each such form its lemma and its translation."""
    words: dict[str, tuple[str, str]] = {}
    for form, lemma, translation in _entries(source, target):
        words.setdefault(form.lower(), (lemma, translation))  # of equal forms the first counts
    known = "|".join(re.escape(form) for form in sorted(words, key=len, reverse=True))
    if source in UNSPACED:
        return re.compile(rf"{known}|[a-z0-9]+|\S", re.IGNORECASE), words
    inside = "[.-]" if source == "fr" else "[.'’-]"  # an unknown word is U.S. or don't; l'ami is two words
    return re.compile(rf"(?<!\w)(?:{known})(?!\w)|\w+(?:{inside}\w+)*|[^\w\s]", re.IGNORECASE), words


def _entries(source: str, target: str) -> Iterable[tuple[str, str, str]]:
    """Forms of one language, each with its lemma and the dictionary form in the other."""
    for words in (PLACES, TIMES, NOUNS, VERBS, QUALITIES, COUNTS, ASKING, SENSES, RUSSIAN_SENSES):
        for lemma, word in words.items():
            translation = _translation(words, lemma, target)
            if words is PLACES and not _ARTICLES[source]:
                translation = _bare(translation)
            for form in _forms(words, word.forms[source], source):
                yield form, lemma, translation
    for article in filter(None, (_ARTICLES[source], *_OTHER_ARTICLES.get(source, ()))):
        yield article, "", _ARTICLES[target]
    yield _NEGATIONS[source], "", _NEGATIONS[target]
    for nothing in _NOTHING.get(source, ()):
        yield nothing, "", ""


def _forms(words: Mapping[str, Word], forms: tuple[str, ...], source: str) -> tuple[str, ...]:
    """The forms under which a word is read in its language."""
    if words is NOUNS and source in UNSPACED:
        return forms[:1] + forms[2:]  # without the classifier
    if words is NOUNS and source != "en":
        return forms[1:]  # without the gender
    if words is QUALITIES and source == "de":
        return (*forms, f"{forms[0]}e", f"{forms[0]}en")
    if words is PLACES:
        return (*forms, _bare(forms[-1]))
    return (*forms, _COUNTED_BEINGS) if forms == ("сколько",) else forms


def _translation(words: Mapping[str, Word], lemma: str, target: str) -> str:
    """The form that a dictionary gives; of the senses of a place English has one name."""
    if words is SENSES and target == "en" and lemma in PLACES:
        words = PLACES
    forms = words[lemma].forms[target]
    if words is NOUNS:
        return forms[0 if target in ("en", *UNSPACED) else 1]  # after the gender
    return forms[-1 if words in (VERBS, PLACES) else 0]


def _bare(place: str) -> str:
    """As it is where the language that is read has no articles: in der Garten -> in Garten."""
    return " ".join(word for word in place.split(" ") if word not in _WITH_A_PLACE)
