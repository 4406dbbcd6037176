"""Sliding windows: those that transformers cuts, every token in one of them, and every gold answer found again in every script."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from xfer_ray.errors import DataError, DeclarationError, SetupError
from xfer_ray.models.characters import covered
from xfer_ray.models.windows import Windows, answer_columns, cuts, windowed
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Example, Examples

RECIPE = Recipe(learning_rate=3e-5, batch_size=32, epochs=1, max_length=384)
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


def xquad(mirror: Path, language: str, rows: int | None = None) -> Examples:
    table = pyarrow.parquet.read_table(mirror / f"google/xquad/xquad.{language}/validation-00000-of-00001.parquet")
    return Examples(
        tuple(
            Example(row["id"], row["question"], row["context"], tuple(row["answers"]["text"]), tuple(row["answers"]["answer_start"]))
            for row in table.slice(0, rows).to_pylist()
        )
    )


def texts(mirror: Path) -> list[str]:
    return list(dict.fromkeys(item.second for language in LANGUAGES for item in xquad(mirror, language, 40)))


def sentencepiece(text: list[str]) -> PreTrainedTokenizerFast:
    """A small vocabulary in the manner of XLM-R's: normalized by NFKC, a mark for the space before each word, one segment."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend.train_from_iterator(text, trainers.UnigramTrainer(vocab_size=2500, special_tokens=special, unk_token="<unk>"))
    return _roberta(backend)


def bytes_of(text: list[str]) -> PreTrainedTokenizerFast:
    """A small vocabulary of bytes in the manner of RoBERTa's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend.train_from_iterator(text, trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, special_tokens=special))
    return _roberta(backend)


def _roberta(backend: Tokenizer) -> PreTrainedTokenizerFast:
    marks = [(mark, backend.token_to_id(mark)) for mark in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=marks)
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, mask_token="<mask>", model_input_names=["input_ids", "attention_mask"], **names
    )


def uncased(text: list[str]) -> PreTrainedTokenizerFast:
    """A small vocabulary in the manner of BERT's uncased ones: lower case, without accents."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(text, trainers.WordPieceTrainer(vocab_size=3000, special_tokens=special))
    marks = [(mark, backend.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


KINDS = {"sentencepiece": sentencepiece, "bytes": bytes_of, "uncased": uncased}


@pytest.fixture(scope="module")
def tokenizers(mirror) -> dict[str, PreTrainedTokenizerFast]:
    made = {name: make(texts(mirror)) for name, make in KINDS.items()}
    return {"mbert": AutoTokenizer.from_pretrained(mirror / "google-bert/bert-base-multilingual-cased"), **made}


def rows_of(windows: Windows, number: int) -> list[int]:
    return np.flatnonzero(windows.example == number).tolist()


def text_at(windows: Windows, row: int, columns: np.ndarray, context: str) -> str:
    first, last = columns + windows.first[row] - windows.column[row]
    return context[windows.characters[first, 0] : windows.characters[last, 1]]


# ------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("kind", ["mbert", *KINDS])
@pytest.mark.parametrize("language", ["en", "zh", "th", "ar", "hi"])
def test_windows_are_those_of_transformers(mirror, tokenizers, tmp_path, kind, language):
    tokenizer, examples = tokenizers[kind], xquad(mirror, language, 40)
    recipe = replace(RECIPE, max_length=160, doc_stride=48, max_query_length=100)
    windows = windowed(tokenizer, examples, recipe, tmp_path)
    for number, item in enumerate(examples):
        question = len(tokenizer(item.first, add_special_tokens=False)["input_ids"])
        room = 160 - question - tokenizer.num_special_tokens_to_add(pair=True)
        theirs = tokenizer(
            item.first,
            item.second,
            truncation="only_second",
            max_length=160,
            stride=room - 48,  # the overlap, where ours is the step
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        mine = rows_of(windows, number)
        assert question <= 100
        assert len(mine) == len(theirs["input_ids"])
        for row, ids, offsets in zip(mine, theirs["input_ids"], theirs["offset_mapping"], strict=True):
            assert windows.ids[windows.offsets[row] : windows.offsets[row + 1]].tolist() == ids
            begin, size, first = windows.column[row], windows.size[row], windows.first[row]
            assert begin + size + 1 == len(ids)
            assert (windows.characters[first : first + size] == covered(item.second, offsets[begin : begin + size])).all()
        if "token_type_ids" in tokenizer.model_input_names:
            assert [types.index(1) for types in theirs["token_type_ids"]] == windows.seconds[mine].tolist()
        else:
            assert [len(ids) for ids in theirs["input_ids"]] == windows.seconds[mine].tolist()
    assert len(windows) > 2 * len(examples)


def test_a_step_and_who_has_the_most_context():
    assert cuts(7, 4, 2) == ((0, 4, 0, 3), (2, 4, 1, 3), (4, 3, 1, 3))
    assert cuts(4, 4, 2) == ((0, 4, 0, 4),)
    assert cuts(5, 2, 9) == ((0, 2, 0, 2), (2, 2, 0, 2), (4, 1, 0, 1))  # a step longer than a window leaves no gap


def _has_most_context(windows: list[tuple[int, int]], mine: int, position: int) -> bool:
    """The rule of run_squad.py, in its own numbers."""
    worth = {
        index: min(position - start, start + size - 1 - position) + 0.01 * size
        for index, (start, size) in enumerate(windows)
        if start <= position < start + size
    }
    return mine == max(worth, key=lambda index: (round(worth[index], 6), -index))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 300), st.integers(1, 150), st.integers(1, 160))
def test_each_token_is_owned_by_the_window_that_run_squad_would_say(length, room, step):
    planned = cuts(length, room, step)
    windows = [(start, size) for start, size, _, _ in planned]
    assert windows[0][0] == 0
    assert sum(windows[-1]) == length
    assert all(later[0] - earlier[0] == min(step, room) for earlier, later in zip(windows, windows[1:], strict=False))
    owned = [(index, start + place) for index, (start, _, low, high) in enumerate(planned) for place in range(low, high)]
    assert [position for _, position in owned] == list(range(length))
    assert all(_has_most_context(windows, index, position) for index, position in owned)


def test_a_long_question_is_cut(tokenizers, tmp_path):
    item = Example("q", "why " * 100, "because it is so", ("so",), (14,))
    windows = windowed(tokenizers["mbert"], [item], RECIPE, tmp_path)
    assert windows.column.tolist() == [66]  # [CLS], 64 tokens, [SEP]
    assert windows.ids[1:65].tolist() == tokenizers["mbert"]("why " * 64, add_special_tokens=False)["input_ids"]


def test_a_context_longer_than_any_window_is_in_them_whole(mirror, tokenizers, tmp_path):
    context = " ".join(dict.fromkeys(item.second for item in xquad(mirror, "th", 300)))
    windows = windowed(tokenizers["mbert"], [Example("long", "ทำไม", context, ())], RECIPE, tmp_path)
    whole = tokenizers["mbert"](context, add_special_tokens=False, verbose=False)["input_ids"]
    back = [
        windows.ids[windows.offsets[row] + windows.column[row] + place]
        for row in range(len(windows))
        for place in range(windows.owned_from[row], windows.owned_to[row])
    ]
    assert back == whole
    assert len(whole) > 20_000
    assert windows.tokens.lengths.max() == 384


# ------------------------------------------------------------------------------ answers

# Golds of XQuAD that are not spans of mBERT's tokens: they begin or end within a number or a word.
INEXACT = {"ar": 3, "de": 0, "el": 1, "en": 1, "es": 1, "hi": 2, "ro": 0, "ru": 0, "th": 2, "tr": 3, "vi": 1, "zh": 0}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_gold_of_xquad_is_found_again(mirror, tokenizers, tmp_path, language):
    examples = xquad(mirror, language)
    windows = windowed(tokenizers["mbert"], examples, RECIPE, tmp_path)
    columns, absent = answer_columns(windows, examples)
    assert absent.tolist() == []
    inexact = set()
    for row in np.flatnonzero(columns[:, 0]):
        item = examples[int(windows.example[row])]
        found = text_at(windows, row, columns[row], item.second)
        assert item.answers[0] in found
        if found != item.answers[0]:
            inexact.add(item.id)
            for side, shorter in ((0, columns[row] + (1, 0)), (1, columns[row] - (0, 1))):  # the smallest that covers it
                assert columns[row, 0] == columns[row, 1] or item.answers[0] not in text_at(windows, row, shorter, item.second), side
    assert len(examples) == 1190
    assert len(inexact) == INEXACT[language]


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("language", ["ar", "el", "hi", "th", "vi", "zh"])
def test_golds_are_found_again_by_other_kinds_of_tokens(mirror, tokenizers, tmp_path, kind, language):
    examples = xquad(mirror, language, 100)
    windows = windowed(tokenizers[kind], examples, RECIPE, tmp_path)
    columns, _ = answer_columns(windows, examples)
    rows = np.flatnonzero(columns[:, 0])
    golds = [examples[int(windows.example[row])].answers[0] for row in rows]
    found = [text_at(windows, row, columns[row], examples[int(windows.example[row])].second) for row in rows]
    assert all(gold in text and text == text.strip() for gold, text in zip(golds, found, strict=True))
    exact = sum(gold == text for gold, text in zip(golds, found, strict=True)) / len(rows)
    assert exact > (0.98 if kind != "sentencepiece" else 0.75)  # its pieces may join words, most of all in Chinese


def _one(tokenizer, tmp_path, context: str, answer: str, recipe: Recipe = RECIPE) -> list[str]:
    """What each window that holds it teaches as the answer."""
    item = Example("one", "?", context, (answer,), (context.index(answer),))
    windows = windowed(tokenizer, [item], recipe, tmp_path)
    columns, _ = answer_columns(windows, [item])
    return [text_at(windows, row, columns[row], context) for row in np.flatnonzero(columns[:, 0])]


@pytest.mark.parametrize("kind", ["mbert", *KINDS])
@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("Das Cafe\u0301 in Ko\u0308ln ist zu.", "Cafe\u0301"),  # NFD
        ("Das Café in Köln ist zu.", "Köln"),  # NFC
        ("Thủ đô là Hà Nội đấy.", "Hà Nội"),
        ("Η Αθήνα είναι πόλη.", "Αθήνα"),
        ("यह नदी हिन्दी में है।", "हिन्दी"),
        ("قال مُحَمَّدٌ ذلك", "مُحَمَّدٌ"),
        ("כתב \u200fשלום\u200f אמר", "שלום"),  # right-to-left marks around it
        ("อยู่ที่ น้ำ ครับ", "น้ำ"),
        ("答案 是 北京 。", "北京"),
        ("I like 👍🏽 a lot 𝒳 here", "👍🏽"),
        ("I like 👍🏽 a lot 𝒳 here", "𝒳"),
        ("한국 \u1112\u1161\u11ab 은", "\u1112\u1161\u11ab"),  # decomposed Hangul
        ("a\u00a0 \tb  c", "b"),
        ("İstanbul ve Iğdır", "İstanbul"),
    ],
)
def test_an_answer_keeps_its_accents_marks_and_nothing_else(tokenizers, tmp_path, kind, context, answer):
    assert _one(tokenizers[kind], tmp_path, context, answer) == [answer]


def test_white_space_around_a_gold_is_no_part_of_it(tokenizers, tmp_path):
    for tokenizer in tokenizers.values():
        assert _one(tokenizer, tmp_path, "in the  old \n town", "  old \n") == ["old"]


def test_what_tokens_cover():
    assert covered("cafe\u0301 x", [(0, 4), (5, 7)]).tolist() == [[0, 5], [6, 7]]
    assert covered(" a  b ", [(0, 2), (2, 3), (2, 5), (5, 6)]).tolist() == [[1, 2], [3, 3], [4, 5], [6, 6]]
    assert covered("e\u0301e", [(0, 1), (1, 2), (2, 3)]).tolist() == [[0, 2], [0, 2], [2, 3]]
    assert covered("\u0301 \u0301a", [(0, 1), (2, 3), (3, 4)]).tolist() == [[0, 1], [2, 3], [3, 4]]  # a mark after nothing, and a space
    assert covered("👩\u200d💻!", [(0, 1), (2, 3), (3, 4)]).tolist() == [[0, 3], [0, 3], [3, 4]]
    assert covered("\u200fab\u200b\ufeff", [(0, 3), (3, 5)]).tolist() == [[1, 3], [5, 5]]  # what is never seen
    assert covered("a\u200d b", [(0, 2), (3, 4)]).tolist() == [[0, 2], [3, 4]]  # a joiner joins no space
    assert covered("", []).tolist() == []


def test_an_answer_that_no_window_holds_is_told(tokenizers, tmp_path):
    words = " ".join(str(i % 10) for i in range(100))
    recipe = replace(RECIPE, max_length=44, doc_stride=8, max_query_length=1)  # windows of 40 tokens, so 33 are always in one
    items = [Example("held", "?", words, (words[20:85],), (20,)), Example("longer", "?", words, (words[20:97],), (20,))]
    windows = windowed(tokenizers["mbert"], items, recipe, tmp_path)
    columns, absent = answer_columns(windows, items)
    assert [len(rows_of(windows, number)) for number in (0, 1)] == [9, 9]
    assert columns[:9].tolist() == [[0, 0], [3 + 2, 3 + 34], *[[0, 0]] * 7]
    assert absent.tolist() == [1]
    assert not columns[9:].any()


# ------------------------------------------------------------------------------ wrong input

GOOD = Example("q7", "Who?", "Ada wrote it in Köln.", ("Köln",), (16,))


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (replace(GOOD, answers=(), starts=()), "example 'q7' has no answer; extractive training needs one that stands in the context"),
        (replace(GOOD, starts=()), "example 'q7' has 1 answers and 0 starts; give one start for each answer"),
        (
            replace(GOOD, second="Ädä wrote it in Köln.", starts=(18,)),  # counted in bytes
            "example 'q7' has 'ln.' at character 18 of its context and not its answer 'Köln'; "
            "starts count characters, not bytes, of the very same text",
        ),
        (
            replace(GOOD, answers=("Ko\u0308ln",)),  # NFD beside NFC
            "example 'q7' has 'Köln.' at character 16 of its context and not its answer 'Ko\u0308ln'; "
            "starts count characters, not bytes, of the very same text",
        ),
        (
            replace(GOOD, starts=(-5,)),
            "example 'q7' has '' at character -5 of its context and not its answer 'Köln'; starts count characters, not bytes, of the very same text",
        ),
        (replace(GOOD, answers=(" ",), starts=(3,)), "example 'q7' has an answer without text: ' '; give a span with a letter or digit"),
        (replace(GOOD, answers=("",), starts=(3,)), "example 'q7' has an answer without text: ''; give a span with a letter or digit"),
    ],
)
def test_an_answer_that_is_not_there_is_refused(tokenizers, tmp_path, item, sentence):
    windows = windowed(tokenizers["mbert"], [item], RECIPE, tmp_path)
    with pytest.raises(DataError) as error:
        answer_columns(windows, [item])
    assert str(error.value) == sentence


@pytest.mark.parametrize("context", ["", "   ", " \n\u00a0\t"])
def test_a_context_without_text_is_refused(tokenizers, tmp_path, context):
    for tokenizer in tokenizers.values():
        with pytest.raises(DataError) as error:
            windowed(tokenizer, [GOOD, Example("bare", "Who?", context, ())], RECIPE, tmp_path)
        assert str(error.value) == f"example 'bare' has a context from which no answer can be cut: {context!r}"


def test_lengths_that_leave_no_room_are_refused(tokenizers, tmp_path):
    with pytest.raises(DeclarationError) as error:
        windowed(tokenizers["mbert"], [GOOD], replace(RECIPE, max_length=67), tmp_path)
    assert str(error.value) == (
        "max_length 67 leaves no room for a context beside max_query_length 64 and 3 special tokens; "
        "give at least 68, or a smaller max_query_length"
    )
    assert len(windowed(tokenizers["mbert"], [GOOD], replace(RECIPE, max_length=68), tmp_path)) == 1


def test_a_tokenizer_without_offsets_is_refused(tmp_path):
    from transformers import CanineTokenizer

    with pytest.raises(SetupError) as error:
        windowed(CanineTokenizer(), [GOOD], RECIPE, tmp_path)
    assert str(error.value) == (
        "the tokenizer CanineTokenizer does not say which characters a token covers, so no answer can be cut from a context; "
        "give a checkpoint with a fast tokenizer (a tokenizer.json)"
    )


# ------------------------------------------------------------------------------ the store


def test_the_same_windows_are_made_once_and_any_other_setting_makes_new_ones(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny.bert(tmp_path / "bert"))
    cache, recipe = tmp_path / "cache", replace(RECIPE, max_length=32, doc_stride=8, max_query_length=8)
    examples = Examples((GOOD, replace(GOOD, id="q8", first="What?")))

    def stored() -> set[int]:
        return {path.stat().st_ino for path in cache.rglob("*.npy")}

    windows = windowed(tokenizer, examples, recipe, cache)
    once = stored()
    again = windowed(tokenizer, list(examples), replace(recipe, n_best=3, epochs=7), cache)
    assert stored() == once
    assert again.ids.tolist() == windows.ids.tolist()
    assert len(windows.characters) == 6  # both have one context
    assert windows.contexts.tolist() == [[0, 6], [0, 6]]
    for other in (replace(recipe, max_length=33), replace(recipe, doc_stride=9), replace(recipe, max_query_length=9)):
        windowed(tokenizer, examples, other, cache)
    windowed(tokenizer, examples[:1], recipe, cache)
    windowed(AutoTokenizer.from_pretrained(tiny.xlmr(tmp_path / "xlmr")), examples, recipe, cache)
    assert len(stored()) == 6 * len(once)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer.json").read_text())["truncation"] is None
    assert len(windowed(tokenizer, [], recipe, cache)) == 0
