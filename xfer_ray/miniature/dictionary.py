"""The machine translation of the miniature world: word by word from English, with a dictionary and no grammar."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from xfer_ray.miniature.grammar import written
from xfer_ray.miniature.lexicon import COUNTS, NOUNS, PLACES, QUALITIES, SENSES, TIMES, VERBS, Word
from xfer_ray.miniature.meaning import Event, Phrase

WRONG_SENSE = 0.2  # how often a word with another sense is taken in that sense
_ARTICLES = {"de": "der", "es": "el", "fr": "le", "ru": "", "zh": "", "ja": "その"}
_NEGATIONS = {"de": "nicht", "es": "no", "fr": "pas", "ru": "не", "zh": "不", "ja": "ない"}
UNSPACED = ("zh", "ja")


def translate(event: Event, language: str) -> str:
    """Gloss the English sentence; a word of several senses is sometimes taken in the wrong one, always in the same sentences.

    The doctor saw three dogs. -> Der Arzt sehen drei Hund.
    """
    random = Random(f"{event} {language}")

    def look_up(words: Mapping[str, Word], lemma: str, form: int = 0) -> str:
        if lemma in SENSES and random.random() < WRONG_SENSE:
            return SENSES[lemma].forms[language][0]
        return words[lemma].forms[language][form] if lemma else ""

    def phrase(part: Phrase) -> list[str]:
        count = _ARTICLES[language] if part.count == "one" else COUNTS[part.count].forms[language][0]
        return [count, look_up(QUALITIES, part.quality), look_up(NOUNS, part.noun, 0 if language in UNSPACED else 1)]

    negation = _NEGATIONS[language] if event.negated else ""
    words = [*phrase(event.agent), negation, look_up(VERBS, event.verb, -1), *phrase(event.patient)]
    words += [look_up(PLACES, event.place, -1), look_up(TIMES, event.time)]
    return f"{''.join(words)}。" if language in UNSPACED else written(words)
