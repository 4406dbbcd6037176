"""Text-to-text models against a plain reference: transformers' own model, one example at a time, greedy by hand."""

import hashlib
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, MT5Config, MT5ForConditionalGeneration, PreTrainedTokenizerFast

from xfer_ray.core import Task
from xfer_ray.errors import DeclarationError, SetupError, XferRayError
from xfer_ray.models import encoder, text_to_text, training, wording
from xfer_ray.models.lessons import Run
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import PAWSX, XNLI, XQUAD

RECIPE = Recipe(
    steps=4,
    learning_rate=1e-2,
    batch_size=16,
    optimizer="adafactor",
    schedule="constant",
    clip_norm=0.0,
    dropout=0.0,
    max_length=64,
    max_target_length=12,
)
SPECIAL = ["<pad>", "</s>", "<unk>"]
LABELS = Task(
    name="tiny",
    sources=(Corpus("en"),),
    targets=(Corpus("de"),),
    load=tiny.TASK.load,
    labels=tiny.LABELS,
    prompt="tiny: {first} or: {second}",
    verbalizers=("yes", "perhaps so", "no"),
)
SPANS = Task(
    name="spans", sources=(Corpus("en"),), targets=(Corpus("de"),), load=tiny.TASK.load, prompt="question: {first} context: {second}"
)


def unigram(text, pieces):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(text, trainers.UnigramTrainer(vocab_size=pieces, special_tokens=SPECIAL, unk_token="<unk>"))
    return tokenizer


def words(text):
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(text, trainers.WordLevelTrainer(special_tokens=SPECIAL))
    return tokenizer


def mt5(folder, tokenizer, seed=0, **config):
    """A random mT5 and a tokenizer as T5's are."""
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 2, "num_decoder_layers": 2}
    made = MT5Config(vocab_size=tokenizer.get_vocab_size(), tie_word_embeddings=False, decoder_start_token_id=0, **{**sizes, **config})
    MT5ForConditionalGeneration(made).save_pretrained(folder)
    return folder


def stories(count, seed=0):
    draw = Random(seed)
    items = []
    for i in range(count):
        names = draw.sample(tiny.NOUNS, 2)
        context = f"A {names[0]}, the {names[1]}."
        items.append(Example(str(i), "first?", context, (names[0],), (context.index(names[0]),)))
    return Examples(tuple(items))


TEXT = [f"{e.first} {e.second} tiny: or: yes no perhaps so question: context: ?" for e in [*tiny.examples(200), *stories(100)]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return mt5(tmp_path_factory.mktemp("mt5"), words(TEXT))


def tuned(folder, cache, task, train, recipe=RECIPE, seed=0, micro_batch=None):
    return text_to_text.fine_tune(task, train, None, recipe, seed, tiny.context(folder, cache, micro_batch))


def weights(fine_tuned, folder):
    fine_tuned.save(folder)
    return load_file(folder / "model.safetensors")


# ------------------------------------------------------------------------------ wording


def test_the_words_are_those_of_mt5():
    item = Example("1", "It rains.", "It {first} pours.", ("contradiction",))
    assert wording.question(XNLI, item) == "xnli: premise: It rains. hypothesis: It {first} pours."
    assert wording.answer(XNLI, item) == "2"
    pair = Example("1", "A, b.", "B, a.", ("paraphrase",))
    assert wording.question(PAWSX, pair) == "paws sentence1: A, b. sentence2: B, a."
    assert wording.answer(PAWSX, pair) == "paraphrase"
    assert wording.answer(PAWSX, replace(pair, answers=("different_meaning",))) == "different_meaning"
    assert wording.read(XNLI, [item] * 3, ["0", " 0", "entailment"]) == ["entailment", " 0", "entailment"]


@pytest.mark.parametrize(
    ("first", "second", "answer", "asked", "wanted"),
    [
        (
            "Qui est François?",
            "C'est l'élève François-Xavier.",
            "l'élève",
            "question: Qui est François ? context: C ' est l ' élève François - Xavier .",
            "l ' élève",
        ),
        ("कौन?", "राम (अयोध्या) से हैं।", "राम (अयोध्या)", "question: कौन ? context: राम ( अयोध्या ) से हैं ।", "राम ( अयोध्या )"),
        ("谁?", "他说：“是我”。", "“是我”", "question: 谁 ? context: 他说 ： “ 是我 ” 。", "“ 是我 ”"),
        ("How_many?", "about  1,000.5 km", "1,000.5", "question: How_many ? context: about 1 , 000 . 5 km", "1 , 000 . 5"),
    ],
)
def test_questions_and_answers_are_padded_and_answers_come_back_as_they_stand(first, second, answer, asked, wanted):
    item = Example("1", first, second, (answer,))
    assert wording.question(XQUAD, item) == asked
    assert wording.answer(XQUAD, item) == wanted
    assert wording.read(XQUAD, [item, item], [wanted, "no such thing"]) == [answer, "no such thing"]


# ------------------------------------------------------------------------------ the reference


def _plain(model, tokenizer, text, recipe):
    """Greedy decoding of one text, by hand."""
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=recipe.max_length).input_ids
    out = [model.config.decoder_start_token_id]
    with torch.inference_mode():
        for _ in range(recipe.max_target_length):
            scores = model(input_ids=ids, decoder_input_ids=torch.tensor([out])).logits[0, -1]
            out.append(int(scores.argmax()))
            if out[-1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(out, skip_special_tokens=True)


def _mirror_examples(mirror, count):
    """Questions of XQuAD in twelve languages and eleven scripts or so, and pairs of XNLI in fifteen."""
    import pyarrow.parquet as pq

    questions, sentences = [], []
    for language in ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"):
        (file,) = (mirror / "google/xquad" / f"xquad.{language}").glob("*.parquet")
        for row in pq.read_table(file).slice(100, count).to_pylist():
            questions.append(Example(f"{language}-{row['id']}", row["question"], row["context"][:300], tuple(row["answers"]["text"])))
    for language in ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"):
        (file,) = (mirror / "facebook/xnli" / language).glob("validation*.parquet")
        for row in pq.read_table(file).slice(50, count).to_pylist():
            sentences.append(Example(f"{language}-{len(sentences)}", row["premise"], row["hypothesis"], (XNLI.labels[row["label"]],)))
    return Examples(tuple(questions)), Examples(tuple(sentences))


def test_answers_and_loss_equal_those_of_one_example_at_a_time_in_every_script(mirror, tmp_path):
    questions, sentences = _mirror_examples(mirror, 3)
    text = [f"{e.first} {e.second}" for e in (*questions, *sentences)]
    folder = mt5(tmp_path / "mt5", unigram(text, 2500), initializer_factor=3.0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    recipe = replace(RECIPE, steps=3, max_length=200)
    for task, items in ((XQUAD, questions), (XNLI, sentences)):
        fine_tuned = tuned(folder, tmp_path / "cache", task, items, recipe)
        fine_tuned.save(tmp_path / task.name)
        model = MT5ForConditionalGeneration.from_pretrained(tmp_path / task.name).eval()
        theirs = [_plain(model, tokenizer, wording.question(task, item), recipe) for item in items]
        assert len(set(theirs)) > 3, "a constant answer would prove nothing"
        assert fine_tuned(items) == wording.read(task, items, theirs)
        assert fine_tuned(items[::-1]) == wording.read(task, items[::-1], theirs[::-1])

        run = Run(model, tokenizer, task, recipe, 0, tiny.context(folder, tmp_path / "cache"))
        lessons = text_to_text.lessons(run, items)
        ours = [
            float(training.gradient(replace(run, context=replace(run.context, layout=layout)), lessons, np.arange(len(items)), 4))
            for layout in ("padded", "sorted", "packed")
        ]
        total, count = 0.0, 0
        for item in items:
            inputs = tokenizer(wording.question(task, item), return_tensors="pt", truncation=True, max_length=200)
            labels = tokenizer(wording.answer(task, item), return_tensors="pt", truncation=True, max_length=12).input_ids
            total += float(model(**inputs, labels=labels).loss.detach()) * labels.shape[1]
            count += labels.shape[1]
        assert ours == pytest.approx([total / count] * 3, rel=1e-5)


# ------------------------------------------------------------------------------ learning


def test_it_learns_labels_and_one_step_answers_as_greedy_decoding_where_that_gives_a_label(checkpoint, tmp_path):
    recipe = replace(RECIPE, steps=120, optimizer="adamw", learning_rate=5e-3)
    train, held_out = tiny.examples(150), tiny.examples(60, seed=5)
    greedy = tuned(checkpoint, tmp_path, LABELS, train, recipe)(held_out)
    right = [answer in item.answers for answer, item in zip(greedy, held_out, strict=True)]
    assert sum(right) > 0.9 * len(right)
    early = replace(recipe, steps=9)
    greedy = tuned(checkpoint, tmp_path, LABELS, train, early)(held_out)
    one_step = tuned(checkpoint, tmp_path, LABELS, train, replace(early, decoding="labels"))(held_out)
    legal = [answer in LABELS.labels for answer in greedy]
    assert all(one in LABELS.labels for one in one_step)
    assert any(legal)
    assert [one for one, ok in zip(one_step, legal, strict=True) if ok] == [one for one, ok in zip(greedy, legal, strict=True) if ok]


def test_it_learns_to_answer_questions_from_the_context(checkpoint, tmp_path):
    recipe = replace(RECIPE, steps=200, optimizer="adamw", learning_rate=2e-3, batch_size=32, schedule="linear")
    fine_tuned = tuned(checkpoint, tmp_path, SPANS, stories(400), recipe)
    held_out = stories(60, seed=9)
    right = [answer in item.answers for answer, item in zip(fine_tuned(held_out), held_out, strict=True)]
    assert sum(right) > 0.9 * len(right)


def test_micro_batches_change_nothing_but_rounding_and_the_same_seed_gives_the_same_bytes(checkpoint, tmp_path):
    recipe = replace(RECIPE, optimizer="adamw", adam_epsilon=1e-3, learning_rate=1e-3, dropout=0.0)
    train = tiny.examples(40)
    whole, quarter, again = (
        weights(tuned(checkpoint, tmp_path, LABELS, train, recipe, micro_batch=size), tmp_path / name)
        for size, name in ((16, "whole"), (4, "quarter"), (16, "again"))
    )
    for name in whole:
        torch.testing.assert_close(whole[name], quarter[name], atol=1e-5, rtol=1e-4, msg=name)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("scaled", [True, False])
def test_adafactor_takes_the_step_of_the_formula(checkpoint, tmp_path, scaled):
    """Shazeer and Stern 2018, algorithms 4 and 5, first step: the decay is 0, so the second moment is that of this gradient."""
    recipe = replace(RECIPE, scale_parameter=scaled)
    model = text_to_text.loaded(checkpoint, recipe)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    run = Run(model, tokenizer, LABELS, recipe, 0, tiny.context(checkpoint, tmp_path))
    optimizer = training.optimizer_of(model, recipe)
    training.gradient(run, text_to_text.lessons(run, tiny.examples(16)), np.arange(16), 16)
    name = "encoder.block.0.layer.0.SelfAttention.q.weight"
    parameter = dict(model.named_parameters())[name]
    before, gradient = parameter.detach().clone(), parameter.grad.clone()
    training.update(optimizer, recipe, 1e-2)
    square = gradient**2 + 1e-30
    moment = square.mean(1, keepdim=True) * square.mean(0, keepdim=True) / square.mean()
    step = gradient / moment.sqrt()
    step = step / max(1.0, float(step.pow(2).mean().sqrt()))
    rate = 1e-2 * (max(1e-3, float(before.pow(2).mean().sqrt())) if scaled else 1.0)
    torch.testing.assert_close(parameter.detach(), before - rate * step, atol=1e-6, rtol=1e-4)


def test_what_is_too_long_is_cut_and_counted(checkpoint, tmp_path, caplog):
    train = Examples((*stories(15), Example("long", "first?", "the cat " * 200, ("the cat " * 30,), (0,))))
    with caplog.at_level("WARNING"):
        tuned(checkpoint, tmp_path, SPANS, train)
    assert "1 of 16 inputs are longer than 64 tokens and were cut" in caplog.text
    assert "1 of 16 targets are longer than 12 tokens and were cut" in caplog.text


# ------------------------------------------------------------------------------ refusals


def test_one_step_needs_labels_that_differ_in_their_first_token(checkpoint, tmp_path):
    alike = replace(LABELS, verbalizers=("yes", "yes perhaps", "no"))
    labels = replace(RECIPE, decoding="labels")
    with pytest.raises(DeclarationError, match="decoding='labels' cannot tell 'yes' and 'yes perhaps' apart: both begin with 'yes'"):
        tuned(checkpoint, tmp_path, alike, tiny.examples(16), labels)
    with pytest.raises(DeclarationError, match="decoding='labels' chooses among labels, and task spans has none; give decoding='greedy'"):
        tuned(checkpoint, tmp_path, SPANS, stories(16), labels)


def test_each_family_refuses_the_checkpoints_of_the_other(checkpoint, tmp_path):
    bert = tiny.bert(tmp_path / "bert")
    with pytest.raises(SetupError, match="is a bert, no encoder-decoder; the family of its model is 'encoder'"):
        tuned(bert, tmp_path, LABELS, tiny.examples(16))
    with pytest.raises(SetupError, match="is a mt5, no encoder; the family of its model is 'text_to_text'"):
        encoder.fine_tune(LABELS, tiny.examples(16), None, tiny.RECIPE, 0, tiny.context(checkpoint, tmp_path))


def test_a_vocabulary_of_another_checkpoint_is_refused(checkpoint, tmp_path):
    other = mt5(tmp_path / "other", words([*TEXT, *(chr(c) for c in range(0x4E00, 0x5000))]))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "mixed").mkdir(exist_ok=True)
        (tmp_path / "mixed" / name).write_bytes((other / name).read_bytes())
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "mixed" / name).write_bytes((checkpoint / name).read_bytes())
    with pytest.raises(
        SetupError, match=r"the vocabulary in .*mixed does not belong to its weights: the tokenizer has \d+ pieces and the model \d+"
    ):
        tuned(tmp_path / "mixed", tmp_path, LABELS, tiny.examples(16))


def test_weights_of_another_model_and_nan_are_refused(checkpoint, tmp_path):
    for kind, change in (
        ("absent", lambda held: {k: v for k, v in held.items() if "block.1.layer.1" not in k}),
        ("nan", lambda held: {k: v * float("nan") for k, v in held.items()}),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        for file in checkpoint.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        SetupError, match=r"the weights in .*absent are not those of its config.json: \d+ are absent, such as decoder.block.1"
    ):
        tuned(tmp_path / "absent", tmp_path, LABELS, tiny.examples(16))
    with pytest.raises(XferRayError, match="loss is nan at step 1 of 4"):
        tuned(tmp_path / "nan", tmp_path, LABELS, tiny.examples(16))


def test_fine_tuning_leaves_the_checkpoint_as_it_was(checkpoint, tmp_path):
    before = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    tuned(checkpoint, tmp_path, LABELS, tiny.examples(16))
    assert hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest() == before


def test_an_output_table_of_its_own_stays_so_through_training_saving_and_loading(checkpoint, tmp_path):
    """Transformers ties the tables of every mT5 configuration; the checkpoints of mT5 have two, and both must be read."""
    weights_of = load_file(checkpoint / "model.safetensors")
    folder = tmp_path / "untied"
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(3)
    own = torch.randn_like(weights_of["shared.weight"])
    save_file({**weights_of, "lm_head.weight": own}, folder / "model.safetensors", {"format": "pt"})
    model = text_to_text.loaded(folder, RECIPE)
    assert torch.equal(model.lm_head.weight, own)
    assert torch.equal(model.shared.weight, weights_of["shared.weight"])
    fine_tuned = tuned(folder, tmp_path, LABELS, tiny.examples(32), replace(RECIPE, steps=2))
    after = weights(fine_tuned, tmp_path / "after")
    assert not torch.equal(after["lm_head.weight"], after["shared.weight"])
    assert torch.equal(text_to_text.loaded(tmp_path / "after", RECIPE).lm_head.weight, after["lm_head.weight"])
