"""One trial from start to finish, with a real encoder of a tiny size."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from xfer_ray import compact, making, pretrained, records, results
from xfer_ray.contract import FineTuned
from xfer_ray.core import Model, Trial
from xfer_ray.data import examples_of
from xfer_ray.desk import Desk
from xfer_ray.errors import DataError
from xfer_ray.miniature import text
from xfer_ray.recipe import Pretraining
from xfer_ray.results import Results
from xfer_ray.sources import Corpus, Example
from xfer_ray.storage import open_storage
from xfer_ray.trial import attempt, run

READ: list[str] = []
SIZES = {"train": 90, "test": 30}


def load(corpus, split):
    READ.append(f"{corpus} {split}")
    return tiny.examples(SIZES[split], seed=len(split))


def load_again(corpus, split):
    return load(corpus, split)


def nothing(corpus, split):
    return list[Example]()


def talkative(task, train, select, recipe, seed, context):
    print("a word from the family")
    return FineTuned(lambda examples: ["perhaps"] * len(examples))


def twice(corpus, split):
    return [Example("7", "a", "b", ("neutral",))] * 2


def surrogate(task, train, select, recipe, seed, context):
    print("\ud800")
    return FineTuned(lambda examples: ["neutral"] * len(examples))


def terse(task, train, select, recipe, seed, context):
    return FineTuned(lambda examples: ["neutral"])


TASK = replace(tiny.TASK, name="tiny-read", sources=(Corpus("en"), Corpus("de")), targets=(Corpus("en"), Corpus("de")), load=load)


@pytest.fixture
def desk(tmp_path):
    return Desk(Results(open_storage(str(tmp_path / "results")), "mine"), tmp_path / "scratch", {"facebook/xnli": "0" * 40})


@pytest.fixture
def trial(tmp_path):
    model = Model(name="tiny-bert", checkpoint=str(tiny.bert(tmp_path / "bert")), recipe=tiny.RECIPE, gpus=0)
    return Trial(TASK, model, Corpus("en"), 0)


def test_a_trial_commits_scores_that_follow_from_its_predictions(desk, trial):
    assert run(trial, desk) == "committed"
    scores = compact.read_scores(desk.results)
    predictions = results.read_predictions(desk.results, trial.id)
    assert list(scores["target"]) == ["en-O", "de-O"]
    assert set(scores["n"]) == {30}
    means = predictions.groupby("target")["accuracy"].mean()
    assert scores.set_index("target")["score"].to_dict() == means.to_dict()
    assert means.min() > 0.9, "it did not learn"
    row = scores.iloc[0]
    assert (row["trial"], row["digest"], row["step"], row["selection"]) == (trial.id, trial.digest, 8 * 6, "last")
    assert json.loads(row["recipe"])["learning_rate"] == 2e-3
    assert json.loads(row["versions"])["torch"] == torch.__version__
    assert row["started"] <= row["finished"]
    assert row["train_seconds"] > 0

    examples = pd.read_parquet(f"{desk.results.url}/examples/tiny-read.de-O.parquet")
    right = [json.loads(answers)[0] for answers in examples["answers"]]
    mine = predictions[predictions["target"] == "de-O"]
    assert list(mine["accuracy"]) == [float(p == a) for p, a in zip(mine["prediction"], right, strict=True)]


def test_the_same_trial_elsewhere_predicts_the_same_bytes(desk, trial, tmp_path):
    other = replace(desk, results=Results(open_storage(str(tmp_path / "other")), "mine"), scratch=tmp_path / "cold")
    for where in (desk, other):
        run(trial, where)
    frames = [results.read_predictions(where.results, trial.id) for where in (desk, other)]
    pd.testing.assert_frame_equal(*frames)
    assert run(trial, desk) == "done"


def test_a_warm_worker_reads_nothing_twice(desk, trial):
    READ.clear()
    unique = replace(trial, task=replace(TASK, load=load_again))
    run(unique, desk)
    run(replace(unique, seed=1), desk)
    run(replace(unique, source=Corpus("de")), desk)
    assert sorted(READ) == ["de-O test", "de-O train", "en-O test", "en-O train"]


def test_a_kept_model_loads_with_transformers_and_predicts_the_same(desk, trial):
    run(trial, replace(desk, keep_models=True))
    folder = f"{desk.results.url}/models/{trial.id}"
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    items = tiny.examples(30, seed=len("test"))
    with torch.inference_mode():
        logits = [model(**tokenizer(e.first, e.second, return_tensors="pt")).logits for e in items]
    strings = [model.config.id2label[int(row.argmax())] for row in logits]
    mine = results.read_predictions(desk.results, trial.id)
    assert strings == list(mine[mine["target"] == "de-O"]["prediction"])


def test_size_keeps_the_same_rows_in_every_source(desk):
    task = replace(TASK, size=20)
    english, german = (examples_of(task, Corpus(language), "train", size=20) for language in ("en", "de"))
    assert [e.id for e in english] == [e.id for e in german]
    assert len(english) == 20
    with pytest.raises(DataError, match="^train of en-O in task tiny-read has 90 examples, fewer than the declared size of 91$"):
        examples_of(task, Corpus("en"), "train", size=91)


def test_what_a_trial_prints_is_kept_and_an_answer_off_the_labels_is_marked(desk, trial):
    odd = replace(trial, model=replace(trial.model, family=talkative))
    assert attempt(odd, desk).state == "committed"
    assert "a word from the family" in desk.results.storage.read(desk.results.log(odd.id)).decode()
    assert set(results.read_predictions(desk.results, odd.id)["illegal"]) == {"not-a-label"}


@pytest.mark.fault("F29", injected="a weight of the checkpoint is NaN")
def test_a_non_finite_loss_fails_the_trial_by_name(desk, trial):
    hot = replace(trial, model=replace(trial.model, recipe=replace(tiny.RECIPE, learning_rate=0.99, clip_norm=0, adam_epsilon=0)))
    broken = replace(hot, seed=3)
    with torch.no_grad():
        model = AutoModelForSequenceClassification.from_pretrained(hot.model.checkpoint, num_labels=3)
        model.base_model.embeddings.LayerNorm.weight[0] = float("nan")
        model.base_model.save_pretrained(hot.model.checkpoint)
    outcome = attempt(broken, desk)
    assert outcome.state == "failed"
    assert outcome.reason.startswith("loss is nan at step 1 of 48")
    assert records.read_failure(desk.results, broken.id).error == outcome.reason
    assert not results.done(desk.results)


def test_answers_are_counted(desk, trial):
    short = replace(trial, model=replace(trial.model, family=terse))
    assert attempt(short, desk).reason == "model tiny-bert: predict gave 1 answers to 60 examples; it must give one string for each"


def few_stories(seed):
    return text.stories(seed, count=40)


def test_a_made_checkpoint_is_whole_or_made_again(desk, tmp_path):
    declared = Pretraining(
        architecture={"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        vocabulary=300,
        text=few_stories,
    )
    storage = desk.results.storage
    assert not pretrained.exists(storage, declared)
    making.make(declared, desk, lambda step, steps: None)
    folder = pretrained.fetch(storage, declared, tmp_path / "scratch")
    assert AutoTokenizer.from_pretrained(folder)("Hund")["input_ids"]
    assert len(pretrained.revision(storage, declared)) == 40

    weights = f"pretrained/{declared.digest}/model.safetensors"
    storage.replace(weights, storage.read(weights)[:-1] + b"?")
    with pytest.raises(DataError, match="model.safetensors is damaged: its sha256 is not the one in complete.json"):
        pretrained.fetch(storage, declared, tmp_path / "elsewhere")
    storage.delete(f"pretrained/{declared.digest}/complete.json")
    assert not pretrained.exists(storage, declared)


def test_examples_that_share_an_id_are_refused(trial, desk):
    double = replace(trial, task=replace(TASK, load=twice))
    assert attempt(double, desk).reason == "train of en-O in task tiny-read holds example '7' more than once; ids tell examples apart"


def test_what_cannot_be_encoded_is_still_kept(trial, desk):
    assert attempt(replace(trial, model=replace(trial.model, family=surrogate)), desk).state == "committed"
    assert r"\ud800" in desk.results.storage.read(f"mine/logs/{next(iter(results.done(desk.results)))}.log").decode()


def test_an_empty_split_is_refused(trial, desk):
    empty = replace(trial, task=replace(TASK, load=nothing))
    assert attempt(empty, desk).reason == "train of en-O in task tiny-read has no examples"
