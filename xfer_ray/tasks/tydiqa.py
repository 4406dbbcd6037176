"""TyDi QA, gold passage: extractive question answering in 9 languages, each asked and answered in its own (Clark et al. 2020).

Its test set is private, so models are evaluated on its validation set (§7 of Turc et al. 2021).
"""

from dataclasses import replace

from xfer_ray.core import Task
from xfer_ray.sources import Corpus
from xfer_ray.tasks.qa import PROMPT, HubQa, QaSets

_NAMES = {  # the order of Table 6
    "en": "english",
    "ru": "russian",
    "fi": "finnish",
    "ar": "arabic",
    "bn": "bengali",
    "id": "indonesian",
    "ko": "korean",
    "sw": "swahili",
    "te": "telugu",
}
_ORIGINALS = {language: Corpus(language) for language in _NAMES}
_ARABIC_ORDER = ("en", "ru", "ar", "bn", "fi", "id", "ko", "sw", "te")  # Table 8

TYDIQA_QUESTIONS = HubQa(
    repository="google-research-datasets/tydiqa",
    configuration="secondary_task",
    corpora=tuple(_ORIGINALS.values()),
    splits={"train": "train", "validation": "validation"},
    rows={
        "train": {  # from memory, but for en, ko and sw, which were counted; they sum to the 49,881 of the data card
            "ar": 14_805,
            "bn": 2_390,
            "en": 3_696,
            "fi": 6_855,
            "id": 5_702,
            "ko": 1_625,
            "ru": 6_490,
            "sw": 2_755,
            "te": 5_563,
        },
        "validation": {"ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565, "ko": 276, "ru": 812, "sw": 499, "te": 669},
    },
    prefixes=_NAMES,
)


def translations(origin: Corpus) -> tuple[Corpus, ...]:
    """English, German and Russian, machine-translated from one of the originals, in the order of Tables 6 and 8."""
    return tuple(Corpus(language, "MT", origin) for language in ("en", "de", "ru"))


TYDIQA = Task(
    name="tydiqa",
    sources=(*_ORIGINALS.values(), *translations(_ORIGINALS["fi"]), *translations(_ORIGINALS["ar"])),
    targets=tuple(_ORIGINALS.values()),
    load=QaSets(name="tydiqa", parts=(TYDIQA_QUESTIONS,)),
    prompt=PROMPT,
    eval_split="validation",
    metrics=("f1", "exact_match", "f1_padded", "exact_match_padded"),
    normalized=False,
    parallel=False,
    licence="Apache 2.0",
    citation="Clark et al. 2020, TyDi QA: A Benchmark for Information-Seeking Question Answering in Typologically Diverse Languages",
)


def _from(origin: str, order: tuple[str, ...]) -> Task:
    """What Tables 6 and 8 compare: an original and its translations, over the questions that all of them have."""
    sources = (*translations(_ORIGINALS[origin]), _ORIGINALS[origin])
    return replace(
        TYDIQA,
        name=f"tydiqa-{origin}",
        sources=sources,
        targets=tuple(_ORIGINALS[language] for language in order),
        load=QaSets(name="tydiqa", parts=(TYDIQA_QUESTIONS,), shared_by=sources),
        groups={"Other": tuple(language for language in order if language not in ("en", "ru", origin))},
        baseline=sources[0],  # as printed: the translation into English, not the English original
    )


TYDIQA_FI = _from("fi", tuple(_NAMES))
TYDIQA_AR = _from("ar", _ARABIC_ORDER)
