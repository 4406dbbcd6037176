"""Run: pytest tests/test_search.py. Mixtures that a searcher proposes: what is asked, what it is told, and what is never read."""

import json
import re
import signal
import statistics
import sys
from dataclasses import replace

import pandas as pd
import pytest
from toy import Toy
from typer.testing import CliRunner

from xfer_ray import Corpus, Model, Recipe, Task
from xfer_ray.cli import app
from xfer_ray.core import Trial
from xfer_ray.errors import DataError, DeclarationError, SetupError
from xfer_ray.models import MBERT, MT5_BASE
from xfer_ray.search import MOST_REPEATS, SCORE, Search, search
from xfer_ray.sources import parse_source
from xfer_ray.sweep import searchers
from xfer_ray.tasks import TYDIQA, XNLI

SWEEP_FILE = """
import os, signal
from pathlib import Path
from xfer_ray import Corpus, Example, Model, Recipe, Sweep, Task, grid
from xfer_ray.contract import FineTuned
from xfer_ray.errors import DataError

HERE = Path.cwd()
BEST = {"en": 0.25, "de": 0.5, "ru": 0.25, "fi": 0}
SIZES = {"train": 60, "validation": 100}  # of test there is none to read

def load(corpus, split):
    return [Example(str(i), split, corpus.language, ("yes",)) for i in range(SIZES[split])]

def asked(what):
    file = HERE / what
    return file.read_text() if file.exists() else ""

def fine_tune(task, train, select, recipe, seed, context):
    shares = {language: train.languages.count(language) / len(train) for language in BEST}
    if asked("fail") == "+".join(language for language in BEST if shares[language]) + f" {seed}":
        raise DataError("asked to fail")
    with open(HERE / "trained.txt", "a") as file:
        file.write(f"{sorted(shares.items())} {seed}".replace(" ", "") + "\\n")
    if len(asked("trained.txt").split()) == int(asked("kill") or 0):
        os.kill(os.getpid(), signal.SIGKILL)
    right = 90 - 80 * sum((shares[language] - BEST[language]) ** 2 for language in BEST) + seed
    return FineTuned(lambda examples: ["yes" if int(e.id) < right else "yes no" for e in examples], step=1)

CORPORA = tuple(map(Corpus.parse, ("en-O", "de-MT-en", "ru-MT-en", "fi-O")))
TASK = Task(
    name="known", sources=CORPORA, targets=CORPORA, load=load, labels=("yes", "no"), metrics=("accuracy", "f1"), groups={"Rest": ("de", "ru")}
)
MODEL = Model(name="toy", family=fine_tune, recipe=Recipe(steps=1, learning_rate=0.1, batch_size=1), gpus=0)
SWEEP = Sweep("known", grid(tasks=[TASK], models=[MODEL], sources=CORPORA[:3]))
"""


class Known(Toy):
    """A folder with a sweep whose scores are a known function of the mixture: best at one English, two German, one Russian."""

    def declare(self) -> None:
        (self.folder / "known.py").write_text(SWEEP_FILE)

    def search(self, *options: str):
        return self.command("search", "known.py", "--examples", "60", "--in-process", *options)

    def refused(self, *options: str) -> Exception:
        """What the command says where nothing is to begin, in this process."""
        done = CliRunner().invoke(app, ["search", "known.py", "--examples", "60", "--in-process", *options])
        assert not self.results.exists()
        return done.exception

    def planned(self) -> list[str]:
        return [trial["trial"] for trial in json.loads((self.results / "sweep.json").read_text())["trials"]]

    @property
    def results(self):
        return self.folder / "results" / "known-search"


@pytest.fixture
def known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Known(tmp_path)


CORPORA = tuple(map(Corpus.parse, ("en-O", "de-MT-en", "ru-MT-en", "fi-O")))


def unreadable(corpus, split):
    raise AssertionError(f"{split} of {corpus} was read")


TASK = Task(name="t", sources=CORPORA, targets=CORPORA, load=unreadable, labels=("a", "b"))
MODEL = Model(name="m", family="majority", recipe=Recipe(steps=1, learning_rate=0.1, batch_size=1), gpus=0)
ASKED = Search(task=TASK, model=MODEL, pool=CORPORA[:3], examples=1000)


def nearness(asked: Search, best: tuple[float, ...]):
    """A worth that is 1 at some shares of the pool, in its order, and falls with the square of the distance."""

    def evaluate(mixtures):
        worth = {}
        for mixture in mixtures:
            whole = sum(share for _, share in mixture.shares)
            shares = {corpus: share / whole for corpus, share in mixture.shares}
            worth[mixture] = 1 - sum((shares.get(corpus, 0) - share) ** 2 for corpus, share in zip(asked.pool, best, strict=True))
        return worth

    return evaluate


def proposing(name: str, asked: Search, seed: int = 0):
    return searchers.searcher(name, asked.first, shares=asked.shares, seed=seed, metric=SCORE)


class Scripted:
    """A searcher that proposes what it is told to, and remembers what it hears."""

    def __init__(self, *points) -> None:
        self.points, self.heard = iter(points), []

    def suggest(self, name):
        return next(self.points)

    def on_trial_complete(self, name, result=None, error=False):
        self.heard.append((name, "error" if error else result[SCORE]))


def points(*shares: str):
    """One digit for each corpus of the pool: "100" is the first one by itself."""
    return [dict(zip(map(str, ASKED.pool), map(int, text), strict=True)) for text in shares]


# ------------------------------------------------------------------------------ what is asked, and what the searcher is told


def test_single_corpora_and_the_equal_mixture_come_first_whoever_proposes():
    for name in searchers.SEARCHERS:
        tried = list(map(str, search(ASKED, proposing(name, ASKED), nearness(ASKED, (0, 0, 1)))))
        assert tried[:4] == ["de-MT-en@1000", "en-O@1000", "ru-MT-en@1000", "de-MT-en+en-O+ru-MT-en@1000"]
        assert len(tried) == len(set(tried)) == 20


def test_what_is_met_again_is_told_at_once_and_what_is_no_mixture_fails():
    asked = replace(ASKED, candidates=6, together=2)
    script = Scripted(*points("100", "010", "001", "111"), *points("222", "000", "120", "240", "021"))
    evaluated = []

    def evaluate(mixtures):
        evaluated.append(list(map(str, mixtures)))
        return nearness(asked, (1, 0, 0))(mixtures)

    tried = search(asked, script, evaluate)
    assert evaluated == [
        ["de-MT-en@1000", "en-O@1000", "ru-MT-en@1000", "de-MT-en+en-O+ru-MT-en@1000"],
        ["de-MT-en=1+en-O=2@1000", "en-O=2+ru-MT-en=1@1000"],
    ]
    equal, twice = tried[asked.equal], tried[parse_source("de-MT-en=1+en-O=2@1000")]
    assert script.heard[4:6] == [("4", equal), ("5", "error")], "before anything else is evaluated"
    assert script.heard[6:8] == [("6", twice), ("7", twice)], "met again within a round: when it is known"


def test_no_more_is_asked_than_there_is():
    asked = replace(ASKED, pool=CORPORA[:2], shares=2)
    evaluated = []

    def evaluate(mixtures):
        evaluated.extend(map(str, mixtures))
        return nearness(asked, (0.5, 0.5))(mixtures)

    search(asked, proposing("random", asked), evaluate)
    assert sorted(evaluated) == sorted(
        f"{text}@1000" for text in ("de-MT-en", "en-O", "de-MT-en+en-O", "de-MT-en=1+en-O=2", "de-MT-en=2+en-O=1")
    )
    script = Scripted(*points("100", "010", "001", "111"), *points("222") * (MOST_REPEATS + 1))
    assert len(search(ASKED, script, nearness(ASKED, (1, 0, 0)))) == 4
    assert len(script.heard) == 4 + MOST_REPEATS


def test_a_failure_is_told_and_kept_and_where_all_fail_the_search_ends():
    script = Scripted(*points("100", "010", "001", "111"))
    asked = replace(ASKED, candidates=4)
    tried = search(asked, script, lambda mixtures: {m: "no room" if m == asked.equal else 0.5 for m in mixtures})
    assert script.heard[3] == ("3", "error")
    assert tried[asked.equal] == "no room"
    with pytest.raises(DataError, match="^none of the first 4 candidates could be scored, so there is nothing to search by: no room$"):
        search(ASKED, Scripted(*points("100", "010", "001", "111")), lambda mixtures: dict.fromkeys(mixtures, "no room"))


def test_optuna_comes_near_a_known_optimum_and_nearer_than_chance():
    best = (0.5, 0.5, 0.0)
    lacking = {}
    for name in searchers.SEARCHERS:
        found = [search(ASKED, proposing(name, ASKED, seed), nearness(ASKED, best)) for seed in range(8)]
        lacking[name] = [1 - max(tried.values()) for tried in found]
    assert statistics.mean(lacking["optuna"]) < 0.01 < statistics.mean(lacking["random"])
    assert max(lacking["optuna"]) <= 0.02, "the shares 4 and 3, or nearer"


@pytest.mark.parametrize("name", searchers.SEARCHERS)
def test_more_candidates_begin_with_the_same_ones(name):
    few, more = (
        list(search(replace(ASKED, candidates=many), proposing(name, ASKED), nearness(ASKED, (0.2, 0.2, 0.6)))) for many in (9, 15)
    )
    assert more[:9] == few


@pytest.mark.parametrize("name", searchers.SEARCHERS)
def test_a_seed_proposes_the_same_and_another_one_does_not(name):
    tried = [list(search(ASKED, proposing(name, ASKED, seed), nearness(ASKED, (0.2, 0.2, 0.6)))) for seed in (3, 3, 4)]
    assert tried[0] == tried[1] != tried[2]


def test_every_share_is_proposed_and_none_beyond():
    asked = replace(ASKED, candidates=60)
    drawn = [proposing("random", asked, seed) for seed in range(3)]
    shares = {share for searcher in drawn for i in range(40) for share in searcher.suggest(str(i)).values()}
    assert shares == set(range(5))


# ------------------------------------------------------------------------------ what it is judged by


def test_mixtures_are_judged_by_the_dev_sets_of_the_pool_and_by_no_target():
    model = replace(MBERT, name="mbert-dev")
    pool = tuple(map(Corpus.parse, ("sw-MT-en", "en-O", "de-MT-en")))
    asked = Search(task=XNLI, model=model, pool=pool, examples=5000, seeds=(0, 1))
    assert list(map(str, asked.judged.targets)) == ["de-HT-en", "en-O", "sw-HT-en"]
    for trial in asked.trials(asked.equal):
        assert {split for _, split in trial.reads} == {"train", "validation"}
        assert {corpus for corpus, split in trial.reads if split == "validation"} == set(asked.judged.targets)
    assert asked == replace(asked, pool=pool[::-1])
    ordinary = Trial(XNLI, model, asked.equal, 0)
    assert asked.trials(asked.equal)[0].digest != ordinary.digest


def test_two_corpora_of_one_language_count_its_dev_set_once():
    dictionary = Corpus.parse("de-MT-en~dictionary")
    task = replace(XNLI, sources=(*XNLI.sources, dictionary))
    asked = Search(task=task, model=MBERT, pool=(Corpus("en"), Corpus.parse("de-MT-en"), dictionary), examples=5000)
    assert list(map(str, asked.judged.targets)) == ["de-HT-en", "en-O"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pool": (CORPORA[0],)}, "mixtures have two corpora or more, and there is only en-O; name others with --sources"),
        ({"pool": (CORPORA[0], Corpus("sw"))}, "no source of task t 'sw-O'. Possible: en-O, de-MT-en, ru-MT-en, fi-O"),
        ({"pool": (*CORPORA[:2], CORPORA[0])}, "corpora to search mixtures of hold en-O more than once"),
        ({"examples": 11}, "11 examples are too few for shares from 0 to 4 of 3 corpora; give at least 12"),
        ({"task": replace(TASK, size=900)}, "mixture de-MT-en=3+en-O=4+ru-MT-en=4@1000 needs a total of at most 900, for task t keeps that many examples of each corpus"),
        ({"candidates": 3}, "3 candidates leave out some of those that come first, 3 single corpora and the equal mixture; give at least 4"),
        ({"shares": 1001}, "shares of a search go from 0 to 1001; give an integer from 1 to 1000"),
        ({"together": 0}, "a round of a search has 0 mixtures; give a positive integer"),
        (
            {"task": TYDIQA, "pool": TYDIQA.sources},
            "task tydiqa is evaluated on 'validation', which a search would judge by and so use up; declare another select_split, held out of the training sets",
        ),
        (
            {"model": MT5_BASE},
            "model mt5-base chooses its step on dev sets, and a search judges by them, so mixtures would be judged on what they were fitted to; "
            "search with a variant of another name whose recipe has select_every=None, which keeps the last step",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_in_one_sentence(changed, message):
    with pytest.raises(DeclarationError) as error:
        replace(ASKED, **changed)
    assert str(error.value) == message


def test_no_name_that_could_be_proposed_is_too_long():
    pool = tuple(Corpus(f"{a}{b}") for a in "abcde" for b in "vxyz")
    task = replace(TASK, name="t" * 46, sources=pool)  # t…-dev.m.av-O=3+….s0: 200 characters
    asked = Search(task=task, model=MODEL, pool=pool, examples=1000, candidates=40)
    search(asked, proposing("random", asked), lambda mixtures: {m: float(bool(asked.trials(m))) for m in mixtures})
    with pytest.raises(DeclarationError, match="has 201 characters; shorter labels or names keep it to 200"):
        replace(asked, task=replace(task, name="t" * 47))


@pytest.mark.parametrize(("name", "error", "message"), [
    ("optuna", SetupError, "the searcher optuna needs the package optuna, which is not installed; pip install 'xfer-ray[search]' gives it, and --searcher random needs none"),
    ("optima", DeclarationError, "no searcher 'optima'; did you mean 'optuna'? Possible: optuna, random"),
])  # fmt: skip
def test_a_searcher_that_is_not_there_is_refused(monkeypatch, name, error, message):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(error) as refused:
        proposing(name, ASKED)
    assert str(refused.value) == message
    assert search(ASKED, proposing("random", ASKED), nearness(ASKED, (1, 0, 0)))


# ------------------------------------------------------------------------------ the command


def best(stdout: str) -> str:
    return re.search(r"(?m)^best: (.*)$", stdout)[1]


def ranked(stdout: str) -> dict[str, float]:
    return {row[0]: float(row[1]) for row in re.findall(r"(?m)^(\S+@60) +\| +([\d.]+)", stdout)}


def test_a_search_ranks_what_it_tried_and_reads_no_target(known):
    done = known.search("--candidates", "14", "--seeds", "0,1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        "known-search: at most 14 mixtures x 2 seeds = 28 trials of toy, each on 60 examples of known-dev; judged on validation of de-MT-en, en-O, ru-MT-en\n"
    )
    assert len(known.trained()) == 28
    scores = pd.read_parquet(known.results / "scores")
    assert set(scores["split"]) == {"validation"}
    assert set(scores["target"]) == {"de-MT-en", "en-O", "ru-MT-en"}
    means = 100 * scores[scores["metric"] == "accuracy"].groupby("source")["score"].mean()
    assert ranked(done.stdout) == pytest.approx(means.to_dict(), abs=0.051)
    assert list(ranked(done.stdout).values()) == sorted(ranked(done.stdout).values(), reverse=True)
    leading = best(done.stdout).split(" = ")
    assert leading == sorted(means[means > means.max() - 1e-6].index)
    assert means["de-MT-en+en-O+ru-MT-en@60"] < 88 < means.max(), "90.5 is the most that there is"
    single = means[["de-MT-en@60", "en-O@60", "ru-MT-en@60"]].idxmax()
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(leading[0])]
    over = [means.max() - means[rival] for rival in (single, "de-MT-en+en-O+ru-MT-en@60")]
    told = re.findall(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", line)
    for (value, low, high), expected in zip(told, over, strict=True):
        assert float(value) == pytest.approx(expected, abs=0.051)
        assert float(low) <= float(value) <= float(high)
    assert "winner's curse" in " ".join(done.stdout.split())
    tables = known.command("tables", "results/known-search", "--format", "csv", "--metric", "accuracy")
    assert f"known-dev,toy,{leading[0]}," in tables.stdout, tables.stderr


def test_a_search_that_is_killed_goes_on_to_the_same_end(known, tmp_path):
    undisturbed = known.search("--candidates", "10")
    assert undisturbed.returncode == 0, undisturbed.stderr
    (tmp_path / "again").mkdir()
    again = Known(tmp_path / "again")
    (again.folder / "kill").write_text("7")
    assert again.search("--candidates", "10").returncode == -signal.SIGKILL
    assert len(again.committed()) == 6
    (again.folder / "kill").unlink()
    done = again.search("--candidates", "10", "--sources", "ru-MT-en,en-O,de-MT-en")
    assert done.stdout == undisturbed.stdout
    assert again.committed() == known.committed()
    assert len(again.trained()) == 10 + 1, "only the one that was killed is done again"


def test_a_candidate_that_fails_is_named_and_tried_again(known):
    (known.folder / "fail").write_text("en+de 1")  # the other seed is done
    options = ("--candidates", "4", "--shares", "1", "--sources", "en-O,de-MT-en", "--seeds", "0,1", "--searcher", "random")
    failed = known.search(*options)
    assert failed.returncode == 5
    assert "not scored: de-MT-en+en-O@60: asked to fail\n" in failed.stdout
    assert set(ranked(failed.stdout)) == {"de-MT-en@60", "en-O@60"}
    (known.folder / "fail").unlink()
    mended = known.search(*options)
    assert mended.returncode == 0, mended.stderr
    assert set(ranked(mended.stdout)) == {"de-MT-en@60", "en-O@60", "de-MT-en+en-O@60"}
    assert "ended with 3 of 4 candidates: the searcher proposed nothing new any more\n" in mended.stdout
    assert "not scored" not in mended.stdout
    assert len(known.trained()) == len(set(known.trained())) == 6


def test_a_budget_beyond_the_items_ends_before_anything_is_trained(known):
    done = known.command("search", "known.py", "--examples", "10000", "--in-process")
    assert done.returncode == 3
    assert (
        "none of the first 4 candidates could be scored, so there is nothing to search by: train of de-MT-en@10000 in task known-dev "
        "has only 60 examples in these shares, each item in one language; give a total of at most 60\n"
    ) in done.stderr
    assert known.trained() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sources", "en-O,sw-O"], "no source of task known 'sw-O'"),
        (["--sources", "en-O"], "mixtures have two corpora or more, and there is only en-O"),
        (["--sources", "en-O+de-MT-en,ru-MT-en"], "corpus 'en-O+de-MT-en' is a mixture"),
        (["--task", "unknown"], "no task in sweep known 'unknown'; did you mean 'known'? Possible: known"),
        (["--model", "mbert"], "no model in sweep known 'mbert'. Possible: toy"),
        (["--searcher", "grid"], "no searcher 'grid'. Possible: optuna, random"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_starts(known, options, message):
    refused = known.refused(*options)
    assert isinstance(refused, DeclarationError)
    assert str(refused).startswith(message)


def test_a_search_has_one_task_and_one_model(known):
    file = known.folder / "known.py"
    file.write_text(
        file.read_text()
        + "from dataclasses import replace\nSWEEP = Sweep('known', grid(tasks=[TASK], models=[MODEL, replace(MODEL, name='other')]))\n"
    )
    assert str(known.refused()) == "sweep known has several models: toy, other; a search has one, name it with --model"


def test_what_does_not_exist_yet_is_said_before_anything_starts(known):
    file = known.folder / "known.py"
    file.write_text(file.read_text().replace("MODEL = Model(", "MODEL = Model(checkpoint='./unmade', "))
    refused = known.refused()
    assert isinstance(refused, SetupError)
    assert str(refused).startswith("the search cannot begin: checkpoint folder ./unmade does not exist")


@pytest.mark.slow
def test_on_ray_the_same_search_ends_alike(known, tmp_path):
    alone = known.search("--candidates", "8")
    (tmp_path / "ray").mkdir()
    on_ray = Known(tmp_path / "ray")
    done = on_ray.command("search", "known.py", "--examples", "60", "--candidates", "8", "--max-concurrent", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone.stdout
    assert on_ray.committed() == known.committed()


def test_mixtures_that_score_alike_are_all_the_best(known):
    (known.folder / "known.py").write_text(SWEEP_FILE.replace("right = 90", "right = 50 + 0 * 90").replace("80 * sum", "0 * sum"))
    done = known.search("--candidates", "4")
    assert done.returncode == 0, done.stderr
    assert "best: de-MT-en+en-O+ru-MT-en@60 = de-MT-en@60 = en-O@60 = ru-MT-en@60\n" in done.stdout


def test_a_plan_never_shrinks_and_a_name_holds_one_kind_of_search(known):
    assert known.search("--candidates", "6").returncode == 0
    first = set(known.planned())
    assert known.command("search", "known.py", "--examples", "30", "--in-process", "--candidates", "4", "--seeds", "1").returncode == 0
    assert first < set(known.planned())
    assert "10 trials, 10 done" in known.command("status", "results/known-search").stdout
    other = known.search("--candidates", "5", "--sources", "en-O,de-MT-en,fi-O")
    assert other.returncode == 2
    assert "results/known-search holds known-dev by toy, evaluated on de-MT-en, en-O, ru-MT-en; this search is of" in other.stderr
    assert other.stderr.rstrip().endswith("give it another --name")
    assert known.search("--candidates", "5", "--sources", "en-O,de-MT-en,fi-O", "--name", "second").returncode == 0
    assert len(known.planned()) == 10


def test_two_searches_of_one_name_tell_each_its_own_limits(known):
    alone = known.search("--candidates", "5", "--seeds", "0-1")
    other = known.start("search", "known.py", "--examples", "60", "--in-process", "--candidates", "5", "--seeds", "0")
    again = known.search("--candidates", "5", "--seeds", "0-1")
    other.communicate(timeout=120)
    assert again.stdout == alone.stdout
