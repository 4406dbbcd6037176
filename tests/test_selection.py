"""Checkpoints on the way: which one is kept, who chose it, and how a killed trial goes on."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import torch

from xfer_ray import compact, results
from xfer_ray.core import Model, Trial
from xfer_ray.desk import Desk
from xfer_ray.errors import DataError, DeclarationError, XferRayError
from xfer_ray.keeping import Checkpoints
from xfer_ray.models import resume, training
from xfer_ray.results import Results
from xfer_ray.sources import Corpus
from xfer_ray.storage import open_storage
from xfer_ray.trial import attempt, run

ENGLISH, GERMAN, GERMAN_MT = Corpus("en"), Corpus("de", "HT", Corpus("en")), Corpus("de", "MT", Corpus("en"))
SIZES = {"train": 60, "validation": 25, "test": 30}
ASKED: list[str] = []


def load(corpus, split):
    ASKED.append(f"{corpus} {split}")
    return tiny.examples(SIZES[split], seed=100 * len(corpus.provenance) + len(split))


def poisoned(corpus, split):
    if corpus == GERMAN or split == "test":
        raise DataError(f"poison: {split} of {corpus}")
    return load(corpus, split)


TASK = replace(
    tiny.TASK,
    name="tiny-select",
    sources=(ENGLISH, GERMAN_MT),
    targets=(ENGLISH, GERMAN),
    load=load,
    select_corpora=(ENGLISH, GERMAN),
)
RECIPE = replace(tiny.RECIPE, epochs=None, steps=26, select_every=4, learning_rate=3e-3, dropout=0.1)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def trial(bert):
    return Trial(TASK, Model(name="tiny-bert", checkpoint=str(bert), recipe=RECIPE, gpus=0), ENGLISH, 0)


@pytest.fixture
def desk(tmp_path):
    return _desk(tmp_path / "results")


def _desk(folder, **more):
    return Desk(Results(open_storage(str(folder)), "mine"), folder / "scratch", **more)


def _curve(desk, trial):
    return pd.read_parquet(f"{desk.results.url}/curves/{trial.id}.parquet")


def test_the_best_step_on_the_sources_dev_set_is_scored_and_the_whole_curve_is_kept(desk, trial):
    assert run(trial, desk) == "committed"
    curve = _curve(desk, trial)
    assert list(curve["step"]) == [4, 8, 12, 16, 20, 24, 26]
    assert set(curve["corpus"]) == {"en-O"}
    assert set(curve["split"]) == {"validation"}
    scores = compact.read_scores(desk.results)
    best = curve["score"].max()
    assert set(scores["selection"]) == {"source-dev"}
    assert set(scores["step"]) == {curve.loc[curve["score"] == best, "step"].min()}
    assert not desk.results.storage.sizes(desk.results.folder("checkpoints")), "they are removed on commit"


def test_the_chosen_step_predicts_as_a_run_that_ends_there(desk, trial, tmp_path):
    """The constant schedule makes a shorter run the beginning of a longer one."""
    recipe = replace(RECIPE, schedule="constant", steps=60, select_every=12)
    whole = replace(trial, model=replace(trial.model, recipe=recipe))
    run(whole, desk)
    step = int(compact.read_scores(desk.results)["step"].iloc[0])
    assert step < 60
    short = replace(trial, model=replace(trial.model, recipe=replace(recipe, steps=step, select_every=None)))
    other = _desk(tmp_path / "short")
    run(short, other)
    chosen, last = (results.read_predictions(d.results, t.id) for d, t in ((desk, whole), (other, short)))
    assert list(chosen["prediction"]) == list(last["prediction"])
    assert set(last["selection"]) == {"last"}


def test_of_equally_good_steps_the_earliest_is_the_best():
    assert resume.best_step([(200, 0.5), (400, 0.7), (600, 0.7), (800, 0.6)]) == 400


def test_selection_never_sees_a_target(desk, trial):
    """Every target, and every test split, is poison: training and selection end, and only then the trial fails."""
    ASKED.clear()
    source = replace(trial, task=replace(TASK, load=poisoned), source=ENGLISH)
    with pytest.raises(DataError, match="poison: test of en-O"):
        run(source, desk)
    assert ASKED == ["en-O train", "en-O validation"]
    assert {name.split("/")[1] for name in desk.results.storage.sizes(desk.results.folder("checkpoints"))} >= {"step-26"}


def test_a_translated_source_chooses_on_the_dev_set_of_its_language(desk, trial):
    run(replace(trial, source=GERMAN_MT), desk)
    assert set(_curve(desk, replace(trial, source=GERMAN_MT))["corpus"]) == {"de-HT-en"}
    assert replace(trial, source=GERMAN_MT).digest != replace(trial, task=replace(TASK, select_corpora=()), source=GERMAN_MT).digest


def test_the_oracle_stands_beside_the_honest_rows_and_chooses_for_each_target(desk, trial, tmp_path):
    run(trial, replace(desk, oracle=True))
    curve = _curve(desk, trial)
    assert set(curve["corpus"]) == {"en-O", "de-HT-en"}
    scores = compact.read_scores(desk.results).set_index(["selection", "target"])["step"]
    assert set(scores["last"]) == {26}
    for target in ("en-O", "de-HT-en"):
        mine = curve[curve["corpus"] == target].groupby("step")["score"].first()
        assert scores["oracle", target] == mine.index[mine == mine.max()].min()
    honest = _desk(tmp_path / "honest")
    run(trial, honest)
    alone, beside = (results.read_predictions(d.results, trial.id) for d in (honest, desk))
    beside = beside[beside["selection"] == "source-dev"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, beside)


def test_the_oracle_without_checkpoints_or_dev_sets_is_refused(desk, trial):
    last = replace(trial, model=replace(trial.model, recipe=replace(RECIPE, select_every=None)))
    outcome = attempt(last, replace(desk, oracle=True), capture=False)
    assert outcome.reason == "the oracle chooses among checkpoints, and model tiny-bert kept none: its recipe has no select_every"
    outcome = attempt(replace(trial, task=replace(TASK, load=poisoned)), replace(desk, oracle=True), capture=False)
    assert outcome.reason == ("the oracle needs the split 'validation' of every target of task tiny-select: poison: validation of de-HT-en")


def test_an_interval_beyond_the_last_step_is_refused(desk, trial):
    with pytest.raises(DeclarationError, match="select_every 27 lies beyond the last of 26 steps, so no checkpoint would be scored"):
        replace(RECIPE, select_every=27)
    epochs = replace(RECIPE, steps=None, epochs=2, select_every=9)  # 60 examples are 8 steps
    with pytest.raises(XferRayError, match="select_every 9 lies beyond the last of 8 steps, so no checkpoint would be scored"):
        run(replace(trial, model=replace(trial.model, recipe=epochs)), desk)


def test_a_task_that_is_evaluated_on_its_dev_set_lets_no_model_choose_there(trial):
    with pytest.raises(
        DeclarationError, match="task tiny-select is evaluated on 'validation', so model tiny-bert may not choose its step there"
    ):
        replace(trial, task=replace(TASK, eval_split="validation"))


# ------------------------------------------------------------------------------ going on


def _killed_at(step: int, trial: Trial, desk: Desk) -> None:
    """Run in a process that kills itself after this step, and before any later checkpoint."""
    torch.set_num_threads(1)
    update = training.update
    done = 0

    def dying(*arguments):
        nonlocal done
        done += 1
        if done > step:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(*arguments)

    training.update = dying
    run(trial, desk)


def _kill(step, trial, desk):
    process = multiprocessing.get_context("spawn").Process(target=_killed_at, args=(step, trial, desk))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(("recipe", "step", "left"), [(RECIPE, 18, {8, 16}), (replace(RECIPE, select_every=None), 10, {10})])
def test_a_killed_trial_goes_on_from_its_last_checkpoint_and_predicts_the_same(trial, tmp_path, recipe, step, left):
    trial = replace(trial, model=replace(trial.model, recipe=recipe))
    undisturbed, killed = (
        _desk(tmp_path / "undisturbed"),
        _desk(tmp_path / "killed", checkpoint_seconds=0.0 if not recipe.select_every else 600.0),
    )
    run(trial, undisturbed)
    _kill(step, trial, killed)
    steps = {int(name.split("/")[1].removeprefix("step-")) for name in killed.results.storage.sizes(killed.results.folder("checkpoints"))}
    assert max(steps) == max(left), "the newest checkpoint"
    assert len(steps) <= 2, "the newest and the best"
    done = _steps_of(trial, killed)
    assert done == 26 - max(left), "only what was missing is trained again"
    frames = [results.read_predictions(d.results, trial.id) for d in (undisturbed, killed)]
    pd.testing.assert_frame_equal(*frames)
    scores = [compact.read_scores(d.results)[["target", "metric", "score", "selection", "step"]] for d in (undisturbed, killed)]
    pd.testing.assert_frame_equal(*scores)
    if recipe.select_every:
        pd.testing.assert_frame_equal(_curve(undisturbed, trial), _curve(killed, trial))


def _steps_of(trial, desk) -> int:
    """Run the rest, counting its optimizer steps."""
    count, update = 0, training.update

    def counting(*arguments):
        nonlocal count
        count += 1
        return update(*arguments)

    training.update = counting
    try:
        run(trial, desk)
    finally:
        training.update = update
    return count


def test_half_a_checkpoint_and_a_damaged_one_are_not_trusted(trial, desk, caplog):
    _kill(18, trial, desk)
    storage, folder = desk.results.storage, desk.results.checkpoints(trial.id)
    keeper = Checkpoints(desk.results, trial.id, desk.scratch, seconds=600)
    assert keeper.latest() == 16
    storage.replace(f"{folder}/step-20/model.safetensors", b"half")  # a newer one, without its marker
    assert keeper.latest() == 16
    data = bytearray(storage.read(f"{folder}/step-16/state.pt"))
    data[100] ^= 1
    storage.replace(f"{folder}/step-16/state.pt", bytes(data))
    found = keeper.latest()
    assert found != 16
    assert "step-16/state.pt is damaged: its sha256 is not the one in complete.json" in caplog.text
    run(trial, desk)
    undisturbed = replace(desk, results=Results(desk.results.storage, "undisturbed"))
    run(trial, undisturbed)
    pd.testing.assert_frame_equal(*(results.read_predictions(d.results, trial.id) for d in (desk, undisturbed)))


def test_a_checkpoint_holds_the_whole_vocabulary(trial, desk, bert, tmp_path):
    """Training leaves unseen rows out of every step; a checkpoint has them all, as the model that is saved at the end."""
    keeper = Checkpoints(desk.results, trial.id, desk.scratch, seconds=0.0, keep_all=True)
    kept = {}
    original = resume.writer

    def recording(model, *state):
        kept["rows"] = model.get_input_embeddings().num_embeddings
        return original(model, *state)

    resume.writer = recording
    try:
        from xfer_ray.models import encoder

        recipe = replace(RECIPE, steps=2, select_every=None)
        context = replace(tiny.context(bert, tmp_path), keeper=keeper)
        fine_tuned = encoder.fine_tune(TASK, tiny.examples(20), None, recipe, 0, context)
    finally:
        resume.writer = original
    fine_tuned.save(tmp_path / "saved")
    assert kept["rows"] == json.loads((bert / "config.json").read_text())["vocab_size"]
    from safetensors.torch import load_file

    end, saved = load_file(keeper.fetch(2) / "model.safetensors"), load_file(tmp_path / "saved" / "model.safetensors")
    assert all(torch.equal(end[name], saved[name]) for name in saved)
