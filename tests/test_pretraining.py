"""Checkpoints that are made: they load, they repeat themselves, and they learn."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from xfer_ray.errors import DeclarationError
from xfer_ray.miniature import text
from xfer_ray.miniature.lexicon import LANGUAGES
from xfer_ray.models import pretraining as maker
from xfer_ray.models import stories
from xfer_ray.models.miniature import CHECKPOINT
from xfer_ray.recipe import Pretraining

torch.set_num_threads(1)


def few_stories(seed):
    return text.stories(seed, count=300)


SMALL = replace(
    CHECKPOINT, architecture={**CHECKPOINT.architecture, "hidden_size": 32, "intermediate_size": 64}, vocabulary=900, text=few_stories
)


def make(pretraining, folder):
    steps = []
    maker.make(pretraining, folder, maker.Hooks(lambda step, of: steps.append((step, of))))
    return steps


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    assert make(replace(SMALL, steps=8), folder) == [(step, 8) for step in range(1, 9)]
    return folder


def test_transformers_loads_it(checkpoint):
    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint)
    pair = tokenizer("The dog saw the cat.", "狗看见了猫。", return_tensors="pt")
    assert model(**pair).pooler_output.shape == (1, 32)
    assert model.config.vocab_size == len(tokenizer) <= 900


def test_only_the_encoder_is_saved_and_all_of_it(checkpoint):
    _, loading = AutoModelForSequenceClassification.from_pretrained(checkpoint, output_loading_info=True)
    assert sorted(loading["missing_keys"]) == ["classifier.bias", "classifier.weight"]
    assert not loading["unexpected_keys"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_vocabulary_covers_every_language(checkpoint, language):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    for story in few_stories(0):
        for sentence in story[language]:
            ids = tokenizer(sentence, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids).replace(" ", "") == sentence.replace(" ", "")


def test_case_and_accents_are_kept_and_characters_stand_alone(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer.tokenize("狗看见了猫。") == ["狗", "看", "见", "了", "猫", "。"]
    assert tokenizer.tokenize("Äpfel") != tokenizer.tokenize("äpfel") != tokenizer.tokenize("apfel")


def test_the_same_declaration_gives_the_same_bytes(checkpoint, tmp_path):
    torch.manual_seed(123)  # what went on before does not matter
    make(replace(SMALL, steps=8), tmp_path / "again")
    make(replace(SMALL, steps=8, seed=1), tmp_path / "other")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (checkpoint / name).read_bytes()
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (checkpoint / "model.safetensors").read_bytes()


def test_making_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(SMALL_RANDOM, tmp_path)
    assert torch.equal(torch.rand(3), expected)


SMALL_RANDOM = replace(SMALL, steps=0)


def test_no_steps_leave_the_weights_as_they_start(checkpoint, tmp_path):
    assert make(SMALL_RANDOM, tmp_path) == []
    start, trained = AutoModel.from_pretrained(tmp_path), AutoModel.from_pretrained(checkpoint)
    layer = start.encoder.layer[1].attention.self
    assert torch.equal(layer.query.weight, layer.key.weight)
    assert torch.allclose(layer.query.weight @ layer.query.weight.T, 0.49 * torch.eye(32), atol=1e-5)
    assert not torch.equal(trained.encoder.layer[1].attention.self.query.weight, layer.query.weight)


def test_a_checkpoint_lends_its_tokenizer(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    architecture = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    make(Pretraining(architecture=architecture, vocabulary="google-bert/bert-base-multilingual-cased"), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("Der Äpfel") == AutoTokenizer.from_pretrained(mirror / "google-bert/bert-base-multilingual-cased").tokenize(
        "Der Äpfel"
    )
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == len(tokenizer) == 119_547
    assert AutoModel.from_pretrained(tmp_path).config.hidden_size == 16


def test_one_language_alone_can_be_pre_trained(tmp_path):
    assert len(make(replace(SMALL, text=english_lines, vocabulary=200, steps=2, batch_size=4), tmp_path)) == 2


def english_lines(seed):
    return [{"en": (f"The dog saw {number} cats.",)} for number in range(20)]


def test_the_second_sentence_is_sometimes_replaced_and_never_masked_there(tmp_path):
    make(SMALL_RANDOM, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    batches = list(stories.batches(tokenizer, few_stories(0), replace(SMALL, steps=20, batch_size=32)))
    assert len(batches) == 20
    for batch in batches:
        assert (batch.ids[batch.masked] == tokenizer.mask_token_id).all()
        assert not (batch.replaced & (batch.masked | (batch.segments == 0))).any()
        assert batch.labels.shape == (batch.masked.sum(),)
        assert (batch.attended == (batch.ids != tokenizer.pad_token_id)).all()
    corrupted = torch.cat([batch.replaced.any(dim=1) for batch in batches]).float().mean()
    assert 0.4 < corrupted < 0.6


def test_pre_training_learns(tmp_path, monkeypatch):
    losses, loss = [], stories.Heads.loss

    def watched(heads, model, batch):
        losses.append(loss(heads, model, batch))
        return losses[-1]

    monkeypatch.setattr(stories.Heads, "loss", watched)
    make(replace(SMALL, steps=80), tmp_path)
    first, last = (torch.stack(part).mean().item() for part in (losses[:5], losses[-5:]))
    assert last < 0.85 * first, losses


def test_an_architecture_that_cannot_be_pre_trained_is_refused(tmp_path):
    with pytest.raises(DeclarationError) as caught:
        make(replace(SMALL, steps=1, architecture={"model_type": "t5"}), tmp_path)
    assert str(caught.value) == "objective 'mlm+rtd' does not pre-train model_type 't5'; possible for it: span_corruption, translation"
