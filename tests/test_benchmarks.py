"""The benchmarks compare like with like, reckon rightly, and their page says what was measured and nothing else."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from test_text_to_text import TEXT, mt5, words
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks import evaluation, feeding, harness, overhead, peak, reading, report, scale, shapes, share, sweep, trainer_script, training
from benchmarks.harness import OURS, Bar, Cost, Measure, Setting
from xfer_ray import compact
from xfer_ray.core import Task
from xfer_ray.models import batches, generation, pairs, text_to_text
from xfer_ray.models.tokens import encoded
from xfer_ray.recipe import Recipe
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import XNLI

CLASSIFY = Recipe(steps=4, learning_rate=1e-3, batch_size=16, max_length=32, dropout=0.0)
FIND = replace(CLASSIFY, max_query_length=8, doc_stride=8, weight_decay=0.01)
WRITE = replace(
    CLASSIFY, optimizer="adafactor", schedule="constant", clip_norm=0.0, max_length=48, max_target_length=training.ANSWER_LENGTH
)
WORDED = [*TEXT, "xnli: premise: hypothesis: 0 1 2"]
TARGETS = {Corpus(code): tiny.examples(count, seed) for seed, (code, count) in enumerate({"en": 30, "de": 11, "fi": 1}.items())}


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> Path:
    return mt5(tmp_path_factory.mktemp("writer") / "mt5", words(WORDED))


def stories(count: int) -> Examples:
    """Questions whose windows are all of one length."""
    found = [f"the {noun} sees the {other}" for noun in tiny.NOUNS for other in tiny.NOUNS][:count]
    return Examples(tuple(Example(str(i), "house ?", text, (text.split()[1],), (4,)) for i, text in enumerate(found)))


def forty(corpus: Corpus, split: str) -> Examples:
    return tiny.examples(40)


# ------------------------------------------------------------------------------ both sides do the same


def apart(subject: training.Subject, other: training.Subject, width: int | None) -> float:
    """How far ours and another subject's step of theirs are from each other after training, over how far one has come."""
    theirs = training.theirs(other, width, other.run.recipe.steps)
    first = {name: weights.clone() for name, weights in subject.run.model.state_dict().items()}
    costs = training.side_by_side(subject, {"theirs": theirs})
    assert {name: len(each) for name, each in costs.items()} == {OURS: 4, "theirs": 4}
    ours, others = subject.run.model.state_dict(), theirs.model.state_dict()
    far = sum(float((ours[name] - others[name]).square().sum()) for name in first)
    return (far / sum(float((others[name] - first[name]).square().sum()) for name in first)) ** 0.5


def trained(subject: training.Subject, width: int | None) -> float:
    return apart(subject, subject, width)


@pytest.mark.parametrize("width", [32, None])
def test_training_on_pairs_comes_out_the_same_on_both_sides(bert, width):
    assert trained(training.of_pairs(bert, tiny.examples(60), CLASSIFY), width) < 0.02  # rounding


def test_training_on_windows_comes_out_the_same_where_no_window_is_padded(bert):
    subject = training.of_windows(bert, stories(40), FIND)
    assert len({len(one["input_ids"]) for one in subject.features}) == 1
    assert trained(subject, None) < 0.02  # rounding


@pytest.mark.parametrize("width", [48, None])
def test_training_in_words_comes_out_the_same_on_both_sides(writer, width):
    assert trained(training.of_words(writer, tiny.examples(60), WRITE), width) < 0.02  # rounding


def test_another_learning_rate_would_show(bert):
    subject = training.of_pairs(bert, tiny.examples(60), CLASSIFY)
    other = replace(subject, run=replace(subject.run, recipe=replace(CLASSIFY, learning_rate=1.1e-3)))
    assert apart(subject, other, None) > 0.05


def test_ours_is_the_first_and_the_last_of_each_two_pairs_of_steps(bert):
    taken: list[str] = []
    subject = training.of_pairs(bert, tiny.examples(60), CLASSIFY)
    real = subject.lessons.loss
    noted = replace(subject, lessons=replace(subject.lessons, loss=lambda *given: taken.append(OURS) or real(*given)))
    training.side_by_side(noted, {name: (lambda rows, name=name: taken.append(name)) for name in "bc"})
    whole = [name for place, name in enumerate(taken) if place == 0 or name != OURS or taken[place - 1] != OURS]
    assert "".join("a" if name == OURS else name for name in whole) == "abccbabccba"


def test_evaluation_on_both_sides_gives_the_same_answers(bert, tmp_path):
    run = shapes.encoder_run(bert, XNLI, CLASSIFY, tmp_path)
    ours, theirs = evaluation.ours(pairs.predictor(run), TARGETS)(), evaluation.theirs(run, TARGETS, evaluation.both_texts)()
    evaluation.demand_equal(ours, theirs)
    assert len(ours) == 42
    assert len(set(ours)) > 1
    with pytest.raises(SystemExit, match="of 42 answers differ"):
        evaluation.demand_equal(ours, theirs[::-1])


def test_both_sides_write_the_same(tmp_path):
    writer = mt5(tmp_path / "mt5", words(WORDED), initializer_factor=5.0)  # so that it writes this and that
    run = shapes.text_to_text_run(writer, XNLI, WRITE, tmp_path)
    ours, theirs = evaluation.ours(text_to_text.predictor(run), TARGETS)(), evaluation.theirs(run, TARGETS, evaluation.in_words)()
    evaluation.demand_equal(ours, theirs)
    assert len(set(ours)) > 1


def test_both_sides_feed_the_same_batches(bert, tmp_path):
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer, examples = AutoTokenizer.from_pretrained(bert, model_input_names=names), tiny.examples(50)
    tokens = encoded(tokenizer, examples, 32, tmp_path)
    plan = list(batches.plan(tokens.lengths, replace(CLASSIFY, steps=None, epochs=1), 0))
    theirs = feeding.theirs(feeding.mapped(tokenizer, feeding.in_rows(examples), pad=False), tokenizer, plan)
    for one, other in zip(feeding.ours(tokens, tokenizer.pad_token_id, plan), theirs, strict=True):
        assert one.keys() == set(other.keys())
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_corpus_is_tokenized_anew_each_time(bert, tmp_path):
    again = feeding.into_store(AutoTokenizer.from_pretrained(bert), tiny.examples(5), tmp_path)
    assert np.array_equal(again().ids, again().ids)
    assert len(list(tmp_path.glob("*/*"))) == 2


def test_every_way_of_reading_finds_the_same_means(tmp_path):
    found = reading.make(tmp_path, 17)
    assert compact.compact(found).trials == 17
    ways = [
        reading.from_cache(tmp_path),
        reading.by_duckdb(tmp_path),
        reading.from_small_files(tmp_path),
        reading.grouped(compact.read_scores(found)),
    ]
    assert len(ways[0]) == 15 * 15 * 10
    for other in ways[1:]:
        pd.testing.assert_series_equal(ways[0], other)


def test_the_script_trains_on_what_a_trial_trains_on(bert, tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    task = Task(name="few", sources=(Corpus("en"),), targets=(Corpus("en"),), load=forty, labels=tiny.LABELS)
    trial = sweep.trials_of(task, str(bert), 1)[0]
    train = sweep._written(tmp_path / "train.json", task.load(Corpus("en"), "train"))
    learn, *ask = sweep.commands(trial, bert, train, [train, train], tmp_path / "out", stronger=False)
    assert len(ask) == 2
    assert len(sweep.commands(trial, bert, train, [train, train], tmp_path / "out", stronger=True)) == 1
    for arguments in (learn, ask[0]):
        monkeypatch.setattr(sys, "argv", ["trainer_script", *arguments, "--max_seq_length", "32"])
        trainer_script.main()
    said = json.loads((tmp_path / "out" / "train.json").read_text())
    assert 0 <= said["eval_accuracy"] <= 1
    steps = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["max_steps"]
    assert steps == batches.total_steps(40, trial.model.recipe) == 2


# ------------------------------------------------------------------------------ arithmetic


def test_the_work_of_a_step_is_what_pytorch_counts_of_it():
    shape = shapes.Shape("some", 3, 128)
    config = BertConfig(
        vocab_size=50,
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=512,
        num_labels=3,
        attn_implementation="eager",
    )
    model = BertForSequenceClassification(config)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.ones(4, 20, dtype=torch.long), labels=torch.zeros(4, dtype=torch.long)).loss.backward()
    assert peak.work(np.full(4, 20), shape) == counter.get_total_flops()


IN_WORDS = share.Sized("few", XNLI, WRITE, 400, tiny.examples(100), TARGETS, answered=4200)
CHOSEN = replace(
    IN_WORDS, recipe=replace(WRITE, batch_size=None, batch_tokens=2000, steps=100, select_every=50), dev=tiny.examples(30), chosen_on=300
)


def test_a_share_is_scaled_from_a_step_and_a_sample_to_the_trial():
    costs = {name: [Cost(cpu, 0)] for name, cpu in {OURS: 10, share.UPDATE: 2, share.TARGETS: 3, share.DEV: 1}.items()}
    (found,) = share.spent(CHOSEN, 1.0, 20.0, [1000], costs)
    assert found == share.Spent(training=200_000 * 8 / 1000 + 100 * 2, targets=300, dev=2 * 10)
    assert found.share == pytest.approx(100 * 300 / 2100)
    assert found.share_of_all == pytest.approx(100 * 320 / 2120)


def test_epochs_are_counted_in_rows_and_their_tokens():
    sized = replace(IN_WORDS, recipe=replace(CLASSIFY, steps=None, epochs=5, batch_size=128), trained=1000)
    assert sized.whole(1.5, 10.0) == (5 * 12, 75_000)
    costs = {OURS: [Cost(10, 0)], share.TARGETS: [Cost(3, 0)]}
    assert share.spent(sized, 1.5, 10.0, [1000], costs) == [share.Spent(750, 300)]


def test_a_trial_is_measured_with_its_choices_and_its_updates_where_its_step_is_smaller(writer, bert):
    few, chosen = share.measured(CHOSEN, writer, 4, "here")
    assert (len(few.values), set(few.sides)) == (2, {OURS, share.TARGETS, share.DEV, share.UPDATE})
    assert all(0 < one < other < 100 for one, other in zip(few.values, chosen.values, strict=True))
    whole = replace(IN_WORDS, recipe=replace(CLASSIFY, steps=None, epochs=2), step=16, trained=6000)
    one, further = share.measured(whole, bert, 4, "here", [replace(whole, trained=60)])
    assert set(one.sides) == {OURS, share.TARGETS}
    assert one.bar
    assert not further.bar
    assert further.median > one.median


def test_a_sample_that_ends_before_the_steps_do_is_refused(bert):
    sized = replace(IN_WORDS, recipe=replace(CLASSIFY, steps=None, epochs=2), step=16, trained=6000, train=tiny.examples(60))
    with pytest.raises(SystemExit, match="60 rows are too few for 4 whole steps of few"):
        list(share.measured(sized, bert, 4, "here"))


def test_answers_end_by_chance_after_as_many_tokens_as_they_should(writer, tmp_path):
    run = shapes.text_to_text_run(writer, XNLI, WRITE, tmp_path)
    run.model.eval()
    tokens = encoded(run.tokenizer, tiny.examples(1000), 32, tmp_path)
    grid, end = batches.padded(tokens, np.arange(1000), run.tokenizer.pad_token_id), run.tokenizer.eos_token_id
    share.end_by_chance(run, 3.0)
    with torch.inference_mode():
        written = generation.greedy(run.model, grid, end, 60)
    assert float(((written != end).sum(1) + 1.0).mean()) == pytest.approx(3.0, abs=0.3)


def test_sides_run_there_and_back_after_a_warm_up():
    order = []
    costs = harness.interleaved({name: (lambda name=name: order.append(name)) for name in "abc"}, rounds=3)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert {name: len(each) for name, each in costs.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_processor_time_of_children_counts():
    before = harness.now()
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert harness.since(before).cpu >= 0.3


def test_ratios_are_of_pairs():
    costs = {OURS: [Cost(1, 10), Cost(2, 10), Cost(4, 10)], "theirs": [Cost(3, 20), Cost(4, 20), Cost(20, 50)]}
    measure = harness.ratio("it", costs, "theirs", bar=Bar(2.7, goal=4.0))
    assert measure.values == (3, 2, 5)
    assert harness.ratio("it", costs, "theirs", by="wall").values == (2, 2, 5)
    assert harness.told(measure) == "  it: theirs / ours, CPU time: 3.00 × (2.00 to 5.00, n=3); at least 2.70, goal 4.00: met"


@pytest.mark.parametrize(
    ("bar", "value", "met"), [(Bar(2), 2.0, True), (Bar(2), 1.9, False), (Bar(2, "most"), 2.0, True), (Bar(2, "most"), 2.1, False)]
)
def test_a_bar_is_met_from_its_own_side(bar, value, met):
    assert bar.met(value) == met


def test_figures_have_three_digits():
    assert [harness.number(value) for value in (0.01234, 0.5, 1.234, 12.34, 123.4, 1234.5, -2.5)] == [
        "0.0123",
        "0.5",
        "1.23",
        "12.3",
        "123",
        "1234",
        "-2.50",
    ]


def test_the_overhead_is_a_trials():
    samples = [scale.Sample(1, 5.0, 3.0, 200.0), scale.Sample(101, 15.0, 4.0, 210.0), scale.Sample(201, 35.0, 4.5, 210.0)]
    assert overhead.stretches(samples) == [Cost(0.01, 0.1), Cost(0.005, 0.2)]


# ------------------------------------------------------------------------------ what is written down


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(harness, "others", lambda: 0.0)


def some_record(tmp_path: Path, *measures: Measure) -> dict:
    return json.loads(
        json.dumps(
            harness.record(
                "training", "About it.", "python -m benchmarks.training", lambda setting: measures, Setting(True, tmp_path, None)
            )
        )
    )


def test_a_measure_reads_back_as_it_was_written(tmp_path, capsys):
    measure = Measure("it", "×", (1.5, 2.5), Bar(2.0), {OURS: (Cost(1.0, 2.0),)}, "note")
    found = some_record(tmp_path, measure)
    assert [report.measure_of(one) for one in found["measures"]] == [measure]
    assert found["measures"] == [json.loads(json.dumps(asdict(measure)))]
    assert "it: 2.00 ×" in capsys.readouterr().out


def test_the_command_is_kept_without_the_folders_of_this_machine():
    assert harness._shown(["--quick", "--mirror", "/a/b", "--trials", "2", "--output", "/c"]) == [
        "--quick",
        "--mirror",
        "DIR",
        "--trials",
        "2",
        "--output",
        "FILE",
    ]


def test_the_page_says_what_was_measured_and_no_other_figure(tmp_path):
    sides = {OURS: (Cost(71.1, 72.2), Cost(71.1, 72.2)), "theirs": (Cost(73.3, 74.4), Cost(73.3, 74.4))}
    first = some_record(
        tmp_path, Measure("good", "×", (61.1, 62.2, 63.3), Bar(62.0), sides), Measure("bad", "s", (64.4,), Bar(64.0, "most"))
    )
    page = report.page([first])
    assert "| good | ≥ 62 | 62.2 × (61.1 to 63.3, n=3) | met |" in page
    assert "| bad | ≤ 64 | 64.4 s (one run) | **missed** |" in page
    assert "Not measured: peak, evaluation, share, feeding, sweep, startup, overhead, reading, resampling." in page
    known = {"62.2", "61.1", "63.3", "3", "62", "64.4", "64", "71.1", "72.2", "73.3", "74.4"}
    about = " ".join(map(str, [*first["machine"].values(), *first["versions"].values(), first["when"]]))
    known |= set(re.findall(r"[\d.]*\d", about)) | {
        f"{first['machine'][name]:.1f}" for name in first["machine"] if name.startswith(("load", "others"))
    }
    assert set(re.findall(r"[\d.]*\d", page)) <= known


def test_make_bench_runs_every_benchmark_of_the_page():
    makefile = (Path(report.__file__).parents[1] / "Makefile").read_text()
    assert tuple(re.search(r"for name in (.*); do", makefile)[1].split()) == report.BENCHMARKS


def test_a_loaded_machine_is_named(tmp_path):
    found = some_record(tmp_path, Measure("it", "s", (1.0,)))
    for busy, said in ((0.5, True), (0.0, False)):
        found["machine"] |= {"others_before": busy, "others_after": 0.0}
        assert (", loaded |" in report.page([found])) == said
