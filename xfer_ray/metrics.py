"""Strings in, fractions out: one example at a time.

`exact_match` and `f1` are those of the scorer of SQuAD 1.1 (Rajpurkar et al. 2016) for every language, as XTREME (Hu et al. 2020)
and the paper use it. Beside them: the same after the padding of mT5's protocol; MLQA's rules for its seven languages (Lewis
et al. 2020); and an F1 whose tokens are characters where a script has no spaces.
"""

from __future__ import annotations

import functools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from xfer_ray.errors import DataError, unknown
from xfer_ray.text import is_unspaced, pad, script

Metric = Callable[[str, Sequence[str], str], float]
Tokens = Callable[[str, str], tuple[str, ...]]  # text and language -> normalized tokens


def accuracy(prediction: str, answers: Sequence[str], language: str) -> float:
    """1 if the prediction is one of the answers, else 0; the same in every language."""
    return float(prediction in _some(answers))


def exact_match(prediction: str, answers: Sequence[str], language: str) -> float:
    """1 if the prediction equals an answer after SQuAD's normalization, else 0; English rules in every language."""
    return _exact(_squad, prediction, answers, language)


def f1(prediction: str, answers: Sequence[str], language: str) -> float:
    """Bag-of-tokens F1 after SQuAD's normalization, the largest over the answers; English rules in every language."""
    return _f1(_squad, prediction, answers, language)


def exact_match_padded(prediction: str, answers: Sequence[str], language: str) -> float:
    """`exact_match` of prediction and answers padded, as mT5's authors score (Xue et al. 2021)."""
    return exact_match(pad(prediction), [pad(answer) for answer in answers], language)


def f1_padded(prediction: str, answers: Sequence[str], language: str) -> float:
    """`f1` of prediction and answers padded, as mT5's authors score (Xue et al. 2021)."""
    return f1(pad(prediction), [pad(answer) for answer in answers], language)


def exact_match_mlqa(prediction: str, answers: Sequence[str], language: str) -> float:
    """1 if the prediction equals an answer after MLQA's normalization, else 0; en es hi vi de ar zh only."""
    return _exact(_mlqa, prediction, answers, language)


def f1_mlqa(prediction: str, answers: Sequence[str], language: str) -> float:
    """F1 after MLQA's normalization, the largest over the answers; en es hi vi de ar zh only."""
    return _f1(_mlqa, prediction, answers, language)


def f1_script(prediction: str, answers: Sequence[str], language: str) -> float:
    """`f1`, but a character with its marks is a token where a script has no spaces: Han, kana, Thai, Lao, Khmer and the like."""
    return _f1(_by_script, prediction, answers, language)


# A version changes whenever the metric would give another value.
METRICS: Mapping[str, tuple[Metric, str]] = {
    "accuracy": (accuracy, "1"),
    "exact_match": (exact_match, "1"),
    "f1": (f1, "1"),
    "exact_match_padded": (exact_match_padded, "1"),
    "f1_padded": (f1_padded, "1"),
    "exact_match_mlqa": (exact_match_mlqa, "1"),
    "f1_mlqa": (f1_mlqa, "1"),
    "f1_script": (f1_script, "1"),
}


def metric(name: str) -> Metric:
    """The metric of that name, or an error that says which names there are."""
    return _known(name)[0]


def version(name: str) -> str:
    """The version of the metric of that name, as it stands in the scores."""
    return _known(name)[1]


def is_defined(name: str, language: str) -> bool:
    """Whether a metric has rules for a language."""
    return _known(name)[0] not in (f1_mlqa, exact_match_mlqa) or language in MLQA_LANGUAGES


def illegal(prediction: str, labels: Sequence[str], context: str = "") -> str:
    """What makes a prediction no possible answer, or "" for a possible one.

    "not-a-label" where the task has labels and it is none of them. Otherwise, where it is no stretch of the context, or blank:
    "wrong-script" if it has letters and none of a script in which a tenth of the context's letters are written, else
    "not-in-context". Where kana are that common, Han and both kinds of kana are one script, as Japanese mixes them.
    """
    if labels:
        return "" if prediction in labels else "not-a-label"
    if prediction.strip() and prediction in context:
        return ""
    scripts = Counter(filter(None, map(script, context)))
    common = {name for name, count in scripts.items() if 10 * count >= scripts.total()}
    common |= _JAPANESE if common & _KANA else set()
    used = set(filter(None, map(script, prediction)))
    return "wrong-script" if used and common and not used & common else "not-in-context"


_KANA = frozenset(("HIRAGANA", "KATAKANA"))
_JAPANESE = _KANA | {"CJK", "IDEOGRAPHIC", "KATAKANA-HIRAGANA"}


def _known(name: str) -> tuple[Metric, str]:
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


# ------------------------------------------------------------------------------ scoring


def _exact(tokens: Tokens, prediction: str, answers: Sequence[str], language: str) -> float:
    found = " ".join(tokens(prediction, language))
    return float(any(found == " ".join(tokens(answer, language)) for answer in _some(answers)))


def _f1(tokens: Tokens, prediction: str, answers: Sequence[str], language: str) -> float:
    found = tokens(prediction, language)
    return max(_overlap(found, tokens(answer, language)) for answer in _some(answers))


def _some(answers: Sequence[str]) -> Sequence[str]:
    if not answers:
        raise DataError("an example has no answers, so no prediction can be scored; give at least one")
    return answers


def _overlap(found: Sequence[str], wanted: Sequence[str]) -> float:
    """F1 of two bags of tokens; 0 where they share none, also where both are empty, as the scorer has it."""
    same = (Counter(found) & Counter(wanted)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


# ------------------------------------------------------------------------------ normalization

_REMEMBERED = 2**14  # texts: every checkpoint and metric is scored on the same answers
_NO_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")


@functools.lru_cache(maxsize=_REMEMBERED)
def _squad(text: str, language: str) -> tuple[str, ...]:
    """Lower case; no ASCII punctuation; no a, an, the; split at white space."""
    return tuple(_ENGLISH_ARTICLES.sub(" ", text.lower().translate(_NO_ASCII_PUNCTUATION)).split())


@functools.lru_cache(maxsize=_REMEMBERED)
def _by_script(text: str, language: str) -> tuple[str, ...]:
    return tuple(token for word in _squad(text, language) for token in _characters(word))


def _characters(word: str) -> list[str]:
    """The word cut into characters of scripts without spaces, each with the marks on it, and stretches of other scripts."""
    tokens: list[str] = []
    alone = True  # whether the next character begins a token
    for character in word:
        marks = unicodedata.combining(character) or unicodedata.category(character)[0] == "M"
        if tokens and marks:
            tokens[-1] += character
        elif is_unspaced(character) or alone or not tokens:
            tokens.append(character)
            alone = is_unspaced(character)
        else:
            tokens[-1] += character
    return tokens


_MLQA_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": "",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "ال",  # its expression deletes the article anywhere, inside words too
    "zh": "",
}
MLQA_LANGUAGES = tuple(_MLQA_ARTICLES)
_HAN = re.compile(r"[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")


@functools.lru_cache(maxsize=_REMEMBERED)
def _mlqa(text: str, language: str) -> tuple[str, ...]:
    """Lower case; no punctuation of any script; no articles of the language; Chinese by characters, else split at white space."""
    if language not in _MLQA_ARTICLES:
        raise DataError(f"MLQA has no rules for the language {language!r}; possible: {', '.join(MLQA_LANGUAGES)}")
    bare = "".join(c for c in text.lower() if c not in string.punctuation and not unicodedata.category(c).startswith("P"))
    articles = _MLQA_ARTICLES[language]
    words = (re.sub(articles, " ", bare) if articles else bare).split()
    return tuple(words) if language != "zh" else tuple(token for word in words for token in _HAN.findall(word))
