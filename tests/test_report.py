"""Run: pytest tests/test_report.py. The report of a sweep: what it says, equal to direct computations, and how a browser shows it."""

import dataclasses
import html
import re
from types import SimpleNamespace

import pandas as pd
import pytest
import reported
from reported import TOY, World

from analysis.report import gather, page, record, wording
from analysis.report.facts import Answer
from analysis.selection import Options
from xfer_ray import commit, compact, records, results
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    found = reported.sweep_in(tmp_path_factory.mktemp("toy"), TOY)
    gathered = gather.read(found)
    return SimpleNamespace(results=found, report=gathered, html=page.render(gathered))


def text_of(page_html: str) -> str:
    """What a reader sees, on one line."""
    body = re.sub(r"<(style|svg)\b.*?</\1>", " ", page_html, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", body)).split())


# ------------------------------------------------------------------------------ what it says


def test_advantages_are_those_of_the_scores(toy):
    scores = compact.read_scores(toy.results).groupby(["source", "target"])["score"].mean().unstack()
    relative = scores / [scores.at[target, target] for target in scores.columns]  # here each target's own source is called alike
    expected = relative.sub(relative.loc["en-O"], axis=1)
    (found,) = toy.report.findings
    pd.testing.assert_frame_equal(found.gains[list(expected.columns)].loc[expected.index], expected, check_names=False)
    assert found.gains.loc["de-HT-en", "->All"] == pytest.approx(expected.loc["de-HT-en"].mean())


def test_the_answer_stands_first_with_its_number_and_interval(toy):
    (found,) = toy.report.findings
    answer = found.answer
    assert (answer.best, answer.over, answer.sure, answer.conditional) == ("de-HT-en", "en-O", True, False)
    assert answer.low < answer.gain < answer.high
    said = text_of(toy.html)
    assert "Fine-tune on de-HT-en" in said
    sentence = f"Averaged over all 3 targets, de-HT-en is {100 * answer.gain:.1f} points better than en-O (95 % interval "
    assert sentence + f"{wording.signed(answer.low)} to {wording.signed(answer.high)})." in said
    assert said.index(sentence) < said.index("Sources, from best to worst") < said.rindex("What was run")


def test_marks_are_those_of_the_command_tables(toy):
    from analysis import tables

    (block,) = tables.read(toy.results, Options()).blocks
    (found,) = toy.report.findings
    marked = {(row.source, i) for row in block.rows if row.values == "advantage" for i, one in enumerate(row.intervals) if one.significant}
    mine = {(s, i) for s in found.gains.index for i, c in enumerate(found.gains.columns) if page.significant(found, s, c)}
    assert mine == marked != set()


def test_disagreements_are_counted_over_all_examples_of_the_lowest_seed(toy):
    frames = {s: results.read_predictions(toy.results, f"toy.tiny.{s}.s0-{reported.DIGEST}") for s in ("de-HT-en", "en-O")}
    mine, other = (frame[frame["target"] == "ru-HT-en"].set_index("example")["accuracy"] for frame in frames.values())
    (found,) = [d for d in toy.report.disagreements if (d.source, d.target) == ("de-HT-en", "ru-HT-en")]
    assert (found.over, found.seed, found.better, found.worse) == ("en-O", 0, int((mine > other).sum()), int((mine < other).sum()))
    gained, lost = found.examples
    assert (mine[gained.id], other[gained.id], mine[lost.id], other[lost.id]) == (1, 0, 0, 1)
    assert gained.first == f"premise {gained.id} in ru-HT-en"
    assert gained.prediction in gained.gold
    assert html.escape(gained.first) in toy.html


def test_every_link_leads_somewhere_and_ids_are_unique(toy):
    ids = re.findall(r'\sid="([^"]+)"', toy.html)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="([^"]+)"', toy.html)
    assert {link for link in links if "de-HT-en" in link}
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_what_was_run(toy):
    (ran,) = toy.report.ran
    said = dict(ran.rows)
    assert said["trials"] == "6, of 3 sources and 2 seeds"
    assert said["checkpoint revision"] == "b" * 40
    assert said["time"] == "5.0 h of fine-tuning, 40.0 min of evaluation; 5.67 GPU hours of it"
    assert "torch 2.9.0" in said["versions"]
    assert said["fingerprints"].startswith("en-O cccccccccccc")


def test_curves_average_the_seeds(toy):
    files = [toy.results.table("curves", f"toy.tiny.en-O.s{seed}-{reported.DIGEST}") for seed in (0, 1)]
    frames = [results.from_bytes(toy.results.storage.read(file), file).to_pandas() for file in files]
    (curve,) = [curve for curve in toy.report.curves if curve.source == "en-O"]
    assert curve.scores == pytest.approx(tuple((frames[0]["score"] + frames[1]["score"]) / 2))


def test_a_step_that_one_seed_lacks_does_not_bend_the_curve():
    points = pd.DataFrame({"trial": ["a", "a", "b"], "step": [1, 2, 1], "score": [0.2, 0.9, 0.4], "metric": "f1"})
    curve = record._curve("toy", "tiny", "en-O", points)
    assert (curve.steps, curve.scores) == ((1,), (pytest.approx(0.3),))


def test_the_same_results_give_the_same_bytes(toy):
    assert page.render(gather.read(toy.results)) == toy.html


def test_illegal_outputs_are_counted(tmp_path):
    low = {("mt5-base", source, target): 0.3 for source in TOY.sources for target in TOY.targets}
    world = dataclasses.replace(TOY, models=("mt5-base",), ability=low)  # the made-up wrong outputs of this one are at times illegal
    found = gather.read(reported.sweep_in(tmp_path, world))
    frame = pd.concat(
        [results.read_predictions(results.Results(open_storage(str(tmp_path)), "mine"), t.trial) for t in reported.trials(world)]
    )
    assert sum(sum(one.kinds.values()) for one in found.illegal) == int((frame["illegal"] != "").sum()) > 0
    assert "not-a-label" in page.render(found)


def test_a_model_that_answers_everything_alike_is_noted(tmp_path):
    world = dataclasses.replace(TOY, seeds=(0,), examples=30)
    swept = results.Results(open_storage(str(tmp_path)), "mine")
    for trial in reported.trials(world):
        answers = reported.predictions(world, trial)
        if trial.source == "ru-HT-en":
            answers = [dataclasses.replace(p, prediction="neutral") if p.target == "en-O" else p for p in answers]
        commit.commit(swept, reported.scores(world, trial, answers, "mine"), answers)
    reported.plan(swept, world)
    notes = [note for note in gather.read(swept).notes if "one answer" in note]
    assert notes == ["toy.tiny gives one answer to at least 99% of the examples of a target after ru-HT-en"]


def test_defects_of_the_examples_are_counted(tmp_path):
    world = dataclasses.replace(TOY, seeds=(0,), examples=30)
    found = results.Results(open_storage(str(tmp_path)), "mine")
    rows = [("same", "same"), ("", "b"), ("NS", "b"), ("x", "y"), ("x", "y"), ("x", "z"), *((f"premise {i}", "b") for i in range(24))]
    items = tuple(Example(str(i), *row, (reported.LABELS[i % 3],)) for i, row in enumerate(rows))
    commit.put_examples(found, "toy", "ru-HT-en", Examples(items))
    reported.put(world, found)  # the other targets' examples
    reported.plan(found, world)
    defects = {(d.where, d.what): (d.n, d.of) for d in gather.read(found).defects}
    assert defects == {
        ("ru-HT-en", "an empty text"): (1, 30),
        ("ru-HT-en", "two texts that are the same"): (1, 30),
        ("ru-HT-en", "a placeholder (NS) for a text"): (1, 30),
        ("ru-HT-en", "repeats an earlier pair"): (1, 30),
        ("ru-HT-en", "the same pair has another answer elsewhere"): (2, 30),
    }


# ------------------------------------------------------------------------------ sweeps that lack something


def test_a_missing_denominator_leaves_no_answer_and_is_named(tmp_path):
    found = gather.read(reported.sweep_in(tmp_path, TOY, skip=[("tiny", "ru-HT-en", 0), ("tiny", "ru-HT-en", 1)]))
    said = text_of(page.render(found))
    assert "No answer yet" in said
    assert "nothing can be compared on ru-HT-en" in said
    assert "missing: ru-HT-en, seed 0; ru-HT-en, seed 1" in said
    assert "denominator of column ru-HT-en" in said


def test_a_failed_trial_is_told_with_its_reason(tmp_path):
    swept = reported.sweep_in(tmp_path, TOY, skip=[("tiny", "de-HT-en", 1)])
    records.put_failure(swept, f"toy.tiny.de-HT-en.s1-{reported.DIGEST}", "CUDA out of memory <b>", "", "node-1")
    found = gather.read(swept)
    assert [(c.planned, c.done, len(c.failed), c.missing) for c in found.coverage] == [(6, 5, 1, ())]
    said = text_of(page.render(found))
    assert "de-HT-en, seed 1 failed: CUDA out of memory <b>" in said
    assert "1 to 2 runs behind each cell" in said


def test_scores_without_predictions_say_what_cannot_be_said(tmp_path):
    found = gather.read(reported.sweep_in(tmp_path, dataclasses.replace(TOY, seeds=(0,)), with_predictions=False))
    said = text_of(page.render(found))
    assert "Averaged over all 3 targets, de-HT-en is" in said
    assert "95 % interval +" not in said
    assert "How sure that is cannot be said, for there are no predictions to resample: only scores of single seeds." in said
    assert "toy, tiny: its trials left no predictions" in said
    assert "No examples are stored with these results" in said


def test_several_seeds_without_predictions_tell_of_themselves(tmp_path):
    said = text_of(page.render(gather.read(reported.sweep_in(tmp_path, TOY, with_predictions=False))))
    assert "95 % interval" in said
    assert "No predictions are stored, so intervals tell of seeds alone, on these very examples." in said
    assert "No examples are stored with these results" in said


def test_one_seed_is_conditional(tmp_path):
    found = gather.read(reported.sweep_in(tmp_path, dataclasses.replace(TOY, seeds=(0,))))
    assert found.findings[0].answer.conditional
    assert "One seed: all of this is conditional on these very models" in text_of(page.render(found))


def test_several_tasks_one_of_spans_with_one_target(tmp_path):
    spans = World(task="quad", targets=("de-HT-en",), metric="f1", normalized=False, models=("tiny", "other"), examples=12)
    found = gather.read(reported.sweep_in(tmp_path, dataclasses.replace(TOY, examples=12), spans))
    assert [(f.task, f.model, f.kind) for f in found.findings] == [
        ("toy", "tiny", "relative"),
        ("quad", "tiny", "ability"),
        ("quad", "other", "ability"),
    ]
    said = text_of(page.render(found))
    assert "Is the best baseline the best source?" in said
    assert "f1 x 100: this task is not normalized" in said
    assert "Averaged over the only target" in said


def test_without_a_baseline_nothing_is_compared(tmp_path):
    found = gather.read(reported.sweep_in(tmp_path, World(sources=("de-HT-en", "ru-HT-en"), targets=("de-HT-en", "ru-HT-en"), examples=12)))
    said = text_of(page.render(found))
    assert "no source is its baseline, so there is no advantage to tell" in said
    assert "no baseline for de-HT-en, ru-HT-en" in said


def test_a_sweep_without_scores_is_refused(tmp_path):
    swept = results.Results(open_storage(str(tmp_path)), "mine")
    reported.plan(swept, TOY)
    with pytest.raises(DataError, match="has no scores yet, so there is nothing to report"):
        gather.read(swept)


def test_wrong_names_are_refused(toy):
    with pytest.raises(DeclarationError, match="no task 'toi'; did you mean 'toy'"):
        gather.read(toy.results, Options(task="toi"))
    with pytest.raises(DeclarationError, match="no model 'tine'; did you mean 'tiny'"):
        gather.read(toy.results, Options(model="tine"))


# ------------------------------------------------------------------------------ sentences


BETTER = Answer(best="de-O", over="en-O", value=0.9, gain=0.021, low=0.01, high=0.032, p=0.004, sure=True, compared=8, targets=9)


@pytest.mark.parametrize(
    ("answer", "head", "sentence"),
    [
        (BETTER, "Fine-tune on de-O", "Averaged over all 9 targets, de-O is 2.1 points better than en-O (95 % interval +1.0 to +3.2)."),
        (
            dataclasses.replace(BETTER, gain=-0.012, low=-0.02, high=0.001),
            "Stay with en-O",
            "Averaged over all 9 targets, no other source is better than en-O; the nearest, de-O, is at −1.2 points (95 % interval −2.0 to +0.1).",
        ),
        (
            dataclasses.replace(BETTER, low=float("nan"), p=float("nan"), sure=False),
            "de-O leads",
            "Averaged over all 9 targets, de-O is 2.1 points better than en-O.",
        ),
        (
            dataclasses.replace(BETTER, low=-0.01, p=0.3, sure=False),
            "de-O leads, but not surely",
            "Averaged over all 9 targets, de-O is 2.1 points better than en-O (95 % interval −1.0 to +3.2).",
        ),
        (Answer(why="Only en-O was scored."), "No answer yet", "Only en-O was scored."),
    ],
)
def test_answers_in_words(answer, head, sentence):
    assert (wording.headline(answer), wording.by_how_much(answer)) == (head, sentence)


def test_how_sure_in_words():
    told = dataclasses.replace(BETTER, first="de-O", chance=0.83, rivals=("ru-O", "fr-O"), detectable=0.008, conditional=True, runs=1)
    assert wording.how_sure(told) == [
        "The difference is significant (p = 0.004, corrected for 8 sources).",
        "It has the highest average in 83 % of the resamples; ru-O and fr-O cannot be told apart from it.",
        "A difference of 0.8 points would be found four times out of five; a smaller one needs more seeds. One seed: all of this is conditional "
        "on these very models, and says nothing of how another seed would fare; the option --seeds 0-4 of run adds some.",
    ]


def test_numbers_in_words():
    nan = float("nan")
    assert [wording.signed(x) for x in (0.0132, -0.0132, 0.0004, -0.0004, nan)] == ["+1.3", "−1.3", "0.0", "0.0", "--"]
    assert [wording.percent(x) for x in (0.1234, 0.0002, 0.0)] == ["12.3 %", "0.02 %", "0.0 %"]
    assert [wording.duration(x) for x in (8, 90, 5400)] == ["8.0 s", "1.5 min", "1.5 h"]
    assert wording.named([]) == ""
    assert wording.named(["a"]) == "a"
    assert wording.named(["a", "b", "c"]) == "a, b and c"
    assert wording.named(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert wording.printable("a\x1b\u202eb\u200cc") == "a??b\u200cc"
