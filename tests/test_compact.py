"""The cache of many small files: what it may say, what it must not, and that it costs only time to lose it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from committed import DIGEST, plan_for, predictions_of, scores_of, sweep_in, trial_name

from tests import bucket
from xfer_ray import commit, compact, planfile, results
from xfer_ray.cli import main
from xfer_ray.errors import DataError
from xfer_ray.planfile import PlannedTrial
from xfer_ray.storage import open_storage


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A sweep of a dozen trials is many here."""
    monkeypatch.setattr(compact, "FEW", 0)


@pytest.fixture
def sweep(tmp_path):
    return sweep_in(tmp_path, seeds=12)


def rows(found) -> pd.DataFrame:
    return compact.read_scores(found)


def file_of(found, seed) -> Path:
    return Path(found.storage.url, found.table("scores", trial_name(seed=seed)))


def put(found, seed, draw, **more):
    predictions = predictions_of(trial_name(seed=seed), draw)
    assert commit.commit(found, scores_of(predictions, seed=seed, **more), predictions) == "committed"


def segments(found) -> list[str]:
    return sorted(found.storage.sizes(found.folder("cache")))


def parsed(found, monkeypatch) -> tuple[pd.DataFrame, list[str]]:
    """The scores, and the small files whose Parquet was read for them."""
    read, paths = compact.rows_of, []
    monkeypatch.setattr(compact, "rows_of", lambda data, path: paths.append(path) or read(data, path))
    frame = rows(found)
    monkeypatch.setattr(compact, "rows_of", read)
    return frame, sorted(path.rpartition("/")[2].removesuffix(".parquet") for path in paths)


def test_with_the_cache_the_scores_are_the_same_and_no_small_file_is_parsed(sweep, monkeypatch):
    before = rows(sweep)
    left = compact.compact(sweep)
    assert (left.trials, left.added, left.segments) == (12, 12, 1)
    after, paths = parsed(sweep, monkeypatch)
    assert paths == []
    pd.testing.assert_frame_equal(after, before)
    some = [trial_name(seed=seed) for seed in (7, 3)]
    pd.testing.assert_frame_equal(
        compact.read_scores(sweep, some), before[before["trial"].isin(some)].sort_values("trial", kind="stable").reset_index(drop=True)
    )


def test_the_scores_files_are_left_as_they_are(sweep):
    before = {name: sweep.storage.read(f"toy/scores/{name}") for name in sweep.storage.sizes("toy/scores")}
    compact.compact(sweep)
    assert {name: sweep.storage.read(f"toy/scores/{name}") for name in sweep.storage.sizes("toy/scores")} == before
    assert len(pd.read_parquet(f"{sweep.url}/scores")) == len(rows(sweep))


def test_a_deleted_trial_is_not_counted(sweep):
    compact.compact(sweep)
    sweep.storage.delete(sweep.table("scores", trial_name(seed=4)))
    assert set(rows(sweep)["seed"]) == set(range(12)) - {4}
    with pytest.raises(FileNotFoundError):
        compact.read_scores(sweep, [trial_name(seed=4)])
    assert compact.compact(sweep).trials == 11
    assert set(rows(sweep)["seed"]) == set(range(12)) - {4}


def test_a_trial_that_was_done_again_is_seen_also_where_its_file_has_the_same_size(sweep, monkeypatch):
    compact.compact(sweep)
    path = sweep.table("scores", trial_name(seed=4))
    size, old = len(sweep.storage.read(path)), rows(sweep).query("seed == 4")["score"].tolist()
    for draw in range(100, 1000):
        new = scores_of(predictions_of(trial_name(seed=4), draw), seed=4)
        data = results.to_bytes(results.scores_table(new, "0" * 64))
        if len(data) == size and [one.score for one in new] != old:
            break
    sweep.storage.delete(path)
    assert len(data) == size
    assert sweep.storage.create(path, data)
    frame, paths = parsed(sweep, monkeypatch)
    assert paths == [trial_name(seed=4)]
    assert frame.query("seed == 4")["score"].tolist() == [one.score for one in new] != old
    assert compact.compact(sweep).added == 1
    frame, paths = parsed(sweep, monkeypatch)
    assert paths == []
    assert frame.query("seed == 4")["score"].tolist() == [one.score for one in new]


@pytest.mark.parametrize("place", [4, -1, -8, 0.25])
def test_a_bit_that_flips_in_a_scores_file_is_found_in_spite_of_the_cache(sweep, place):
    compact.compact(sweep)
    data = bytearray(file_of(sweep, 4).read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 1
    file_of(sweep, 4).write_bytes(data)
    with pytest.raises(DataError, match=r"s4-.*(is damaged|does not have the columns)"):
        rows(sweep)


def test_what_came_since_is_read_from_its_files_and_joins_at_the_next_compaction(sweep, monkeypatch):
    compact.compact(sweep)
    first = segments(sweep)
    put(sweep, 12, 12)
    frame, paths = parsed(sweep, monkeypatch)
    assert paths == [trial_name(seed=12)]
    assert list(dict.fromkeys(frame["trial"])) == sorted(trial_name(seed=seed) for seed in range(13))
    left = compact.compact(sweep)
    assert (left.trials, left.added, left.segments) == (13, 1, 1)
    assert len(segments(sweep)) == 1
    assert segments(sweep) != first
    pd.testing.assert_frame_equal(rows(sweep), frame)
    assert compact.compact(sweep).added == 0


def test_full_segments_stay_until_a_trial_of_theirs_changes(sweep, monkeypatch):
    monkeypatch.setattr(compact, "SEGMENT_TRIALS", 5)
    before = rows(sweep)
    assert compact.compact(sweep).segments == 3
    first = set(segments(sweep))
    put(sweep, 12, 12)
    assert compact.compact(sweep).segments == 3
    assert len(first & set(segments(sweep))) == 2
    pd.testing.assert_frame_equal(rows(sweep).query("seed < 12").reset_index(drop=True), before)
    sweep.storage.delete(sweep.table("scores", trial_name(seed=0)))  # of the first segment
    left = compact.compact(sweep)
    assert (left.trials, left.segments) == (12, 3)
    assert set(rows(sweep)["seed"]) == set(range(1, 13))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
def test_a_damaged_segment_is_ignored_told_by_check_and_made_again(sweep, monkeypatch, harm):
    before = rows(sweep)
    compact.compact(sweep)
    (name,) = segments(sweep)
    path = Path(sweep.url, "cache", name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if harm == "gone":
        sweep.storage.delete(f"toy/cache/{name}")
    else:
        path.write_bytes({"flip": data, "cut": data[:-10], "empty": b""}[harm])
    frame, paths = parsed(sweep, monkeypatch)
    assert len(paths) == 12
    pd.testing.assert_frame_equal(frame, before)
    assert [where for where, _ in compact.faults(sweep)] == ([] if harm == "gone" else [f"toy/cache/{name}"])
    assert compact.compact(sweep).added == 12
    assert list(compact.faults(sweep)) == []
    assert parsed(sweep, monkeypatch)[1] == []


def test_a_segment_whose_rows_are_not_those_of_its_files_is_told_by_check(sweep):
    compact.compact(sweep)
    (name,) = segments(sweep)
    table = results.from_bytes(sweep.storage.read(f"toy/cache/{name}"), name)
    scores = table.column("score").to_pylist()
    changed = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), [[1 - scores[0], *scores[1:]]])
    data = results.to_bytes(changed.replace_schema_metadata(table.schema.metadata))
    sweep.storage.delete(f"toy/cache/{name}")
    forged = f"toy/cache/{hashlib.sha256(data).hexdigest()}.parquet"
    sweep.storage.create(forged, data)
    ((path, reason),) = compact.faults(sweep)
    assert path == forged
    assert trial_name(seed=0) in reason


def test_a_stale_segment_is_no_damage(sweep):
    compact.compact(sweep)
    sweep.storage.delete(sweep.table("scores", trial_name(seed=4)))
    put(sweep, 4, 99)
    sweep.storage.delete(sweep.table("scores", trial_name(seed=5)))
    assert list(compact.faults(sweep)) == []


def test_a_segment_of_another_version_and_a_strangers_file_are_left_out(sweep, monkeypatch):
    sweep.storage.create("toy/cache/notes.txt", b"mine")
    monkeypatch.setattr(compact, "_VERSION", 2)
    compact.compact(sweep)
    monkeypatch.undo()
    monkeypatch.setattr(compact, "FEW", 0)
    assert len(parsed(sweep, monkeypatch)[1]) == 12
    compact.compact(sweep)
    assert parsed(sweep, monkeypatch)[1] == []
    assert "notes.txt" in segments(sweep)
    assert len(segments(sweep)) == 2


def test_without_trials_there_is_nothing_to_hold(tmp_path):
    found = results.Results(open_storage(str(tmp_path)), "toy")
    assert compact.compact(found) == compact.Compacted(0, 0, 0, 0)
    assert len(rows(found)) == 0


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from committed import predictions_of, scores_of, trial_name
from tests import bucket
from xfer_ray import commit, compact, results, planfile
from xfer_ray.storage import open_storage
compact.FEW = 0
compact.SEGMENT_TRIALS = 7
found = results.Results(open_storage({folder!r}), "toy")
for seed in range({first}, {first} + 25):
    predictions = predictions_of(trial_name(seed=seed), seed)
    assert commit.commit(found, scores_of(predictions, seed=seed), predictions) == "committed"
    compact.compact(found)
    mine = set(range({first}, seed + 1))
    assert mine <= set(compact.read_scores(found)["seed"]), "a committed trial was not read"
"""


def test_writers_compactions_and_readers_at_the_same_time_lose_nothing(tmp_path, request):
    tests = str(request.path.parent)
    programs = [WRITER.format(tests=tests, folder=str(tmp_path), first=first) for first in (0, 25, 50)]
    processes = [subprocess.Popen([sys.executable, "-c", program], cwd=request.path.parents[1]) for program in programs]
    assert [process.wait(timeout=240) for process in processes] == [0, 0, 0]
    found = results.Results(open_storage(str(tmp_path)), "toy")
    assert sorted(set(rows(found)["seed"])) == list(range(75))
    assert list(compact.faults(found)) == []
    with_cache = rows(found)
    for name in segments(found):
        found.storage.delete(f"toy/cache/{name}")
    pd.testing.assert_frame_equal(rows(found), with_cache)


def test_the_command_says_what_it_did_and_tables_stay_the_same(tmp_path, capsys, monkeypatch):
    found = sweep_in(tmp_path, seeds=3)
    trials = [PlannedTrial(trial_name(seed=s), "toy", "tiny", "en-O", s, DIGEST) for s in range(3)]
    planfile.write_plan(found, plan_for(trials))

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["xfer-ray", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
        assert not ending.value.code
        return capsys.readouterr().out

    folder = str(tmp_path / "toy")
    before = run("tables", folder, "--values", "ability")
    assert run("compact", folder).startswith(f"3 trials in 1 segment of {folder}/cache, 0.0 MB; 3 of them are new there")
    assert run("tables", folder, "--values", "ability") == before


def test_in_a_bucket_the_cache_says_the_same_and_sees_what_changed(tmp_path, monkeypatch):
    with bucket.served() as proxy:
        for name, value in bucket.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        found = sweep_in(f"s3://{bucket.BUCKET}/{tmp_path.name}", seeds=6)
        before = rows(found)
        assert compact.compact(found).added == 6
        after, paths = parsed(found, monkeypatch)
        assert paths == []
        pd.testing.assert_frame_equal(after, before)
        found.storage.delete(found.table("scores", trial_name(seed=1)))
        found.storage.delete(found.table("scores", trial_name(seed=2)))
        put(found, 2, 77)
        after, paths = parsed(found, monkeypatch)
        assert paths == [trial_name(seed=2)]
        assert set(after["seed"]) == {0, 2, 3, 4, 5}
        assert compact.compact(found).segments == 1
        assert list(compact.faults(found)) == []
