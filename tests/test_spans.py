"""Extractive question answering: equal to a plain loop over transformers' own model, in every script."""

import itertools
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_windows import KINDS, LANGUAGES, texts, xquad
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from xfer_ray.core import Task
from xfer_ray.errors import DataError, DeclarationError, XferRayError
from xfer_ray.models import encoder, spans, training
from xfer_ray.models.lessons import Run
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Example, Examples

TASK = Task(name="spans", sources=tiny.TASK.sources, targets=tiny.TASK.targets, load=tiny.TASK.load)
RECIPE = Recipe(learning_rate=1e-3, batch_size=8, steps=1, max_length=128, doc_stride=40, max_query_length=50, dropout=0.0)
TYDI = ("bengali", "korean", "telugu", "swahili", "finnish")
SIZE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.3}


@pytest.fixture(scope="module")
def real(mirror) -> Examples:
    """A few questions in seventeen languages and ten scripts."""
    found = [replace(item, id=f"{language}-{item.id}") for language in LANGUAGES for item in xquad(mirror, language, 60)[::12]]
    table = pyarrow.parquet.read_table(mirror / "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet")
    for language in TYDI:
        rows = [row for row in table.to_pylist() if row["id"].startswith(language)][:5]
        found += [
            Example(r["id"], r["question"], r["context"], tuple(r["answers"]["text"]), tuple(r["answers"]["answer_start"])) for r in rows
        ]
    return Examples(tuple(found))


def _random_bert(tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **SIZE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _random_xlmr(tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1, max_position_embeddings=258, **SIZE)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(mirror, tmp_path_factory) -> dict[str, Path]:
    """A random BERT with mBERT's vocabulary, and a random XLM-R with a small SentencePiece-like one."""
    folder = tmp_path_factory.mktemp("checkpoints")
    mbert = AutoTokenizer.from_pretrained(mirror / "google-bert/bert-base-multilingual-cased")
    return {
        "bert": _random_bert(mbert, folder / "bert"),
        "xlmr": _random_xlmr(KINDS["sentencepiece"](texts(mirror)), folder / "xlmr"),
        "uncased": _random_bert(KINDS["uncased"](texts(mirror)), folder / "uncased"),
    }


# ------------------------------------------------------------------------------ a plain reference


def _plain_windows(tokenizer, item: Example, recipe: Recipe):
    question = tokenizer(item.first, add_special_tokens=False)["input_ids"]
    assert len(question) <= recipe.max_query_length
    room = recipe.max_length - len(question) - tokenizer.num_special_tokens_to_add(pair=True)
    settings = {"truncation": "only_second", "max_length": recipe.max_length, "stride": room - recipe.doc_stride}
    batch = tokenizer(item.first, item.second, return_overflowing_tokens=True, return_offsets_mapping=True, **settings)
    for index, ids in enumerate(batch["input_ids"]):
        inputs = {"input_ids": torch.tensor([ids])}
        if "token_type_ids" in batch:
            inputs["token_type_ids"] = torch.tensor([batch["token_type_ids"][index]])
        context = {
            column: offsets
            for column, (owner, offsets) in enumerate(zip(batch.sequence_ids(index), batch["offset_mapping"][index], strict=True))
            if owner == 1
        }
        yield inputs, context, index * min(recipe.doc_stride, room)


def _plain_cut(text: str, start: int, end: int) -> str:
    """The text between two offsets, with the marks of its first and last letter, without white space and direction marks."""
    from unicodedata import category

    while start < end and (text[start].isspace() or text[start] in "\u200b\u200e\u200f\ufeff"):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in "\u200b\u200e\u200f\ufeff"):
        end -= 1
    mark = [category(c)[0] == "M" or c in "\u200c\u200d\u0e33" for c in text]
    while 0 < start < end and mark[start] and not text[start - 1].isspace():
        start -= 1
    while start < end < len(text) and mark[end]:
        end += 1
    return text[start:end]


def _plain_answer(model, tokenizer, item: Example, recipe: Recipe) -> str | None:
    """The best of the n best starts and ends of each window, one pair after another."""
    seen = list(_plain_windows(tokenizer, item, recipe))
    best, answer = -np.inf, None
    for number, (inputs, context, base) in enumerate(seen):
        with torch.no_grad():
            output = model(**inputs)
        first = min(context)
        text_at = [
            column for column, (start, end) in context.items() if item.second[start:end].strip(" \n\t\u200b\u200e\u200f\ufeff\u00a0")
        ]
        owned = [column for column in text_at if _most_context(seen, base + column - first) == number]
        starts, ends = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        for start in sorted(owned, key=lambda column: -starts[column])[: recipe.n_best]:
            for end in sorted(text_at, key=lambda column: -ends[column])[: recipe.n_best]:
                if start <= end < start + recipe.max_answer_length and starts[start] + ends[end] > best:
                    best, answer = starts[start] + ends[end], _plain_cut(item.second, context[start][0], context[end][1])
    return answer


def _most_context(seen: list, position: int) -> int:
    worth = {}
    for number, (_, context, base) in enumerate(seen):
        if base <= position < base + len(context):
            worth[number] = min(position - base, base + len(context) - 1 - position) + 0.01 * len(context)
    return max(worth, key=lambda number: (round(worth[number], 6), -number))


def _plain_losses(model, tokenizer, item: Example, recipe: Recipe) -> list[float]:
    low, high = item.starts[0], item.starts[0] + len(item.answers[0])
    whole = tokenizer(item.second, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    over = [token for token, (start, end) in enumerate(whole) if end > low and start < high and item.second[start:end].strip()]
    losses = []
    for inputs, context, base in _plain_windows(tokenizer, item, recipe):
        held = base <= over[0] and over[-1] < base + len(context)
        start, end = (min(context) + over[side] - base if held else 0 for side in (0, -1))
        with torch.no_grad():
            losses.append(float(model(**inputs, start_positions=torch.tensor([start]), end_positions=torch.tensor([end])).loss))
    return losses


# ------------------------------------------------------------------------------ equal to it


@pytest.mark.parametrize("kind", ["bert", "xlmr", "uncased"])
def test_answers_equal_one_example_at_a_time_in_any_order_and_after_reload(checkpoints, real, tmp_path, kind):
    fine_tuned = encoder.fine_tune(TASK, real[:8], None, RECIPE, 0, tiny.context(checkpoints[kind], tmp_path))
    fine_tuned.save(tmp_path / "kept")
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "kept").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
    expected = [_plain_answer(model, tokenizer, item, RECIPE) for item in real]
    assert fine_tuned(real) == expected
    assert fine_tuned(list(real)[::-1]) == expected[::-1]
    assert fine_tuned([]) == []
    assert len(set(expected)) > 60


@pytest.mark.parametrize("kind", ["bert", "xlmr", "uncased"])
def test_loss_equals_that_of_one_window_at_a_time(checkpoints, real, tmp_path, kind):
    tokenizer = AutoTokenizer.from_pretrained(checkpoints[kind])
    with training.seeded(0):
        model = encoder.with_head(checkpoints[kind], TASK, RECIPE).eval()
    run = Run(model, tokenizer, TASK, RECIPE, 0, tiny.context(checkpoints[kind], tmp_path))
    lessons = spans.lessons(run, real)
    expected = [loss for item in real for loss in _plain_losses(model, tokenizer, item, RECIPE)]
    assert len(lessons.tokens) == len(expected) > 2 * len(real)
    assert lessons.weights.tolist() == [1.0] * len(expected)
    batch = np.random.default_rng(0).permutation(len(expected))
    for size, layout in itertools.product((7, len(batch)), ("padded", "sorted", "packed")):
        loss = training.gradient(replace(run, context=replace(run.context, layout=layout)), lessons, batch, size)
        assert abs(float(loss) - np.mean(expected)) < 1e-5
    for row in range(0, len(batch), 5):
        assert abs(float(training.gradient(run, lessons, np.array([row]), 1)) - expected[row]) < 1e-5


# ------------------------------------------------------------------------------ the search

scores = st.lists(st.sampled_from([-np.inf, *np.arange(-4, 5)]), min_size=9, max_size=9)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=5), st.integers(1, 10), st.integers(1, 10))
def test_the_best_span_of_each_row(rows, n_best, longest):
    starts, ends = (np.array(side, dtype=np.float32) for side in zip(*rows, strict=True))
    found, among, columns = spans.best_columns(starts, ends, n_best, longest)
    for row in range(len(rows)):
        every = {
            (first, last): starts[row, first] + ends[row, last] for first in range(9) for last in range(first, min(9, first + longest))
        }
        if not np.isfinite(found[row]):
            assert not among[row]
            assert max(every.values()) == -np.inf
            continue
        assert found[row] == every[tuple(columns[row])]
        if among[row]:
            rank = [(side[row] > side[row, column]).sum() for side, column in zip((starts, ends), columns[row], strict=True)]
            assert max(rank) < n_best
        if n_best >= 9 or not among[row]:
            assert found[row] == max(every.values())


def test_the_n_best_go_before_a_better_span_beyond_them():
    starts = np.array([[0.0, 5.0, 0.0, 9.0]], dtype=np.float32)
    ends = np.array([[9.0, 0.0, 5.0, 3.0]], dtype=np.float32)
    for n_best, score, among, columns in ((4, 12, True, [3, 3]), (2, 10, True, [1, 2]), (1, 12, False, [3, 3])):
        found = spans.best_columns(starts, ends, n_best, 3)
        assert [found[0].tolist(), found[1].tolist(), found[2].tolist()] == [[score], [among], [columns]]
    assert spans.best_columns(starts, ends, 2, 1)[2].tolist() == [[3, 3]]
    assert spans.best_columns(starts, ends, 2, 2)[2].tolist() == [[1, 2]]


# ------------------------------------------------------------------------------ answers

ANY = st.text(
    st.sampled_from("abc é e\u0301 日本語 ไทยน้ำ हिन्दी עברית العَرَبِيَّة 한국 \u1112\u1161\u11ab 👍🏽 𝒳 ﬁ ½ İ ß \u200f\u200d\u00a0\n\t.,!?«»。"),
    min_size=1,
    max_size=60,
).filter(lambda text: any(character.isalnum() for character in text))


@pytest.mark.parametrize("kind", ["bert", "xlmr", "uncased"])
def test_an_answer_is_a_stretch_of_its_context_that_cuts_no_letter(checkpoints, tmp_path, kind):
    from unicodedata import category

    tokenizer = AutoTokenizer.from_pretrained(checkpoints[kind])
    recipe = replace(RECIPE, max_length=24, doc_stride=5, max_query_length=6, max_answer_length=4)
    with training.seeded(0):
        model = encoder.with_head(checkpoints[kind], TASK, recipe)
    predict = spans.predictor(Run(model, tokenizer, TASK, recipe, 0, tiny.context(checkpoints[kind], tmp_path)))

    @settings(deadline=None, max_examples=15)
    @given(st.lists(ANY, min_size=8, max_size=16))
    def check(contexts: list[str]) -> None:
        answers = predict([Example(str(number), "Wo?", context, ()) for number, context in enumerate(contexts)])
        for context, answer in zip(contexts, answers, strict=True):
            assert answer
            assert answer == answer.strip()
            places = [place for place in range(len(context)) if context.startswith(answer, place)]
            assert any(_stands_alone(context, place, place + len(answer), category) for place in places)

    check()


def _stands_alone(context: str, start: int, end: int, category: Callable[[str], str]) -> bool:
    begins = start == 0 or category(context[start])[0] != "M" or context[start - 1].isspace() or context[start - 1] == "\u200f"
    return begins and (end == len(context) or category(context[end])[0] != "M")


def test_the_answer_is_the_best_of_all_windows_of_a_long_context(tmp_path, checkpoints, mirror):
    context = " ".join(dict.fromkeys(item.second for item in xquad(mirror, "hi", 80)))
    item = Example("long", "क्या?", context, ())
    model = AutoModelForQuestionAnswering.from_pretrained(checkpoints["bert"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["bert"])
    predict = spans.predictor(Run(model, tokenizer, TASK, RECIPE, 0, tiny.context(checkpoints["bert"], tmp_path)))
    assert predict([item]) == [_plain_answer(model, tokenizer, item, RECIPE)]
    assert len(list(_plain_windows(tokenizer, item, RECIPE))) > 30


def test_a_window_whose_best_give_no_span_goes_after_those_whose_do(tmp_path, checkpoints, real):
    recipe = replace(RECIPE, n_best=1)
    model = AutoModelForQuestionAnswering.from_pretrained(checkpoints["bert"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["bert"])
    answers = spans.predictor(Run(model, tokenizer, TASK, recipe, 0, tiny.context(checkpoints["bert"], tmp_path)))(real)
    expected = [_plain_answer(model, tokenizer, item, recipe) for item in real]
    assert [theirs or mine for mine, theirs in zip(answers, expected, strict=True)] == answers
    assert all(answers)
    assert 10 < sum(theirs is not None for theirs in expected) < len(real)


def test_scores_that_are_no_numbers_are_no_answer(tmp_path, checkpoints, real):
    model = AutoModelForQuestionAnswering.from_pretrained(checkpoints["bert"])
    with torch.no_grad():
        model.qa_outputs.bias.fill_(float("nan"))
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["bert"])
    predict = spans.predictor(Run(model, tokenizer, TASK, RECIPE, 0, tiny.context(checkpoints["bert"], tmp_path)))
    with pytest.raises(XferRayError) as error:
        predict(real[:2])
    assert str(error.value) == f"the model's scores for example {real[0].id!r} are not finite, so it gives no answer"


# ------------------------------------------------------------------------------ learning

TOY = Recipe(learning_rate=3e-3, batch_size=16, epochs=30, max_length=20, doc_stride=6, max_query_length=4, dropout=0.0)


def toy(count: int, seed: int = 0) -> Examples:
    """Which animal does what is asked: `likes` in "the cat sees . the dog likes ." -> "the dog"; some contexts need two windows."""
    draw = Random(seed)
    items = []
    for number in range(count):
        verbs, nouns = draw.sample(tiny.VERBS, draw.choice([2, 3, 5])), draw.sample(tiny.NOUNS, 5)
        context = " ".join(f"the {noun} {verb} ." for noun, verb in zip(nouns, verbs, strict=False))
        asked = draw.randrange(len(verbs))
        answer = f"the {nouns[asked]}"
        items.append(Example(str(number), verbs[asked], context, (answer,), (context.index(answer),)))
    return Examples(tuple(items))


@pytest.fixture(scope="module", params=["bert", "xlmr"])
def small(request, tmp_path_factory) -> Path:
    return getattr(tiny, request.param)(tmp_path_factory.mktemp(request.param))


def test_it_learns_on_both_kinds_of_checkpoint(small, tmp_path):
    train = toy(160)
    fine_tuned = encoder.fine_tune(TASK, train, None, TOY, 0, tiny.context(small, tmp_path))
    right = [answer in item.answers for answer, item in zip(fine_tuned(train), train, strict=True)]
    assert sum(right) / len(right) > 0.9


def _weights(fine_tuned, folder: Path) -> dict[str, torch.Tensor]:
    fine_tuned.save(folder)
    return load_file(folder / "model.safetensors")


def test_micro_batches_change_nothing_but_rounding(small, tmp_path):
    recipe = replace(TOY, epochs=1, adam_epsilon=1e-3)  # Adam magnifies the rounding of a gradient that is zero
    whole, parts = (
        _weights(encoder.fine_tune(TASK, toy(60), None, recipe, 0, tiny.context(small, tmp_path, size)), tmp_path / str(size))
        for size in (16, 3)
    )
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], atol=1e-5, rtol=1e-4, msg=name)


class Folders:
    """Keeps a checkpoint of every fourth step in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.step = folder, 0

    def due(self) -> bool:
        self.step += 1
        return self.step % 4 == 0

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        (self.folder / str(step)).mkdir(parents=True)
        write(self.folder / str(step))

    def latest(self) -> int | None:
        return max((int(path.name) for path in self.folder.glob("*")), default=None)

    def fetch(self, step: int) -> Path:
        return self.folder / str(step)

    def prune(self, needed: Collection[int]) -> None:
        pass


class Killed(Exception):
    """As a worker that is lost."""


def test_a_run_that_was_killed_ends_with_the_same_answers(tmp_path):
    folder, train = tiny.bert(tmp_path / "bert"), toy(120)
    recipe = replace(TOY, epochs=2, dropout=0.1)

    def killed(step: int, steps: int) -> None:
        if step == 7:
            raise Killed

    context = replace(tiny.context(folder, tmp_path), keeper=Folders(tmp_path / "kept"))
    with pytest.raises(Killed):
        encoder.fine_tune(TASK, train, None, recipe, 0, replace(context, report=killed))
    again = encoder.fine_tune(TASK, train, None, recipe, 0, context)
    once = encoder.fine_tune(TASK, train, None, recipe, 0, tiny.context(folder, tmp_path))
    assert context.keeper.latest() >= 8
    assert again(train) == once(train)
    mine, theirs = _weights(again, tmp_path / "again"), _weights(once, tmp_path / "once")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_answers_that_no_window_holds_are_told_in_the_log(tmp_path, caplog):
    tokenizer = AutoTokenizer.from_pretrained(tiny.bert(tmp_path / "bert"))
    words = "the cat sees the dog . the bird likes the fish . the horse finds the tree ."
    train = [Example("short", "finds", words, ("the horse",), (words.index("the horse"),)), Example("a7", "sees", words, (words,), (0,))]
    run = Run(None, tokenizer, TASK, replace(TOY, max_length=14), 0, tiny.context(tmp_path / "bert", tmp_path / "cache"))
    with caplog.at_level(logging.WARNING):
        spans.lessons(run, Examples(tuple(train)))
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 2 answers lie whole in no window of max_length 14 tokens, such as that of example 'a7'"
    ]


def test_what_cannot_be_learned_or_answered_is_refused_before_any_step(tmp_path):
    folder = tiny.bert(tmp_path / "bert")

    def sentence(kind: type[Exception], train: Examples, recipe: Recipe = TOY) -> str:
        with pytest.raises(kind) as error:
            encoder.fine_tune(TASK, train, None, recipe, 0, tiny.context(folder, tmp_path))
        return str(error.value)

    (good,) = toy(1)
    unanswered = Examples((good, replace(good, id="x3", answers=(), starts=())))
    assert sentence(DataError, unanswered) == "example 'x3' has no answer; extractive training needs one that stands in the context"
    bare = Examples((good, replace(good, id="x4", second=" ")))
    assert sentence(DataError, bare) == "example 'x4' has a context from which no answer can be cut: ' '"
    assert sentence(DeclarationError, toy(1), replace(TOY, max_query_length=64)) == (
        "max_length 20 leaves no room for a context beside max_query_length 64 and 3 special tokens; "
        "give at least 68, or a smaller max_query_length"
    )
