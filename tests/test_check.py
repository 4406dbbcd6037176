"""Files that are not what was written: each kind of damage is found, named, and moved away by repair."""

import dataclasses
import hashlib
import random
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committed import predictions_of, scores_of, sweep_in, trial_name
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer_ray import commit, compact, results
from xfer_ray.checking import check
from xfer_ray.errors import DataError

NAME = trial_name()


@pytest.fixture
def sweep(tmp_path):
    return sweep_in(tmp_path)


def file_of(found, kind="scores", name=NAME):
    return Path(found.storage.url, found.table(kind, name))


def rewrite(found, kind, change):
    """Give a file other rows, written as this package writes them."""
    file = file_of(found, kind)
    table = pq.read_table(file)
    file.write_bytes(results.to_bytes(pa.Table.from_pydict(change(table.to_pandas()).to_dict("list"), schema=table.schema)))


def forget_predictions(found):
    """Give a scores file the form that it had before it named its predictions."""
    file = file_of(found)
    file.write_bytes(results.to_bytes(pq.read_table(file).replace_schema_metadata(None)))


def reasons(found):
    return {finding.path.rpartition("/")[2]: finding.reason for finding in check(found) if finding.damage}


def test_a_sound_sweep_has_nothing_to_say(sweep):
    assert check(sweep) == []


CUTS = {
    "empty": lambda d: b"",
    "four bytes": lambda d: d[:4],
    "half": lambda d: d[: len(d) // 2],
    "one short": lambda d: d[:-1],
    "eight short": lambda d: d[:-8],
    "zeros": lambda d: bytes(len(d)),
    "zeros at the end": lambda d: d[: len(d) // 2] + bytes(len(d) - len(d) // 2),
    "more": lambda d: d + d[-8:],
    "twice": lambda d: d + d,
}


@pytest.mark.fault("F19", injected="nine ways to cut, zero or lengthen a file of scores or predictions")
@pytest.mark.parametrize("kind", ["scores", "predictions"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_torn_file_is_found_never_counted_and_moved(sweep, kind, cut):
    file = file_of(sweep, kind)
    file.write_bytes(CUTS[cut](file.read_bytes()))
    found = reasons(sweep)
    assert file.name in found
    if kind == "scores" and cut != "twice":  # a file after its own copy reads as the copy
        with pytest.raises(DataError, match=f"scores/{NAME}.parquet is damaged: .*`xfer-ray check --repair` moves it away"):
            compact.read_scores(sweep)
    check(sweep, repair=True)
    assert results.done(sweep) == {trial_name(seed=1)}
    assert (file.parents[1] / "damaged" / kind / file.name).exists()
    assert check(sweep) == []


def test_a_repaired_trial_can_be_committed_again(sweep):
    file = file_of(sweep, "predictions")
    file.write_bytes(file.read_bytes()[:-1])
    check(sweep, repair=True)
    predictions = predictions_of(NAME)
    assert commit.commit(sweep, scores_of(predictions), predictions) == "committed"
    assert check(sweep) == []


@pytest.mark.fault("F20", injected="one bit flips, anywhere in a file of scores or predictions")
@settings(deadline=None, max_examples=150)
@given(st.floats(0, 1, exclude_max=True), st.sampled_from(["scores", "predictions"]))
def test_any_flipped_bit_is_found(tmp_path_factory, where, kind):
    sweep = shared(tmp_path_factory)
    file = file_of(sweep, kind)
    sound = file.read_bytes()
    bit = int(where * len(sound) * 8)
    flipped = bytearray(sound)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        file.write_bytes(flipped)
        assert file.name in reasons(sweep) or only_names_another_writer(flipped, sound), f"bit {bit} of {len(sound) * 8}"
    finally:
        file.write_bytes(sound)


def only_names_another_writer(flipped, sound):
    """A flip that turns the writer's version into another version changes no value, and cannot be told from the truth."""
    name = rb"parquet-cpp-arrow version \d+\.\d+\.\d+"
    return re.sub(name, b"", bytes(flipped)) == re.sub(name, b"", sound)


_shared = []


def shared(factory):
    if not _shared:
        _shared.append(sweep_in(factory.mktemp("flips"), seeds=1))
    return _shared[0]


@pytest.mark.fault("F19", injected="valid files that are short or say something else")
def test_what_a_file_says_must_fit_its_name_its_plan_and_its_predictions(sweep):
    forget_predictions(sweep)
    for kind, change, sentence in [
        ("scores", lambda t: t.iloc[:-1], "it lacks the accuracy of en-MT-de-MT-en~opus"),
        ("scores", lambda t: t.iloc[:0], "its name and folder say trial"),
        ("scores", lambda t: t.assign(trial="other"), f"its name and folder say trial {NAME}, and it holds other"),
        ("scores", lambda t: t.assign(digest="f" * 12), "its name and folder say digest 0123456789ab, and it holds ffffffffffff"),
        ("scores", lambda t: t.assign(sweep="other"), "its name and folder say sweep toy, and it holds other"),
        ("scores", lambda t: t.assign(score=87.3), "it has scores outside [0, 1]"),
        ("scores", lambda t: t.assign(score=float("nan")), "it has scores outside [0, 1]"),
        ("scores", lambda t: t.assign(score=t["score"] * 0.99), "by its predictions"),
        ("scores", lambda t: t.assign(n=21), "over 21 examples, and"),
        ("scores", lambda t: pd.concat([t, t.iloc[:1]]), "it holds en-O test accuracy last more than once"),
        ("predictions", lambda t: t.iloc[:-1], "accuracy of en-MT-de-MT-en~opus is"),
        ("predictions", lambda t: t[t["target"] != "en-O"], "it has accuracy of en-O, and its predictions have not"),
        ("predictions", lambda t: t.assign(trial="other"), f"its name and folder say trial {NAME}, and it holds other"),
        ("predictions", lambda t: t.assign(accuracy=2.0), "it has values of accuracy outside [0, 1]"),
        ("predictions", lambda t: pd.concat([t, t.iloc[:1]]), "it holds en-O last 0 more than once"),
    ]:
        sound = file_of(sweep, kind).read_bytes()
        rewrite(sweep, kind, change)
        assert sentence in reasons(sweep).get(f"{NAME}.parquet", "nothing") or any(sentence in f.reason for f in check(sweep)), sentence
        file_of(sweep, kind).write_bytes(sound)
    assert check(sweep) == []


@pytest.mark.fault("F14", injected="the predictions of another execution, of the same worth, beside the scores")
def test_predictions_of_another_execution_are_found_and_both_files_moved(sweep):
    other = [dataclasses.replace(p, prediction=f"{p.prediction}.") for p in predictions_of(NAME)]
    own = file_of(sweep, "predictions").read_bytes()
    commit.put_predictions(sweep, NAME, other)
    findings = check(sweep, repair=True)
    assert [f.path.split("/")[1] for f in findings] == ["predictions", "scores"]
    assert f"the scores sum up predictions whose sha256 begins with {hashlib.sha256(own).hexdigest()[:12]}, and not " in findings[0].reason
    assert results.done(sweep) == {trial_name(seed=1)}
    assert check(sweep) == []
    assert commit.commit(sweep, scores_of(other), other) == "committed"
    assert check(sweep) == []


def test_scores_that_name_no_predictions_are_held_against_their_means(sweep):
    forget_predictions(sweep)
    assert check(sweep) == []
    commit.put_predictions(sweep, NAME, predictions_of(NAME, draw=5))
    assert "by its predictions" in reasons(sweep)[f"{NAME}.parquet"]


@pytest.mark.parametrize("kind", ["scores", "predictions"])
def test_what_is_no_file_is_found_in_the_place_of_one_and_moved(sweep, kind):
    file, sound = file_of(sweep, kind), predictions_of(NAME)
    for make in (Path.mkdir, lambda file: file.symlink_to("nowhere"), lambda file: (file / "x" / "y.parquet").mkdir(parents=True)):
        file.unlink()
        make(file)
        assert "it is a folder, or a link that leads nowhere, and no file" in [f.reason for f in check(sweep) if f.damage]
        if kind == "scores":
            with pytest.raises(DataError, match=f"{file} is .* where a file should be; `xfer-ray check --repair` moves it away"):
                results.is_done(sweep, NAME)
        check(sweep, repair=True)
        assert commit.commit(sweep, scores_of(sound), sound) == "committed"
        assert check(sweep) == []
    moved = sorted((file.parents[1] / "damaged" / kind).iterdir())
    assert [(path.name.removeprefix(file.name), path.is_dir()) for path in moved] == [("", True), ("~", False), ("~~", True)]


def test_a_score_that_is_missing_is_missed_without_a_plan_too(sweep):
    (file_of(sweep).parents[1] / "sweep.json").unlink()
    rewrite(sweep, "scores", lambda t: t.iloc[1:])
    assert reasons(sweep) == {f"{NAME}.parquet": "it lacks the score of en-O last accuracy, which its predictions have"}


def test_what_two_readers_understand_differently_is_found(sweep):
    file = file_of(sweep)
    table = pq.read_table(file)
    zoneless = pa.array([0] * len(table), pa.timestamp("us"))
    file.write_bytes(results.to_bytes(table.append_column("when", zoneless)))
    assert reasons(sweep) == {file.name: "pyarrow and fastparquet read different values of when"}


def test_scores_without_predictions_are_damage_and_predictions_without_scores_are_not(sweep):
    file_of(sweep, "scores", trial_name(seed=1)).unlink()
    assert check(sweep) == []
    file_of(sweep, "predictions").unlink()
    assert reasons(sweep) == {f"{NAME}.parquet": "its predictions are missing"}


@pytest.mark.fault("F22", injected="foo.parquet, .DS_Store and .nfs0001 among the scores")
def test_strangers_are_ignored_and_left_alone(sweep):
    folder = file_of(sweep).parent
    for name in ("foo.parquet", ".DS_Store", ".nfs0001"):
        (folder / name).write_text("x")
    findings = check(sweep, repair=True)
    assert {(str(f).split(":")[0], f.damage) for f in findings} == {
        (f"ignored toy/scores/{name}", False) for name in ("foo.parquet", ".DS_Store", ".nfs0001")
    }
    assert (folder / "foo.parquet").exists()


def test_a_broken_plan_is_found(sweep):
    plan = file_of(sweep).parents[1] / "sweep.json"
    plan.write_text(plan.read_text()[:-5])
    assert "is not JSON" in reasons(sweep)["sweep.json"]


def test_random_bytes_in_place_of_a_file_are_found(sweep):
    rng = random.Random(0)
    for _ in range(20):
        file_of(sweep).write_bytes(rng.randbytes(rng.randrange(1, 9000)))
        assert f"{NAME}.parquet" in reasons(sweep)
