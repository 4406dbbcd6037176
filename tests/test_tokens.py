"""The token store: the ids that transformers gives, encoded once."""

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from xfer_ray.models import encoder, tokens
from xfer_ray.models.tokens import encoded, kept_tokenizer
from xfer_ray.sources import Example, Examples

MBERT = "google-bert/bert-base-multilingual-cased"


@pytest.fixture(scope="module")
def mbert(mirror):
    return AutoTokenizer.from_pretrained(mirror / MBERT)


def _xnli(mirror: Path, language: str, rows: int) -> Examples:
    table = pyarrow.parquet.read_table(mirror / f"facebook/xnli/{language}/validation-00000-of-00001.parquet")
    return Examples(
        tuple(Example(str(i), row["premise"], row["hypothesis"], ("neutral",)) for i, row in enumerate(table.slice(0, rows).to_pylist()))
    )


@pytest.mark.parametrize("max_length", [24, 128])
@pytest.mark.parametrize("language", ["zh", "th", "ar", "hi"])
def test_real_text_is_encoded_and_truncated_as_transformers_does(mirror, mbert, tmp_path, language, max_length):
    examples = _xnli(mirror, language, 300)
    tokens = encoded(mbert, examples, max_length, tmp_path)
    expected = mbert([e.first for e in examples], [e.second for e in examples], truncation=True, max_length=max_length)
    assert len(tokens) == 300
    for row, (ids, types) in enumerate(zip(expected["input_ids"], expected["token_type_ids"], strict=True)):
        start, end = tokens.offsets[row : row + 2]
        assert tokens.ids[start:end].tolist() == ids
        assert tokens.seconds[row] == types.index(1)
    assert tokens.lengths.tolist() == [len(ids) for ids in expected["input_ids"]]
    assert max_length == 128 or (tokens.lengths == 24).sum() > 100  # truncation did happen


def test_a_cased_vocabulary_keeps_case_and_accents(mbert, tmp_path):
    words = ["Haus haus", "Élan élan elan", "İstanbul istanbul", "Ärger ärger arger"]
    tokens = encoded(mbert, [Example("0", word, "x", ("neutral",)) for word in words], 32, tmp_path)
    for row, word in enumerate(words):
        text = mbert.decode(tokens.ids[tokens.offsets[row] + 1 : tokens.offsets[row] + tokens.seconds[row] - 1])
        assert text == word


def test_a_tokenizer_without_segments_has_no_second_text(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny.xlmr(tmp_path / "xlmr"))
    tokens = encoded(tokenizer, tiny.examples(20), 32, tmp_path / "cache")
    assert tokens.seconds.tolist() == tokens.lengths.tolist()


def test_the_same_examples_are_encoded_once_and_anything_else_anew(tmp_path):
    cased = AutoTokenizer.from_pretrained(tiny.bert(tmp_path / "bert"))
    other = AutoTokenizer.from_pretrained(tiny.xlmr(tmp_path / "xlmr"))
    cache, examples = tmp_path / "cache", tiny.examples(50)

    def stored() -> set[int]:
        return {path.stat().st_ino for path in cache.rglob("*.npy")}

    encoded(cased, examples, 32, cache)
    once = stored()
    encoded(cased, list(examples), 32, cache)
    assert stored() == once
    assert len(once) == 3
    encoded(cased, examples, 16, cache)
    encoded(other, examples, 32, cache)
    encoded(cased, examples[:49], 32, cache)
    assert len(stored()) == 12


def test_encoding_leaves_the_tokenizer_as_it_was(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny.bert(tmp_path / "bert"))
    encoded(tokenizer, tiny.examples(5), 8, tmp_path / "cache")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer.json").read_text())["truncation"] is None


def test_a_warm_worker_begins_with_the_same_weights_as_a_cold_one(tmp_path):
    folder, recipe = tiny.bert(tmp_path / "bert"), replace(tiny.RECIPE, epochs=None, steps=3)

    def weights(seed: int, name: str) -> dict[str, torch.Tensor]:
        tuned = encoder.fine_tune(tiny.TASK, tiny.examples(40), None, recipe, seed, tiny.context(folder, tmp_path / "cache"))
        tuned.save(tmp_path / name)
        return load_file(tmp_path / name / "model.safetensors")

    tokens._kept.cache_clear()
    cold, other, warm = weights(0, "cold"), weights(1, "other"), weights(0, "warm")
    assert tokens._kept.cache_info()[:2] == (2, 1)  # read once, found twice
    assert all(torch.equal(cold[name], warm[name]) for name in cold)
    assert not torch.equal(cold["classifier.weight"], other["classifier.weight"])


def test_one_tokenizer_is_kept_until_its_files_change_or_another_comes(tmp_path):
    first, second = tiny.bert(tmp_path / "bert"), tiny.xlmr(tmp_path / "xlmr")
    read = AutoTokenizer.from_pretrained
    kept = kept_tokenizer(first, read)
    assert kept_tokenizer(first, read) is kept
    settings = json.loads((first / "tokenizer_config.json").read_text())
    (first / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 7}))
    assert kept_tokenizer(first, read).model_max_length == 7
    gone = weakref.ref(kept_tokenizer(first, read))
    assert kept_tokenizer(second, read).get_vocab() != kept.get_vocab()
    gc.collect()
    assert gone() is None
