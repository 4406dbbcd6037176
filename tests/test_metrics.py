"""Metrics against other people's code, against a second implementation, against printed shares, and on literals."""

import importlib
import itertools
import string
import sys
import unicodedata
from collections import Counter

import pandas as pd
import pytest
import torch

from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.metrics import METRICS, MLQA_LANGUAGES, illegal, is_defined, metric, version
from xfer_ray.tasks import TASKS
from xfer_ray.text import pad

XQUAD = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


def golds(mirror, language: str) -> list[tuple[str, ...]]:
    """The answers to each question of XQuAD, or of SQuAD's validation set."""
    name = f"google/xquad/xquad.{language}" if language != "squad" else "rajpurkar/squad/plain_text"
    frame = pd.read_parquet(mirror / name / "validation-00000-of-00001.parquet")
    return [tuple(found["text"]) for found in frame["answers"]]


def said(questions: list[tuple[str, ...]], number: int, ways: int) -> list[str]:
    """What a model might say to a question: so many of nine ways, others for the next question."""
    text, other = questions[number][-1], questions[(number * 31 + 7) % len(questions)][0]
    nine = [
        text,
        text[: len(text) // 2 + 1],
        f"{text} {other}",
        other,
        f"«{text}». ,",
        f"The {text}, a",
        "",
        text.upper(),
        unicodedata.normalize("NFD", text),
    ]
    return [nine[(number + 4 * way) % 9] for way in range(ways)]


# ------------------------------------------------------------------------------ SQuAD 1.1


@pytest.fixture
def double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def published(prediction: str, answers: tuple[str, ...]) -> tuple[float, float]:
    """F1 and exact match of torchmetrics 1.9, which follows SQuAD 2 where both sides are empty; SQuAD 1.1 gives F1 0 there."""
    squad = importlib.import_module("torchmetrics.functional.text.squad")
    empty = not squad._get_tokens(prediction)
    found, distinct = squad._metric_max_over_ground_truths, list(dict.fromkeys(answers))
    f1 = 0.0 if empty else float(found(squad._compute_f1_score, prediction, distinct))
    return f1, float(found(squad._compute_exact_match_score, prediction, distinct))


@pytest.mark.parametrize("language", ["squad", *XQUAD])
def test_squad_metrics_equal_a_published_implementation_to_the_last_digit(mirror, double_precision, language):
    f1, exact_match = metric("f1"), metric("exact_match")
    questions = golds(mirror, language)
    assert len(questions) == (10_570 if language == "squad" else 1_190)
    values = Counter()
    for number, answers in enumerate(questions):
        for prediction in said(questions, number, 2 if language == "squad" else 4):
            ours = f1(prediction, answers, language), exact_match(prediction, answers, language)
            assert ours == published(prediction, answers), (prediction, answers)
            values[ours] += 1
    assert len(values) > 20  # not only 0 and 1


def test_two_empty_texts_are_an_exact_match_without_overlap():
    assert metric("exact_match")("", (".",), "en") == 1.0
    assert metric("f1")("", (".",), "en") == 0.0
    assert metric("f1")("the", ("a",), "en") == 0.0


@pytest.mark.parametrize(
    ("prediction", "answers", "f1", "exact"),
    [
        ("The Eiffel Tower!", ("eiffel tower",), 1.0, 1.0),
        ("Eiffel", ("Eiffel Tower", "Tower"), 2 / 3, 0.0),
        ("Tower", ("Eiffel Tower", "Tower"), 1.0, 1.0),
        ("non-ASCII", ("nonASCII",), 1.0, 1.0),  # punctuation is deleted, no space put
        ("the the tower", ("tower",), 1.0, 1.0),
        ("«Tower»", ("Tower",), 0.0, 0.0),  # ASCII punctuation only
        ("北京", ("北京大学",), 0.0, 0.0),
        ("der Turm", ("Turm",), 2 / 3, 0.0),  # English articles only
        ("a b b", ("b b c",), 0.8, 0.0),
        ("cafe\u0301", ("café",), 0.0, 0.0),
    ],
)
def test_squad_metrics_on_literals(prediction, answers, f1, exact):
    assert metric("f1")(prediction, answers, "xx") == pytest.approx(f1, abs=1e-15)
    assert metric("exact_match")(prediction, answers, "xx") == exact


# ------------------------------------------------------------------------------ padding


def test_padded_metrics_split_at_punctuation():
    assert metric("f1")("1,000", ("1.000",), "de") == 1.0
    assert metric("f1")("U.S.", ("US",), "en") == 1.0
    assert metric("f1_padded")("U.S.", ("US",), "en") == 0.0
    assert metric("f1_padded")("U.S. troops", ("U.S.",), "en") == pytest.approx(0.8)
    assert metric("f1_padded")("«Tower»", ("« Tower »",), "en") == 1.0
    assert metric("exact_match_padded")("«Tower»", ("« Tower »",), "en") == 1.0
    assert metric("exact_match")("«Tower»", ("« Tower »",), "en") == 0.0


@pytest.mark.parametrize(
    ("language", "percent"),
    [("zh", 21.3), ("tr", 17.1), ("de", 11.7), ("en", 10.9), ("ru", 10.9), ("hi", 9.5), ("el", 9.1), ("vi", 8.0), ("th", 7.2), ("es", 4.7), ("ar", 6.6)],
)  # fmt: skip
def test_the_share_of_answers_that_padding_cuts_into_other_tokens(mirror, language, percent):
    answers = golds(mirror, language)
    changed = sum(metric("f1")(pad(gold), (gold,), language) != 1.0 for (gold,) in answers)
    assert 100 * changed / len(answers) == pytest.approx(percent, abs=0.0501)


@pytest.mark.parametrize(("language", "percent"), [("th", 69.8), ("zh", 92.3)])
def test_the_share_of_answers_that_are_one_token_to_the_english_scorer(mirror, language, percent):
    answers = golds(mirror, language)
    single = sum(metric("f1")(f"{gold} zzz", (gold,), language) == pytest.approx(2 / 3) for (gold,) in answers)
    assert 100 * single / len(answers) == pytest.approx(percent, abs=0.0501)
    # Characters of the script tell a half answer from a wrong one.
    halves = [(gold[: len(gold) // 2], gold) for (gold,) in answers if len(gold) >= 4]
    means = [sum(metric(name)(half, (gold,), language) for half, gold in halves) / len(halves) for name in ("f1", "f1_script")]
    assert means[0] < 0.35 < 0.5 < means[1]


# ------------------------------------------------------------------------------ MLQA


PUNCTUATION = {chr(i) for i in range(sys.maxunicode) if unicodedata.category(chr(i))[0] == "P"} | set(string.punctuation)
ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "hi": "",
    "vi": "của là cái chiếc những",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "ar": "",
    "zh": "",
}


def mlqa_tokens(text: str, language: str) -> list[str]:
    """MLQA's normalization by runs of characters instead of expressions."""
    kept = [c for c in text.lower() if c not in PUNCTUATION]
    runs = ["".join(run) for _, run in itertools.groupby(kept, key=lambda c: c.isalnum() or c == "_")]
    text = "".join(" " if run in ARTICLES[language].split() else run for run in runs)
    text = " ".join(text.split("ال")) if language == "ar" else text
    if language == "zh":
        text = "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in text)
    return text.split()


def mlqa_f1(prediction: str, gold: str, language: str) -> float:
    rest, wanted = mlqa_tokens(gold, language), mlqa_tokens(prediction, language)
    pool, same = list(rest), 0
    for token in wanted:
        if token in pool:
            pool.remove(token)
            same += 1
    return 0.0 if not same else 2 * same / (len(wanted) + len(rest))


@pytest.mark.parametrize("language", MLQA_LANGUAGES)
def test_mlqa_metrics_equal_a_second_implementation(mirror, language):
    questions = golds(mirror, language)
    for number, answers in enumerate(questions):
        for prediction in said(questions, number, 4):
            several = (*answers, questions[number - 1][0])
            f1 = max(mlqa_f1(prediction, gold, language) for gold in several)
            exact = any(mlqa_tokens(prediction, language) == mlqa_tokens(gold, language) for gold in several)
            assert metric("f1_mlqa")(prediction, several, language) == pytest.approx(f1, abs=1e-12), (prediction, several)
            assert metric("exact_match_mlqa")(prediction, several, language) == float(exact), (prediction, several)


@pytest.mark.parametrize(
    ("language", "prediction", "gold", "f1", "exact"),
    [
        ("en", "the «Tower»", "Tower", 1.0, 1.0),
        ("en", "der Turm", "Turm", 2 / 3, 0.0),
        ("es", "Las torres", "¿torres?", 1.0, 1.0),
        ("es", "the torres", "torres", 2 / 3, 0.0),
        ("hi", "दिल्ली।", "दिल्ली", 1.0, 1.0),
        ("hi", "the दिल्ली", "दिल्ली", 2 / 3, 0.0),
        ("vi", "những ngôi nhà", "ngôi nhà của", 1.0, 1.0),
        ("vi", "nhà", "ngôi nhà", 2 / 3, 0.0),
        ("de", "Einer der Türme", "„Türme“", 1.0, 1.0),
        ("de", "derTurm", "Turm", 0.0, 0.0),  # whole words
        ("ar", "القاهرة", "قاهرة", 1.0, 1.0),
        ("ar", "مالك", "م ك", 1.0, 1.0),  # deleted inside words too
        ("zh", "北京。", "北京大学", 2 / 3, 0.0),
        ("zh", "《北京 大学》", "北京大学", 1.0, 1.0),
        ("zh", "iPhone手机", "iphone 手机", 1.0, 1.0),
    ],
)
def test_mlqa_metrics_on_literals(language, prediction, gold, f1, exact):
    assert metric("f1_mlqa")(prediction, (gold,), language) == pytest.approx(f1, abs=1e-15)
    assert metric("exact_match_mlqa")(prediction, (gold,), language) == exact


def test_mlqa_has_rules_for_seven_languages_only():
    assert [is_defined("f1_mlqa", language) for language in ("en", "es", "hi", "vi", "de", "ar", "zh", "ru", "th")] == [True] * 7 + [
        False
    ] * 2
    assert all(is_defined(name, "th") is (name not in ("f1_mlqa", "exact_match_mlqa")) for name in METRICS)
    with pytest.raises(DataError) as refused:
        metric("f1_mlqa")("x", ("x",), "ru")
    assert str(refused.value) == "MLQA has no rules for the language 'ru'; possible: en, es, hi, vi, de, ar, zh"


# ------------------------------------------------------------------------------ by script


@pytest.mark.parametrize(
    ("prediction", "gold", "f1"),
    [
        ("北京", "北京大学", 2 / 3),
        ("北京，大学", "北京大学", 8 / 9),  # full-width punctuation is a token, as everything that SQuAD's rules keep
        ("東京", "東京タワー", 4 / 7),
        ("二〇〇八年", "二〇〇九年", 0.8),
        ("ｶﾀｶﾅ", "ｶﾀ", 2 / 3),
        ("สิบ", "สิบปี", 0.8),  # สิ บ and สิ บ ปี
        ("นำ", "น้ำ", 0.5),  # without its tone mark a letter is another
        ("๒๕๖๐", "๒๕๖๑", 0.0),  # a number is one word
        ("ປີ", "ສິບປີ", 0.5),
        ("iPhone手机", "iphone 手机", 1.0),
        ("iPhone 手机", "iPhone", 0.5),
        ("Eiffel", "the Eiffel Tower", 2 / 3),
        ("서울", "서울특별시", 0.0),  # Hangul has spaces
        ("", "北京", 0.0),
    ],
)
def test_f1_by_script(prediction, gold, f1):
    assert metric("f1_script")(prediction, (gold,), "xx") == pytest.approx(f1, abs=1e-12)
    assert metric("f1_script")(gold, (prediction or "x",), "xx") == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize("language", [language for language in XQUAD if language not in ("th", "zh")])
def test_f1_by_script_is_f1_where_a_text_has_no_such_script(mirror, language):
    questions = golds(mirror, language)
    for number, answers in enumerate(questions):
        for prediction in said(questions, number, 2):
            if not any("\u2e80" < c < "\ufb00" or "\u0e00" <= c < "\u0f00" for c in prediction + answers[0]):
                assert metric("f1_script")(prediction, answers, language) == metric("f1")(prediction, answers, language)


# ------------------------------------------------------------------------------ labels, legality, names


def test_accuracy_is_one_for_any_of_the_answers_and_zero_otherwise():
    accuracy = metric("accuracy")
    assert accuracy("neutral", ("neutral",), "de") == 1.0
    assert accuracy("neutral", ("entailment", "neutral"), "de") == 1.0
    assert accuracy("Neutral", ("neutral",), "de") == 0.0
    assert accuracy("", ("neutral",), "de") == 0.0


@pytest.mark.parametrize("name", METRICS)
def test_an_example_without_answers_is_refused(name):
    with pytest.raises(DataError) as refused:
        metric(name)("yes", (), "en")
    assert str(refused.value) == "an example has no answers, so no prediction can be scored; give at least one"


def test_a_prediction_that_is_no_label_is_illegal():
    labels = ("different_meaning", "paraphrase")
    assert illegal("paraphrase", labels) == ""
    assert illegal("paraphras", labels) == "not-a-label"
    assert illegal("", labels) == "not-a-label"


JAPANESE = "東京タワーは東京にあるラジオ塔です。"


@pytest.mark.parametrize(
    ("prediction", "context", "kind"),
    [
        ("Эйфелева", "Эйфелева башня", ""),
        ("Эйфель", "Эйфелева башня", "not-in-context"),
        ("Eiffel", "Эйфелева башня", "wrong-script"),
        ("Eiffelева", "Эйфелева башня", "not-in-context"),  # some letters are right
        ("Eiffel", "Эйфелева башня Eiffel", ""),
        ("Tower", "башня, Eiffel", "not-in-context"),  # Latin letters are common there
        ("Tower", "Эйфелева башня в Париже, Франция, MIT и не только", "wrong-script"),  # fewer than a tenth
        ("", "Эйфелева башня", "not-in-context"),
        (" ", "Эйфелева башня", "not-in-context"),
        ("1889", "Эйфелева башня", "not-in-context"),
        ("東京", JAPANESE, ""),
        ("大阪", JAPANESE, "not-in-context"),
        ("カナ", JAPANESE, "not-in-context"),
        ("々ー", JAPANESE, "not-in-context"),
        ("서울", JAPANESE, "wrong-script"),
        ("東京", "ラジオです", "not-in-context"),
        ("カナ", "北京大学", "wrong-script"),  # no kana in Chinese
        ("ABC", "full-width ＡＢＣ", "not-in-context"),
        ("ＡＢＣ", "башня", "wrong-script"),
        ("Eiffel", "1889, 1890", "not-in-context"),  # a context without letters
        ("Eiffel", "", "not-in-context"),
    ],
)
def test_what_makes_an_answer_to_a_question_illegal(prediction, context, kind):
    assert illegal(prediction, (), context) == kind


def test_every_metric_has_a_version_and_every_task_names_known_metrics():
    assert all(version(name) for name in METRICS)
    assert {name for task in TASKS for name in task.metrics} <= set(METRICS)


def test_an_unknown_metric_is_refused_with_a_hint():
    names = "accuracy, exact_match, f1, exact_match_padded, f1_padded, exact_match_mlqa, f1_mlqa, f1_script"
    for ask in (metric, version):
        with pytest.raises(DeclarationError) as refused:
            ask("acuracy")
        assert str(refused.value) == f"no metric 'acuracy'; did you mean 'accuracy'? Possible: {names}"
    with pytest.raises(DeclarationError) as refused:
        is_defined("bleu", "en")
    assert str(refused.value) == f"no metric 'bleu'. Possible: {names}"
