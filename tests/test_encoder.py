"""Fine-tuning an encoder: equal to a plain loop, the same for the same seed, and nothing of the targets in it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

from xfer_ray.core import Task
from xfer_ray.errors import DeclarationError, SetupError, XferRayError
from xfer_ray.models import batches, encoder, majority, training
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Example, Examples

TRAIN, HELD_OUT = tiny.examples(150), tiny.examples(60, seed=9)


@pytest.fixture(scope="module", params=["bert", "xlmr"])
def checkpoint(request, tmp_path_factory) -> Path:
    return getattr(tiny, request.param)(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("bert"))


def _tuned(
    folder: Path, cache: Path, *, recipe: Recipe = tiny.RECIPE, seed: int = 0, micro_batch: int | None = None, train: Examples = TRAIN
):
    return encoder.fine_tune(tiny.TASK, train, None, recipe, seed, tiny.context(folder, cache, micro_batch))


def _weights(fine_tuned, folder: Path) -> dict[str, torch.Tensor]:
    fine_tuned.save(folder)
    return load_file(folder / "model.safetensors")


def _naive(model, tokenizer, examples) -> list[str]:
    """One example at a time, as transformers' documentation would have it."""
    answers = []
    for example in examples:
        with torch.no_grad():
            scores = model(**tokenizer(example.first, example.second, truncation=True, max_length=32, return_tensors="pt")).logits
        answers.append(model.config.id2label[int(scores.argmax())])
    return answers


def test_it_learns_on_both_kinds_of_checkpoint_without_asking_for_a_target(checkpoint, tmp_path):
    steps = []
    context = replace(tiny.context(checkpoint, tmp_path), report=lambda step, of: steps.append((step, of)))
    fine_tuned = encoder.fine_tune(tiny.TASK, TRAIN, None, tiny.RECIPE, 0, context)
    right = [answer in example.answers for answer, example in zip(fine_tuned(HELD_OUT), HELD_OUT, strict=True)]
    assert sum(right) / len(right) > 0.9
    assert steps == [(step, 80) for step in range(1, 81)]  # 150 examples in batches of 16 are 10 steps, eight times
    assert (fine_tuned.step, fine_tuned.micro_batch, fine_tuned.device) == (80, 16, "cpu")


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_final_weights_equal_those_of_a_plain_loop(checkpoint, tmp_path, weight_decay):
    recipe = replace(tiny.RECIPE, epochs=2, dropout=0.1, warmup_steps=5, weight_decay=weight_decay, adam_epsilon=1e-6)
    context = replace(tiny.context(checkpoint, tmp_path, 16), layout="padded")  # whose dropout is that of the model's own forward pass
    ours = _weights(encoder.fine_tune(tiny.TASK, TRAIN, None, recipe, 3, context), tmp_path / "ours")

    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=3)
    plain = [p for name, p in model.named_parameters() if "bias" in name or "LayerNorm" in name]
    decayed = [p for name, p in model.named_parameters() if not ("bias" in name or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, eps=1e-6)
    schedule = get_linear_schedule_with_warmup(optimizer, 5, 20)
    model.train()
    for epoch in range(2):
        order = np.random.default_rng((3, epoch)).permutation(150)
        for start in range(0, 150, 16):
            batch = [TRAIN[i] for i in order[start : start + 16]]
            texts = [item.first for item in batch], [item.second for item in batch]
            labels = torch.tensor([tiny.LABELS.index(item.answers[0]) for item in batch])
            model(**tokenizer(*texts, padding=True, truncation=True, max_length=32, return_tensors="pt"), labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    theirs = model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=2e-5, rtol=1e-4, msg=name)


def test_same_seed_same_weights_and_predictions_bit_for_bit(bert, tmp_path):
    recipe = replace(tiny.RECIPE, epochs=1, dropout=0.1)
    first = _tuned(bert, tmp_path / "a", recipe=recipe, seed=5)
    torch.rand(7)  # what ran before in a warm worker leaves no trace
    state = torch.get_rng_state()
    second = _tuned(bert, tmp_path / "b", recipe=recipe, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    other = _tuned(bert, tmp_path / "a", recipe=recipe, seed=6)
    assert first(HELD_OUT) == second(HELD_OUT)
    mine, same, another = (_weights(tuned, tmp_path / name) for tuned, name in ((first, "1"), (second, "2"), (other, "3")))
    assert all(torch.equal(mine[name], same[name]) for name in mine)
    assert not torch.equal(mine["classifier.weight"], another["classifier.weight"])


def test_seeds_differ_in_the_order_of_the_data_too(bert, tmp_path):
    first, second = (next(batches.plan(np.ones(150, int), tiny.RECIPE, seed)) for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_micro_batches_change_nothing_but_rounding(bert, tmp_path):
    recipe = replace(tiny.RECIPE, epochs=1, adam_epsilon=1e-3)  # Adam magnifies the rounding of a gradient that is zero
    whole, quarter = (_weights(_tuned(bert, tmp_path, recipe=recipe, micro_batch=size), tmp_path / str(size)) for size in (16, 4))
    for name in whole:
        torch.testing.assert_close(whole[name], quarter[name], atol=1e-5, rtol=1e-4, msg=name)


def test_bf16_is_fp32_on_a_cpu(bert, tmp_path):
    recipes = [replace(tiny.RECIPE, epochs=1, precision=precision) for precision in ("bf16", "fp32")]
    one, other = (_weights(_tuned(bert, tmp_path, recipe=recipe), tmp_path / recipe.precision) for recipe in recipes)
    assert all(torch.equal(one[name], other[name]) and one[name].dtype == torch.float32 for name in one)


def test_rows_of_the_vocabulary_that_training_never_saw_stay_as_they_were(checkpoint, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    weights = _weights(_tuned(checkpoint, tmp_path), tmp_path / "tuned")
    name = next(key for key in weights if key.endswith("word_embeddings.weight"))
    before = load_file(checkpoint / "model.safetensors")[name]
    moved = (weights[name] != before).any(dim=1)
    seen = {i for item in TRAIN for i in tokenizer(item.first, item.second)["input_ids"]}
    assert set(moved.nonzero().flatten().tolist()) == seen
    assert tokenizer.convert_tokens_to_ids("unseen") not in seen


def test_predictions_equal_one_example_at_a_time_in_any_order_and_after_reload(checkpoint, tmp_path):
    fine_tuned = _tuned(checkpoint, tmp_path)
    fine_tuned.save(tmp_path / "kept")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "kept")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
    expected = _naive(model.eval(), tokenizer, HELD_OUT)
    assert len(set(expected)) == 3
    assert fine_tuned(HELD_OUT) == expected
    assert fine_tuned(list(HELD_OUT)[::-1]) == expected[::-1]
    assert fine_tuned([]) == []


def test_fine_tuning_leaves_the_checkpoint_as_it_was(bert, tmp_path):
    before = hashlib.sha256((bert / "model.safetensors").read_bytes()).hexdigest()
    _tuned(bert, tmp_path, recipe=replace(tiny.RECIPE, epochs=1))
    assert hashlib.sha256((bert / "model.safetensors").read_bytes()).hexdigest() == before


def test_the_recipes_dropout_overrides_the_checkpoints(bert, tmp_path):
    probabilities = {}
    for dropout in (None, 0.0, 0.3):
        model = encoder.with_head(bert, tiny.TASK, replace(tiny.RECIPE, dropout=dropout))
        probabilities[dropout] = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert probabilities == {None: {0.1}, 0.0: {0.0}, 0.3: {0.3}}


def test_a_nonfinite_loss_fails_by_the_name_of_its_step(tmp_path):
    folder = tiny.bert(tmp_path / "poisoned")
    weights = load_file(folder / "model.safetensors")
    row = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("poison")
    weights["bert.embeddings.word_embeddings.weight"][row] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    train = Examples((*TRAIN, Example("bad", "poison", "poison", ("neutral",))))
    recipe = replace(tiny.RECIPE, epochs=3)
    step = next(step for step, batch in enumerate(batches.plan(np.ones(151, int), recipe, 0), start=1) if 150 in batch)
    assert step > 1
    with pytest.raises(XferRayError, match=f"loss is nan at step {step} of 30; a lower learning_rate .now 0.002."):
        _tuned(folder, tmp_path, recipe=recipe, train=train)


def test_weights_of_another_model_are_refused(bert, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    for file in bert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(bert / "model.safetensors")
    save_file({key: value for key, value in weights.items() if ".layer.1." not in key}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        SetupError, match=r"the weights in .*other are not those of its config.json: 16 are absent, such as bert.encoder.layer.1."
    ):
        _tuned(folder, tmp_path)


def test_a_length_beyond_the_positions_is_refused(checkpoint, tmp_path):
    with pytest.raises(DeclarationError, match="max_length 65 is more than the 64 positions of the checkpoint in"):
        _tuned(checkpoint, tmp_path, recipe=replace(tiny.RECIPE, max_length=65))
    assert _tuned(checkpoint, tmp_path, recipe=replace(tiny.RECIPE, epochs=None, steps=1, max_length=64)).step == 1


def test_majority_answers_the_most_frequent_label_and_the_first_of_equals(tmp_path):
    def floor(*labels: str) -> list[str]:
        train = Examples(tuple(Example(str(i), "a", "b", (label,)) for i, label in enumerate(labels)))
        return majority.fine_tune(tiny.TASK, train, None, tiny.RECIPE, 0, tiny.context(tmp_path, tmp_path))(HELD_OUT[:2])

    assert floor("contradiction", "neutral", "contradiction") == ["contradiction", "contradiction"]
    assert floor("contradiction", "neutral", "neutral", "contradiction") == ["neutral", "neutral"]


def test_a_random_encoder_with_the_real_vocabulary_on_real_text(mirror, tmp_path):
    import pyarrow.parquet
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(mirror / "google-bert/bert-base-multilingual-cased")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, initializer_range=0.2
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(tmp_path / "random")
    tokenizer.save_pretrained(tmp_path / "random")
    rows = pyarrow.parquet.read_table(mirror / "facebook/xnli/zh/validation-00000-of-00001.parquet").slice(0, 64).to_pylist()
    text = Examples(tuple(Example(str(i), row["premise"], row["hypothesis"], (tiny.LABELS[row["label"]],)) for i, row in enumerate(rows)))
    task = Task(name="xnli", sources=(Corpus("zh"),), targets=(Corpus("en"),), load=tiny.TASK.load, labels=tiny.LABELS)
    recipe = Recipe(epochs=20, learning_rate=1e-2, batch_size=16)
    fine_tuned = encoder.fine_tune(task, text, None, recipe, 0, tiny.context(tmp_path / "random", tmp_path))
    right = [answer in item.answers for answer, item in zip(fine_tuned(text), text, strict=True)]
    assert sum(right) > 50  # 64 sentences are learned by heart; a third of them is chance


# ------------------------------------------------------------------------------ other encoders, and heads of earlier trainings


def _beside_a_berts_tokenizer(folder: Path, config, kind) -> Path:
    """A checkpoint of another kind with the tokenizer of a tiny BERT."""
    tiny.bert(folder)
    kind(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    return folder


def _distilbert(folder: Path) -> Path:
    config = transformers.DistilBertConfig(vocab_size=200, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64)
    return _beside_a_berts_tokenizer(folder, config, transformers.DistilBertForMaskedLM)


def test_the_recipes_dropout_reaches_every_kind_of_encoder(tmp_path):
    model = encoder.with_head(_distilbert(tmp_path / "distilbert"), tiny.TASK, replace(tiny.RECIPE, dropout=0.25))
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.25}


def test_packing_is_refused_where_a_models_layers_are_not_known(tmp_path):
    context = replace(tiny.context(_distilbert(tmp_path / "distilbert"), tmp_path), layout="packed")
    with pytest.raises(DeclarationError, match="layout 'packed' cannot be had for a distilbert; for bert, roberta, xlm-roberta only"):
        encoder.fine_tune(tiny.TASK, TRAIN, None, tiny.RECIPE, 0, context)


def test_an_encoder_without_fast_attention_learns(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "initializer_range": 0.2}
    config = transformers.DebertaV2Config(vocab_size=200, max_position_embeddings=64, type_vocab_size=0, **sizes)
    folder = _beside_a_berts_tokenizer(tmp_path / "deberta", config, transformers.DebertaV2ForMaskedLM)
    fine_tuned = _tuned(folder, tmp_path)
    right = [answer in example.answers for answer, example in zip(fine_tuned(HELD_OUT), HELD_OUT, strict=True)]
    assert sum(right) / len(right) > 0.6


@pytest.mark.parametrize("labels", [tiny.LABELS, ("yes", "no"), ()])
def test_the_head_of_an_earlier_fine_tuning_is_left_out(bert, tmp_path, labels):
    _tuned(bert, tmp_path).save(tmp_path / "before")
    old = load_file(tmp_path / "before" / "model.safetensors")["classifier.weight"]
    task = replace(tiny.TASK, labels=labels)
    heads = []
    for seed in (0, 0, 1):
        with training.seeded(seed):
            model = encoder.with_head(tmp_path / "before", task, tiny.RECIPE)
        heads.append((model.classifier if labels else model.qa_outputs).weight)
        assert heads[-1].shape[0] == len(labels or ("first", "last"))
        assert heads[-1].shape != old.shape or not torch.equal(heads[-1], old)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_length_without_room_for_text_is_refused(bert, tmp_path):
    with pytest.raises(DeclarationError, match="max_length 3 leaves no room for a text beside 3 special tokens"):
        _tuned(bert, tmp_path, recipe=replace(tiny.RECIPE, max_length=3))
