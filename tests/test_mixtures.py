"""Run: pytest tests/test_mixtures.py. Several corpora as one source: how they are spelled, drawn, trained on, stored and shown."""

import heapq
import json
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import scored
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import Toy

from analysis import rules, transfer
from analysis.render import render
from analysis.selection import Options
from analysis.tables import build
from tests import bucket
from xfer_ray import Corpus, Example, Model, Recipe, Sweep, Task, compact, grid, planfile, results, storage
from xfer_ray.contract import FineTuned
from xfer_ray.core import Trial
from xfer_ray.data import examples_of
from xfer_ray.desk import Desk
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.importing import import_scores
from xfer_ray.results import Results
from xfer_ray.sources import Mixture, parse_source
from xfer_ray.storage import open_storage
from xfer_ray.tasks import MINIATURE, XNLI_PAIRS
from xfer_ray.trial import run

ENGLISH, GERMAN, RUSSIAN, FINNISH = sources = tuple(map(Corpus.parse, ("en-O", "de-MT-en", "ru-MT-en", "fi-O")))
SIZES = {"train": 60, "validation": 20, "test": 10}


def load(corpus, split):
    """Parallel but for Finnish, whose ids are the same and mean other items; one Russian item is missing."""
    there = [i for i in range(SIZES[split]) if (corpus, i) != (RUSSIAN, 7)]
    return [Example(str(i), f"{split} {i}", corpus.language, (tiny.LABELS[i % 3],)) for i in there]


TASK = Task(name="mixed", sources=sources, targets=(ENGLISH,), load=load, labels=tiny.LABELS)
MODEL = Model(name="m", family="majority", recipe=Recipe(steps=2, learning_rate=0.1, batch_size=1), gpus=0)


def read(spelling: str, split: str = "train", task: Task = TASK, **how):
    return examples_of(task, parse_source(spelling), split, **how)


def items(examples) -> list[str]:
    return [example.id.partition("/")[2] for example in examples]


# ------------------------------------------------------------------------------ spelling


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("ru-MT-en+de-MT-en", "de-MT-en+ru-MT-en"),
        ("ru-MT-en=2+de-MT-en=2@9", "de-MT-en+ru-MT-en@9"),
        ("ru-MT-en=2+de-MT-en=6@392702", "de-MT-en=3+ru-MT-en=1@392702"),
        ("de-MT-en=3+en-MT-de-MT-en~opus", "de-MT-en=3+en-MT-de-MT-en~opus=1"),
        ("en-O=4@5000", "en-O@5000"),
        ("de-MT-en~a", "de-MT-en~a"),
    ],
)
def test_a_mixture_has_one_spelling(written, canonical):
    assert str(parse_source(written)) == canonical
    assert parse_source(canonical) == parse_source(written)
    trials = [Trial(replace(TASK, sources=parse_source(text).corpora), MODEL, parse_source(text), 0) for text in (written, canonical)]
    assert len({trial.id for trial in trials}) == 1


corpora = st.sampled_from([*sources, Corpus.parse("en-MT-de-MT-en~opus"), Corpus("zh_Hant", "HT", ENGLISH)])
mixtures = st.builds(
    Mixture,
    st.lists(st.tuples(corpora, st.integers(1, 12)), min_size=2, max_size=5, unique_by=lambda pair: pair[0]).map(tuple),
    st.none() | st.integers(200, 10**6),
)


@settings(deadline=None)
@given(mixtures)
def test_parse_and_print_are_inverse(mixture):
    assert parse_source(str(mixture)) == mixture
    assert Mixture(mixture.shares[::-1], mixture.total) == mixture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("de-MT-en+de-MT-en", "corpora of a mixture hold de-MT-en more than once"),
        ("en-O=3", "a mixture has at least two corpora, or one and a total"),
        ("en-O+de", "corpus 'de' is not spelled like 'en-O', 'de-MT-en', 'sw-HT-en', 'en-MT-de-MT-en' or 'de-MT-en~opus'; did you mean 'de-O'?"),
        ("de-O+en-O@0", "mixture 'de-O+en-O@0' has '0' for a number; it is spelled like 'de-MT-en+ru-MT-en', 'en-O@5000' or 'de-MT-en=3+ru-MT-en=1@392702'"),
        ("de-O=1_0+en-O", "mixture 'de-O=1_0+en-O' has '1_0' for a number; it is spelled like 'de-MT-en+ru-MT-en', 'en-O@5000' or 'de-MT-en=3+ru-MT-en=1@392702'"),
        ("de-O=1001+en-O", "the share of de-O in a mixture is 1001; give an integer from 1 to 1000"),
        ("de-O=9+en-O@3", "the total of mixture de-O=9+en-O=1@3 leaves no example for en-O; give more"),
    ],
)  # fmt: skip
def test_what_is_no_mixture_is_refused_in_one_sentence(text, message):
    with pytest.raises(DeclarationError) as error:
        parse_source(text)
    assert str(error.value) == message


def test_a_mixture_of_what_the_task_lacks_or_beyond_its_size_is_refused():
    with pytest.raises(DeclarationError, match="^no source of task mixed 'sw-O'"):
        grid(tasks=[TASK], models=[MODEL], sources=["en-O+sw-O"])
    sized = replace(TASK, size=50)
    assert grid(tasks=[sized], models=[MODEL], sources=["de-MT-en+en-O@50"])
    for spelling in ("de-MT-en+en-O", "de-MT-en+en-O@51"):
        with pytest.raises(DeclarationError) as error:
            grid(tasks=[sized], models=[MODEL], sources=[spelling])
        assert str(error.value) == (
            f"mixture {spelling} needs a total of at most 50, for task mixed keeps that many examples of each corpus"
        )
    twice = [Trial(TASK, MODEL, parse_source(text), 0) for text in ("de-MT-en+ru-MT-en", "ru-MT-en=2+de-MT-en=2")]
    with pytest.raises(DeclarationError, match="declares task mixed, model m, source de-MT-en.ru-MT-en, seed 0 more than once"):
        Sweep("s", tuple(twice))


def test_the_sweeps_and_the_page_declare_what_they_say():
    from sweeps import demo_mixtures, mixtures

    assert XNLI_PAIRS.rows["train"] == mixtures.WHOLE
    assert len(mixtures.SWEEP.trials) == 2 * (15 + 6 + 8)
    assert {trial.source.total for trial in demo_mixtures.SWEEP.trials} == {None, 900, MINIATURE.load.train}
    page = (Path(__file__).resolve().parents[1] / "docs" / "mixtures.md").read_text()
    declared: dict[str, Sweep] = {}
    first = page.split("\n## ")[0]
    exec("\n".join(line[4:] for line in first.splitlines() if line.startswith("    ")), declared)
    assert [str(trial.source) for trial in declared["SWEEP"].trials] == declared["SOURCES"]
    for spelling in re.findall(r"(?m)^\| `(.+?)` \|", page):
        assert str(parse_source(spelling)) == spelling


# ------------------------------------------------------------------------------ drawing


def webster(weights: list[int], total: int) -> Counter[int]:
    """Seats by highest averages, one at a time: the next goes to the largest w / (2 seats + 1)."""
    seats, averages = Counter(), [(-Fraction(weight), i) for i, weight in enumerate(weights)]
    heapq.heapify(averages)
    for _ in range(total):
        _, i = heapq.heappop(averages)
        seats[i] += 1
        heapq.heappush(averages, (-Fraction(weights[i], 2 * seats[i] + 1), i))
    return seats


@settings(deadline=None)
@given(mixtures, st.integers(1, 400))
def test_turns_share_out_any_number_as_webster_does(mixture, total):
    turns = mixture.turns * (total // len(mixture.turns) + 1)
    assert Counter(turns[:total]) == webster([share for _, share in mixture.shares], total)


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    shares = "de-MT-en=6+en-O=6+ru-MT-en=2"  # largest remainders would take an example from Russian between 10 and 11
    for small, large in ((10, 11), (11, 45), (45, 59)):
        assert read(f"{shares}@{small}").items == read(f"{shares}@{large}")[:small]
    assert Counter(read(f"{shares}@14").languages) == {"de": 6, "en": 6, "ru": 2}


DRAWN_FIRST = ["20", "50", "27", "47", "34"]  # another order would disown every result of a mixture


def test_under_a_total_translations_give_the_items_that_their_original_would():
    alone, both = read("en-O@30"), read("de-MT-en+en-O@30")
    assert items(both) == items(alone)
    assert [example.id.partition("/")[0] for example in both[:4]] == ["de-MT-en", "en-O", "de-MT-en", "en-O"]
    assert [example.second for example in both] == list(both.languages) == ["de", "en"] * 15
    assert items(alone)[:5] == DRAWN_FIRST
    assert items(read("ru-MT-en@59")) == [i for i in items(read("en-O@60")) if i != "7"], "the others keep their order"
    assert sorted(items(read("de-MT-en+en-O@60")), key=int) == [str(i) for i in range(60)]
    assert set(items(read("ru-MT-en+en-O@60"))) == set(map(str, range(60))), "English gives what Russian lacks"


def test_originals_of_their_own_are_other_items_whatever_their_ids():
    assert len(read("en-O+fi-O@120")) == 120
    assert len({example.id for example in read("en-O+fi-O@120")}) == 120


def test_a_total_beyond_what_is_there_is_refused_with_what_is():
    with pytest.raises(DataError) as error:
        read("de-MT-en+en-O@61")
    assert str(error.value) == (
        "train of de-MT-en+en-O@61 in task mixed has only 60 examples in these shares, each item in one language; give a total of at most 60"
    )
    assert len(read("de-MT-en+en-O@60")) == 60


def test_without_a_total_every_corpus_gives_all_that_the_shares_allow():
    everything = read("de-MT-en+en-O")
    assert Counter(example.id for example in everything) == Counter(f"{corpus}/{i}" for corpus in ("de-MT-en", "en-O") for i in range(60))
    assert Counter(read("de-MT-en=3+en-O=1").languages) == {"de": 60, "en": 20}


def test_a_task_of_a_size_mixes_the_items_that_it_keeps():
    sized = replace(TASK, name="sized", size=20)
    kept = set(items(read("en-O@20", task=sized, size=20)))
    assert kept == {example.id for example in read("en-O", task=sized, size=20)}
    assert set(items(read("de-MT-en+en-O@20", task=sized, size=20))) == kept


def test_the_dev_set_holds_the_languages_of_the_source_in_its_shares():
    chosen = TASK.select_corpus(parse_source("de-MT-en=3+en-O=1@40"))
    assert str(chosen) == "de-MT-en=3+en-O=1"
    assert Counter(read(str(chosen), "validation").languages) == {"de": 20, "en": 7}
    assert TASK.select_corpus(parse_source("en-O@40")) == ENGLISH
    human = replace(TASK, select_corpora=(ENGLISH, Corpus.parse("de-HT-en")))
    assert str(human.select_corpus(parse_source("de-MT-en+en-O@40"))) == "de-HT-en+en-O"
    back = replace(human, sources=(*sources, Corpus.parse("en-MT-de-MT-en")))
    assert back.select_corpus(parse_source("en-MT-de-MT-en+en-O@40")) == ENGLISH


# ------------------------------------------------------------------------------ a trial, and its files

SEEN: dict[str, object] = {}


def watchful(task, train, select, recipe, seed, context):
    SEEN.update(train=train, select=select, score=context.score([select_answer.answers[0] for select_answer in select]))
    return FineTuned(lambda examples: ["neutral"] * len(examples))


def test_a_trial_reads_its_own_languages_only_and_names_its_source(tmp_path):
    model = replace(MODEL, family=watchful, recipe=replace(MODEL.recipe, select_every=1))
    trial = Trial(TASK, model, parse_source("ru-MT-en=1+de-MT-en=3@40"), 0)
    assert [f"{corpus} {split}" for corpus, split in trial.reads] == [
        "de-MT-en train", "ru-MT-en train", "en-O test", "de-MT-en validation", "ru-MT-en validation",
    ]  # fmt: skip
    desk = Desk(Results(open_storage(str(tmp_path / "results")), "mine"), tmp_path / "scratch", {})
    assert run(trial, desk) == "committed"
    assert (len(SEEN["train"]), {e.second for e in SEEN["select"]}, SEEN["score"]) == (40, {"de", "ru"}, 1.0)
    assert SEEN["train"].fingerprint == read("de-MT-en=3+ru-MT-en@40").fingerprint
    assert set(compact.read_scores(desk.results)["source"]) == {"de-MT-en=3+ru-MT-en=1@40"}
    assert run(trial, desk) == "done"


def test_a_metric_of_a_language_judges_each_dev_example_in_its_own(monkeypatch):
    from xfer_ray import metrics, scoring

    monkeypatch.setattr(metrics, "metric", lambda name: lambda answer, answers, language: float(answer == language))
    mixture = parse_source("de-MT-en=3+ru-MT-en=1@40")
    dev = examples_of(TASK, TASK.select_corpus(mixture), "validation")
    assert scoring.worth(TASK, mixture, dev, [example.second for example in dev]) == 1.0
    assert scoring.worth(TASK, mixture, dev, ["de"] * len(dev)) == dev.languages.count("de") / len(dev)


MIXED = 'grid(tasks=[TOY], models=[TOY_MODEL], sources=["en-O", "de-HT-en", "ru-HT-en", "ru-HT-en=1+de-HT-en=2@12"], seeds=[0])'


def test_the_commands_know_a_mixture_in_any_order_and_everyone_reads_its_files(tmp_path):
    toy = Toy(tmp_path)
    file = tmp_path / "toy.py"
    file.write_text(file.read_text().replace("grid(tasks=[TOY], models=[TOY_MODEL], seeds=(0, 1))", MIXED))
    done = toy.run("--in-process", "--only", "source=ru-HT-en=2+de-HT-en=4@12,source=en-O")
    assert done.returncode == 0, done.stderr
    assert [name.rpartition(".s0")[0] for name in toy.committed()] == ["toy.toy-model.de-HT-en=2+ru-HT-en=1@12", "toy.toy-model.en-O"]
    scores = toy.results / "scores"
    for frame in (
        pd.read_parquet(scores),
        pd.read_parquet(scores, engine="fastparquet"),
        duckdb.sql(f"select * from '{scores}/*.parquet'").df(),
    ):
        assert set(frame["source"]) == {"en-O", "de-HT-en=2+ru-HT-en=1@12"}
        assert len(frame) == 6
    planned = json.loads(toy.command("plan", "toy.py", "--json").stdout)
    assert planned["counts"] == {"done": 2, "to_run": 2, "failed": 0, "blocked": 0}
    assert toy.command("check", "results/toy").returncode == 0
    shown = toy.command("tables", "results/toy", "--values", "ability", "--format", "csv").stdout
    assert "toy,toy-model,de-HT-en=2+ru-HT-en=1@12,ability,1," in shown


def test_a_bucket_keeps_the_name_of_a_mixture(monkeypatch):
    trial = "toy.m.de-MT-en=3+ru-MT-en=1@40.s0-0123456789ab"
    with bucket.served() as proxy:
        for name, value in bucket.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        storage._place.cache_clear()
        found = Results(open_storage(f"s3://{bucket.BUCKET}/mixed"), "mine")
        assert found.storage.create(found.table("scores", trial), b"bytes")
        assert results.done(found) == {trial}
        assert found.storage.read(found.table("scores", trial)) == b"bytes"
        storage._place.cache_clear()


def test_scores_of_a_mixture_are_imported_and_a_target_is_none(tmp_path):
    head = "task,model,source,seed,target,metric,score\n"
    (tmp_path / "theirs.csv").write_text(f"{head}t,m,ru-MT-en+de-MT-en@9,0,en,accuracy,0.5\nt,m,en,0,en,accuracy,0.6\n")
    taken = import_scores(tmp_path / "theirs.csv", open_storage(str(tmp_path)), name="theirs", percent=False, known=lambda name: None)
    assert [trial.source for trial in planfile.read_plan(taken).trials] == ["de-MT-en+ru-MT-en@9", "en-O"]
    (tmp_path / "odd.csv").write_text(f"{head}t,m,en,0,de-O+ru-O,accuracy,0.5\n")
    with pytest.raises(DataError, match="target: corpus 'de-O.ru-O' is a mixture; only a source may be one"):
        import_scores(tmp_path / "odd.csv", open_storage(str(tmp_path)), name="odd", percent=False, known=lambda name: None)


# ------------------------------------------------------------------------------ tables

TARGETS = ("en-O", "de-HT-en", "ru-HT-en", "zh-HT-en")
BOTH = "de-MT-en+ru-MT-en@4000"
CELLS = {
    "en-O": (0.8, 0.6, 0.4, 0.5),
    "de-MT-en": (0.7, 0.8, 0.5, 0.5),
    "ru-MT-en": (0.6, 0.6, 0.8, 0.5),
    "zh-MT-en": (0.6, 0.5, 0.4, 0.8),
    BOTH: (0.8, 0.9, 0.9, 0.6),
}


def table(**options):
    facts = scored.facts(TARGETS, groups={"All": TARGETS})
    scores = scored.rows({("m", s, t): value for s, row in CELLS.items() for t, value in zip(TARGETS, row, strict=True)})
    return build(scored.plan({"toy": facts}, ("m",), tuple(CELLS)), scores, Options(**options))


def test_a_mixture_is_a_source_like_others_and_no_denominator_unless_named():
    cells = scored.cells(table(), "m", BOTH)
    assert list(cells.values()) == pytest.approx([0, 100 * 0.3 / 0.8, 100 * 0.5 / 0.8, 12.5, 100 * (0.3 + 0.5 + 0.1) / 3.2])
    named = scored.cells(table(denominators=BOTH), "m", "en-O")
    assert list(named.values())[:4] == pytest.approx([100, 60 / 0.9, 40 / 0.9, 62.5])
    with pytest.raises(DeclarationError, match=r"de-MT-en\+ru-MT-en@4000 and de-MT-en are both named as the denominator for de; name one"):
        table(denominators=f"{BOTH},de-MT-en")


def test_common_targets_leave_out_every_language_of_a_mixture():
    cells = scored.cells(table(values="common"), "m", BOTH)
    assert [name for name, value in cells.items() if value == value] == ["zh-HT-en", "->All"]
    assert cells["->All"] == pytest.approx(12.5)
    matrix = pd.DataFrame(CELLS, index=TARGETS).T
    assert transfer.transfer_gap(matrix).loc[BOTH].isna().all(), "two homes"
    spoiled = matrix.copy()
    spoiled.loc[BOTH, ["de-HT-en", "ru-HT-en"]] = 0.0
    pd.testing.assert_series_equal(transfer.source_effects(matrix), transfer.source_effects(spoiled))


def test_a_mixture_in_every_language_is_not_ranked_and_spoils_no_ranking():
    matrix = pd.DataFrame(CELLS, index=TARGETS).T
    without = transfer.source_effects(matrix)
    matrix.loc["de-MT-en+en-O+ru-MT-en+zh-MT-en@40"] = 1.0
    effects = transfer.source_effects(matrix)
    assert effects.isna().tolist() == [False] * 5 + [True]
    pd.testing.assert_series_equal(effects[:-1], without)
    assert transfer.source_effects(matrix[-1:]).isna().all()
    cells = {**CELLS, "de-MT-en+en-O+ru-MT-en+zh-MT-en@4000": CELLS["en-O"]}
    scores = scored.rows({("m", s, t): value for s, row in cells.items() for t, value in zip(TARGETS, row, strict=True)})
    plan = scored.plan({"toy": scored.facts(TARGETS)}, ("m",), tuple(reversed(cells)))
    (ranked,) = re.findall(r"(?s)source effects: (.*?)\n\n", render(build(plan, scores, Options(values="common"))))
    values = re.findall(r"\s([+-][\d.]+|--)", ranked)
    assert values == [*sorted(values[:-1], key=float, reverse=True), "--"]


@pytest.mark.parametrize(
    ("source", "sources", "over"),
    [
        (BOTH, ["en-O", "de-MT-en"], "en-O"),
        (BOTH, ["en-O", "en-O@4000", "en-O@500"], "en-O@4000"),
        ("de-MT-en@500", ["en-O", "en-O@4000"], "en-O"),
        ("de-MT-en", ["en-O@4000", "de-MT-en"], None),
        ("de-MT-fi+ru-MT-fi@9", ["en-O", "en-MT-fi", "en-MT-fi@9", "en-O@9"], "en-MT-fi@9"),
        ("de-MT-fi@9", ["en-O@9", "en-MT-fi"], "en-MT-fi"),
        ("fi-O+de-MT-en@9", ["en-O", "en-MT-fi@9"], "en-O"),
        ("fi-O+de-MT-en@9", ["en-O", "en-O@9"], "en-O@9"),
        ("en-O@4000", ["en-O", "en-O@4000"], "en-O@4000"),
        (BOTH, ["de-MT-en+en-O@4000"], None),
        (BOTH, ["en-MT-de-MT-en+en-O@4000", "en-O"], "en-O"),
    ],
)
def test_the_baseline_of_a_mixture_is_english_under_the_same_total_else_english(source, sources, over):
    assert rules.baseline(source, [*sources, source], None) == over


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("text", "de^MT+ru^MT@4,000 "),
        ("markdown", "| de<sup>MT</sup>+ru<sup>MT</sup>@4,000 |"),
        ("latex", r"de\textsuperscript{MT}+ru\textsuperscript{MT}@4,000 &"),
        ("html", "<td>de<sup>MT</sup>+ru<sup>MT</sup>@4,000</td>"),
        ("csv", "toy,m,de-MT-en+ru-MT-en@4000,advantage,1,"),
    ],
)
def test_every_format_calls_a_mixture_by_a_short_name(style, name):
    assert name in render(table(), style)
    if style != "csv":
        assert "a+b joins corpora" in render(table(), style)
    verdict = render(table(layout="summary"), style)
    assert "x" in verdict
    assert style == "csv" or name.strip("| &<>td/") in verdict, "in other languages than the baseline, so it counts"


def test_a_long_mixture_is_counted_in_its_name_and_spelled_in_the_legend():
    long = "de-MT-en+en-O+ru-MT-en+sw-MT-en+zh-MT-en@9"
    alike = [f"en-O+{one}-MT-en+ru-MT-en+sw-MT-en+zh-MT-en@8" for one in ("fr", "es")]
    cells = {name: CELLS["en-O"] for name in ("en-O", long, f"{long}0", *alike)}
    facts = scored.facts(TARGETS, normalized=False)
    scores = scored.rows({("m", s, t): value for s, row in cells.items() for t, value in zip(TARGETS, row, strict=True)})
    text = render(build(scored.plan({"toy": facts}, ("m",), tuple(cells)), scores, Options()))
    assert "\n5 corpora@9 " in text
    assert f"\n5 corpora@90: {long}0\n" in text
    assert "\nen^O+en^O->fr^MT+en^O->ru^MT+en^O->sw^MT+en^O->zh^MT@8 " in text, "two that would be called alike"
