"""What a text-to-text checkpoint may bring along: an output layer of its own, a SentencePiece model, habits of decoding."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)
from transformers.optimization import Adafactor

from xfer_ray.core import Task
from xfer_ray.errors import DeclarationError, SetupError
from xfer_ray.models import batches, checkpoints, resume, text_to_text, training, wording
from xfer_ray.models.lessons import Run
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import XQUAD

SIZES = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 2, "decoder_start_token_id": 0}
RECIPE = Recipe(
    steps=30,
    learning_rate=1e-2,
    batch_size=16,
    optimizer="adafactor",
    schedule="constant",
    clip_norm=0.0,
    dropout=0.0,
    max_length=64,
    max_target_length=12,
)
TASK = Task(
    name="tiny",
    sources=(Corpus("en"),),
    targets=(Corpus("de"),),
    load=tiny.TASK.load,
    labels=tiny.LABELS,
    prompt="{first} or {second}",
    verbalizers=("it is yes", "it is perhaps so", "it is no"),
)
TRAIN, HELD_OUT = tiny.examples(80), tiny.examples(40, seed=9)


def made(folder, config=None, kind=MT5ForConditionalGeneration, end="</s>"):
    """A random model with a tokenizer of words that ends every text with `end`."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = [wording.question(TASK, item) for item in TRAIN] + list(TASK.verbalizers)
    tokenizer.train_from_iterator(text, trainers.WordLevelTrainer(special_tokens=["<pad>", "</s>", "<unk>"]))
    if end:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, tokenizer.token_to_id(end))])
    torch.manual_seed(0)
    kind(config or MT5Config(vocab_size=tokenizer.get_vocab_size(), **SIZES)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def mt5(tmp_path_factory):
    return made(tmp_path_factory.mktemp("mt5"))


def with_head(folder, into):
    """The same checkpoint with an output layer of its own, as mT5's is."""
    shutil.copytree(folder, into)
    weights = load_file(into / "model.safetensors")
    torch.manual_seed(1)
    weights["lm_head.weight"] = torch.randn_like(weights["shared.weight"])
    save_file(weights, into / "model.safetensors", {"format": "pt"})
    return into


def tuned(folder, cache, recipe=RECIPE, task=TASK, train=TRAIN, micro_batch=None):
    return text_to_text.fine_tune(task, train, None, recipe, 0, tiny.context(folder, cache, micro_batch))


def answers(folder, cache):
    """What a saved model answers as it is."""
    run = Run(text_to_text.loaded(folder, RECIPE), checkpoints.tokenizer_of(folder), TASK, RECIPE, 0, tiny.context(folder, cache))
    return text_to_text.predictor(run)(HELD_OUT)


@pytest.fixture(scope="module")
def trained(mt5, tmp_path_factory):
    """A model that has learned something, and what it answers."""
    folder = tmp_path_factory.mktemp("trained")
    fine_tuned = tuned(mt5, folder / "cache", replace(RECIPE, steps=20))
    fine_tuned.save(folder / "model")
    return folder / "model", fine_tuned(HELD_OUT)


# ------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("own", [True, False])
def test_an_output_layer_is_the_weights_own_or_the_embeddings_before_and_after_saving(mt5, tmp_path, own):
    folder = with_head(mt5, tmp_path / "own") if own else mt5
    before = load_file(folder / "model.safetensors")
    model = text_to_text.loaded(folder, RECIPE)
    torch.testing.assert_close(model.lm_head.weight, before["lm_head.weight" if own else "shared.weight"], atol=0, rtol=0)
    assert (model.lm_head.weight is model.shared.weight) != own
    fine_tuned = tuned(folder, tmp_path, replace(RECIPE, steps=20))
    given = fine_tuned(HELD_OUT)
    fine_tuned.save(tmp_path / "kept")
    kept = load_file(tmp_path / "kept" / "model.safetensors")
    assert ("lm_head.weight" in kept) == own
    assert answers(tmp_path / "kept", tmp_path) == given
    assert len(set(given)) > 1


@pytest.mark.parametrize("own", [True, False])
def test_umt5_scales_before_the_embeddings_and_not_before_an_output_layer_of_its_own(tmp_path, own):
    size = made(tmp_path / "words")
    config = UMT5Config(vocab_size=AutoTokenizer.from_pretrained(size).vocab_size, **SIZES)
    folder = made(tmp_path / "tied", config, UMT5ForConditionalGeneration)
    model = text_to_text.loaded(with_head(folder, tmp_path / "own") if own else folder, RECIPE).eval()
    asked = {"input_ids": torch.tensor([[5, 6, 1]]), "decoder_input_ids": torch.tensor([[0, 4]])}
    with torch.inference_mode():
        output = model(**asked, output_hidden_states=True)
        expected = model.lm_head(output.decoder_hidden_states[-1]) * (1.0 if own else SIZES["d_model"] ** -0.5)
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=1e-5)


def test_a_t5_whose_configuration_names_no_first_token_begins_with_padding(tmp_path):
    size = AutoTokenizer.from_pretrained(made(tmp_path / "words")).vocab_size
    config = T5Config(vocab_size=size, **{key: value for key, value in SIZES.items() if key != "decoder_start_token_id"})
    folder = made(tmp_path / "t5", config, T5ForConditionalGeneration)
    assert "decoder_start_token_id" not in json.loads((folder / "config.json").read_text())
    assert text_to_text.loaded(folder, RECIPE).generation_config.decoder_start_token_id == 0
    assert len(tuned(folder, tmp_path, replace(RECIPE, steps=2))(HELD_OUT)) == 40


def test_pickled_weights_in_half_precision_with_every_tied_copy_are_read_as_fp32(mt5, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(mt5, folder)
    weights = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):  # as older checkpoints have them
        weights[name] = weights["shared.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    model = text_to_text.loaded(checkpoints.loadable(str(folder), None, tmp_path), RECIPE)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.shared.weight
    torch.testing.assert_close(model.shared.weight.detach(), weights["shared.weight"].float(), atol=0, rtol=0)


@pytest.mark.parametrize("own", [True, False])
def test_a_checkpoint_on_the_way_holds_the_whole_model(mt5, tmp_path, own):
    folder = with_head(mt5, tmp_path / "own") if own else mt5
    model = text_to_text.loaded(folder, RECIPE)
    (tmp_path / "step").mkdir()
    resume.writer(model, training.optimizer_of(model, RECIPE), [], 8)(tmp_path / "step")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    nn.init.zeros_(model.shared.weight)
    nn.init.zeros_(model.lm_head.weight)
    resume.load(model, tmp_path / "step")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# ------------------------------------------------------------------------------ training


def test_final_weights_equal_those_of_a_plain_loop_with_batches_in_tokens(mt5, tmp_path):
    recipe = replace(RECIPE, steps=5, batch_size=None, batch_tokens=200)
    tuned(mt5, tmp_path, recipe).save(tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "model.safetensors")

    tokenizer = AutoTokenizer.from_pretrained(mt5)
    inputs = [tokenizer(wording.question(TASK, item)).input_ids for item in TRAIN]
    model = MT5ForConditionalGeneration.from_pretrained(mt5, dropout_rate=0.0)
    optimizer = Adafactor(model.parameters(), lr=1e-2, scale_parameter=True, relative_step=False, warmup_init=False)
    order, sizes = np.random.default_rng((0, 0)).permutation(len(TRAIN)).tolist(), []
    model.train()
    for _ in range(5):
        rows = [order.pop(0)]
        while sum(len(inputs[i]) for i in rows) + len(inputs[order[0]]) <= 200:
            rows.append(order.pop(0))
        labels = [tokenizer(wording.answer(TASK, TRAIN[i])).input_ids for i in rows]
        losses = [model(input_ids=torch.tensor([inputs[i]]), labels=torch.tensor([row])).loss for i, row in zip(rows, labels, strict=True)]
        (sum(loss * len(row) for loss, row in zip(losses, labels, strict=True)) / sum(map(len, labels))).backward()
        optimizer.step()
        optimizer.zero_grad()
        sizes.append(len(rows))
    assert sizes == [len(rows) for rows in batches.plan(np.array([len(row) for row in inputs]), recipe, 0)]
    assert len(set(sizes)) > 1
    theirs = model.state_dict()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=2e-4, rtol=1e-3, msg=name)


def test_answers_beyond_what_is_read_are_counted(mt5, tmp_path, caplog):
    task = replace(TASK, name="spans", labels=(), verbalizers=(), prompt="question: {first} context: {second}")
    context = "the cat sees the dog . " * 20 + "house"
    items = [Example("near", "who?", context, ("cat",), (4,)), Example("far", "what?", context, ("house",), (context.index("house"),))]
    with caplog.at_level("WARNING"):
        tuned(mt5, tmp_path, replace(RECIPE, steps=1), task, Examples(tuple(items)))
    assert "2 of 2 inputs are longer than 64 tokens and were cut" in caplog.text
    assert "1 of 2 answers lie beyond what is read of their context, such as that of example 'far'" in caplog.text


# ------------------------------------------------------------------------------ answering


@pytest.mark.parametrize(
    "habit",
    [{"min_new_tokens": 8}, {"forced_bos_token_id": 7}, {"suppress_tokens": [3, 4, 5, 6]}, {"repetition_penalty": 9.0}, {"num_beams": 3}],
)
def test_a_checkpoints_own_way_of_generating_changes_nothing(trained, tmp_path, habit):
    folder, expected = trained
    ids = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    shutil.copytree(folder, tmp_path / "habit")
    (tmp_path / "habit" / "generation_config.json").write_text(json.dumps(ids | habit))
    assert answers(tmp_path / "habit", tmp_path) == expected
    assert len(set(expected)) > 1


def test_one_step_after_what_all_labels_begin_with_answers_as_greedy_decoding_does(mt5, trained, tmp_path):
    _, greedy = trained
    early = replace(RECIPE, steps=20, decoding="labels")
    one_step = tuned(mt5, tmp_path, early)(HELD_OUT)
    legal = [one in TASK.labels for one in greedy]
    assert len({one for one in greedy if one in TASK.labels}) > 1
    assert sum(legal) > len(legal) / 4
    assert all(one in TASK.labels for one in one_step)
    assert [a for a, ok in zip(one_step, legal, strict=True) if ok] == [a for a, ok in zip(greedy, legal, strict=True) if ok]
    alike = replace(TASK, verbalizers=("it is yes", "it is yes so", "it is no"))
    with pytest.raises(
        DeclarationError, match="decoding='labels' cannot tell 'it is yes' and 'it is yes so' apart: both begin with 'it' 'is' 'yes'"
    ):
        tuned(mt5, tmp_path, early, alike)


def test_spaces_before_punctuation_stay_whatever_the_tokenizer_cleans_up(mt5):
    tokenizer = AutoTokenizer.from_pretrained(mt5, clean_up_tokenization_spaces=True)
    tokenizer.add_tokens(["."])
    ids = torch.tensor([tokenizer("the cat .").input_ids])
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == "the cat."
    assert text_to_text._decoded(tokenizer, ids) == ["the cat ."]


# ------------------------------------------------------------------------------ vocabularies


def test_a_sentencepiece_model_spells_as_sentencepiece_does_in_every_script(mirror, tmp_path):
    import sentencepiece

    text = []
    for language in ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"):
        (file,) = (mirror / "google/xquad" / f"xquad.{language}").glob("*.parquet")
        rows = pyarrow.parquet.read_table(file, columns=["context", "question"]).to_pylist()
        text += [wording.question(XQUAD, Example("", row["question"], row["context"], ())) for row in rows[:400:20]]
    folder = made(tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text[::2]), model_prefix=str(folder / "spiece"), vocab_size=3000, character_coverage=0.999, byte_fallback=True,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2, max_sentence_length=20000, num_sub_iterations=1,
    )  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    ours = checkpoints.tokenizer_of(folder)
    rare = "ꙮ 🦖 說他"
    assert any(piece.startswith("<0x") for piece in theirs.encode(rare, out_type=str))
    for line in [*text, rare]:
        assert ours(line).input_ids == [*theirs.encode(line), 1]
        assert ours.decode(ours(line).input_ids, skip_special_tokens=True) == theirs.decode(theirs.encode(line))


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path):
    folder = made(tmp_path / "endless", end="")
    with pytest.raises(
        SetupError, match="the tokenizer in .*endless does not end a text with its eos_token '</s>', so no answer would end; "
    ):
        tuned(folder, tmp_path)


def test_an_encoder_decoder_of_another_kind_is_refused(tmp_path):
    config = BartConfig(vocab_size=99, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2)
    folder = made(tmp_path / "bart", config, BartForConditionalGeneration)
    with pytest.raises(SetupError, match="the checkpoint in .*bart is a bart, which is not built as T5 is; possible: t5, mt5, umt5"):
        tuned(folder, tmp_path)
    assert AutoModelForSeq2SeqLM.from_pretrained(folder).config.model_type == "bart"
