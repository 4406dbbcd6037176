"""The command `translate`: from a labeled corpus to a corpus folder, by real translators, on Ray Data and without."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import small_translator

from xfer_ray import corpora, results
from xfer_ray.sources import Corpus
from xfer_ray.tasks import folder

MINE = """
from dataclasses import dataclass, field
from xfer_ray import Corpus, Example, Sweep, Task, grid
from xfer_ray.models import MAJORITY
from xfer_ray.tasks import Translatable

ENGLISH, GERMAN, BACK = Corpus.parse("en-O"), Corpus.parse("de-MT-en"), Corpus.parse("en-MT-de-MT-en")
SOURCES = (ENGLISH, GERMAN, Corpus.parse("de-MT-en~other"), BACK)

def pairs(corpus, split):
    return [Example(str(i), f"The {split} has {i} trees, and {'many ' * (i % 20)}birds.", f"There are {i % 5} trees in it.", (("yes", "no")[i % 2],)) for i in range({pairs})]

CONTEXTS = [
    "Anna lives in Rome. Her brother lives in Paris.",
    "The tower is 1,000 feet high. It was built in 1889.",
]
ASKED = [
    ("q0", "Where does Anna live?", 0, "Rome"),
    ("q1", "Where does her brother live?", 0, "Paris"),
    ("q2", "How high is the tower?", 1, "1,000 feet"),
    ("q3", "When was it built?", 1, "1889"),
    ("q4", "What is written?", 0, CONTEXTS[0]),
]

def questions(corpus, split):
    return [Example(i, q, CONTEXTS[c], (a,), (CONTEXTS[c].index(a),)) for i, q, c, a in ASKED]

PAIRS = Task(name="pairs", sources=SOURCES, targets=(ENGLISH,), load=Translatable(load=pairs, name="pairs"), labels=("yes", "no"))
QUESTIONS = Task(name="questions", sources=SOURCES, targets=(ENGLISH,), load=Translatable(load=questions, name="questions"), metrics=("f1",), normalized=False)
SWEEP = Sweep("mine", grid(tasks=[PAIRS, QUESTIONS], models=[MAJORITY], sources=["en-O", "de-MT-en"]))
"""

GERMAN = {
    "Anna lives in Rome. Her brother lives in Paris.": "Anna wohnt in Rom. Ihr Bruder wohnt in Paris.",
    "The tower is 1,000 feet high. It was built in 1889.": "Der Turm ist 1.000 Fuß hoch. Er wurde 1889 gebaut.",
    "Where does Anna live?": "Wo wohnt Anna?",
    "Where does her brother live?": "Wo wohnt ihr Bruder?",
    "How high is the tower?": "Wie hoch ist der Turm?",
    "When was it built?": "Wann wurde er gebaut?",
    "What is written?": "Was steht da?",
    "Rome": "Rom",
    "Paris": "Lutetia Parisiorum",
    "1,000 feet": "1,000 Fuss",
    "1889": "1889",
}


SEVENTH = f"The train has 7 trees, and {'many ' * 7}birds."


class World:
    """A folder with tasks of one's own, and the commands run there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.declare()

    def declare(self, pairs: int = 40) -> None:
        (self.path / "mine.py").write_text(MINE.replace("{pairs}", str(pairs)))

    def table(self, translations: dict[str, str], name: str = "mt.csv") -> str:
        pd.DataFrame({"source": list(translations), "translation": list(translations.values())}).to_csv(self.path / name, index=False)
        return f"file:{name}"

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-c", "from xfer_ray.cli import main; main()", *arguments]
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"XFER_RAY_CACHE": str(self.path / "cache")}
        return subprocess.Popen(command, cwd=self.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def translate(self, task: str, translator: str, *more: str, to: str = "de") -> subprocess.CompletedProcess:
        return self.command("translate", f"mine.py:{task}", "--from", "en", "--to", to, "--translator", translator, *more)

    def folder(self, task: str, corpus: str = "de-MT-en", root: str = "translated") -> Path:
        return self.path / root / task / corpus

    def card(self, task: str, corpus: str = "de-MT-en") -> dict:
        return json.loads((self.folder(task, corpus) / "card.json").read_text())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def pairs_in_german(count: int = 40) -> dict[str, str]:
    english = [
        text
        for i in range(count)
        for text in (f"The train has {i} trees, and {'many ' * (i % 20)}birds.", f"There are {i % 5} trees in it.")
    ]
    return {
        text: text.replace("The train has", "Der Zug hat").replace("There are", "Es gibt").replace("trees", "Bäume") for text in english
    }


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


# ------------------------------------------------------------------------------ what is made


def test_pairs_keep_their_labels_and_a_sweep_runs_on_them(world):
    done = world.translate("pairs", world.table(pairs_in_german()), "--in-process")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["translated/pairs/de-MT-en: train, 40 of 40 kept"]
    examples = folder.read(str(world.path / "translated"), "pairs", Corpus.parse("de-MT-en"), "train")
    assert [example.id for example in examples] == [str(i) for i in range(40)]
    assert (examples[3].first, examples[3].second) == ("Der Zug hat 3 Bäume, and many many many birds.", "Es gibt 3 Bäume in it.")
    assert [example.answers for example in examples[:2]] == [("yes",), ("no",)]
    card = world.card("pairs")
    assert card["translator"]["kind"] == "file"
    assert len(card["translator"]["fingerprint"]) == 40
    assert (card["corpus"], card["origin"], card["task"]) == ("de-MT-en", "en-O", "pairs")
    assert (card["counts"], card["origin_counts"], card["projection"]) == ({"train": 40}, {"train": 40}, None)
    run = world.command("run", "mine.py", "--in-process", "--only", "task=pairs")
    assert run.returncode == 0, run.stderr
    scores = pd.read_parquet(world.path / "results/mine/scores")
    assert set(scores["source"]) == {"en-O", "de-MT-en"}


def test_answers_are_found_again_and_every_fate_is_written_down(world):
    texts = {**GERMAN, "Rome": "Rom"}
    done = world.translate("questions", world.table(texts), "--in-process")
    assert done.returncode == 0, done.stderr
    assert "translated/questions/de-MT-en: train, 4 of 5 kept (1 distance)" in done.stdout
    examples = {e.id: e for e in folder.read(str(world.path / "translated"), "questions", Corpus.parse("de-MT-en"), "train")}
    assert {id_: e.answers for id_, e in examples.items()} == {
        "q0": ("Rom",),
        "q2": ("1.000 Fuß",),
        "q3": ("1889",),
        "q4": ("Anna wohnt in Rom. Ihr Bruder wohnt in Paris.",),
    }
    assert all(e.second[start:].startswith(answer) for e in examples.values() for answer, start in zip(e.answers, e.starts, strict=True))
    fates = pd.read_parquet(world.folder("questions") / "train.audit.parquet").set_index("id")
    assert list(fates["method"]) == ["exact", "closest", "closest", "exact", "exact"]
    assert fates.loc["q2", "distance"] == 3
    assert (fates.loc["q1", "reason"], fates.loc["q1", "kept"]) == ("distance", False)
    assert fates.loc["q1", "translated"] == "Lutetia Parisiorum"
    assert list(fates["bucket"]) == ["1-5", "11-20", "6-10", "1-5", "41+"]


def test_another_distance_needs_no_new_translation_but_another_name(world):
    spec = world.table(GERMAN)
    assert world.translate("questions", spec, "--in-process").returncode == 0
    refused = world.translate("questions", spec, "--in-process", "--max-distance", "15")
    assert refused.returncode == 2
    assert "holds another translation: its projection is max_distance=5, not max_distance=15; give a --label to keep both" in refused.stderr
    assert "or delete the folder's card.json to make it anew, if no sweep has been trained on it" in refused.stderr
    (world.folder("questions") / "card.json").unlink()
    again = world.translate("questions", spec, "--in-process", "--max-distance", "15")
    assert "1 of 1 shards translated" in again.stderr
    assert "5 of 5 kept" in again.stdout


def test_a_translator_that_was_moved_is_the_same(world):
    spec = world.table(pairs_in_german())
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    before = contents(world.folder("pairs"))
    (world.path / "mt.csv").rename(world.path / "moved.csv")
    assert world.translate("pairs", "file:moved.csv", "--in-process").returncode == 0
    (world.folder("pairs") / "card.json").unlink()
    again = world.translate("pairs", "file:moved.csv", "--in-process")
    assert "1 of 1 shards translated" in again.stderr
    assert contents(world.folder("pairs")).keys() == before.keys()


def test_an_empty_translation_is_counted_and_not_kept(world):
    texts = pairs_in_german() | {SEVENTH: "", "There are 4 trees in it.": " "}
    done = world.translate("pairs", world.table(texts), "--in-process")
    assert done.returncode == 0, done.stderr
    assert (
        "31 of 40 kept (9 empty)\n  suspicious: 9 empty; list them with: xfer-ray audit translation translated/pairs/de-MT-en"
        in done.stdout
    )
    fates = pd.read_parquet(world.folder("pairs") / "train.audit.parquet").set_index("id")
    assert (fates.loc["7", "reason"], fates.loc["7", "faults"]) == ("empty", "first:empty")


def test_the_same_again_changes_nothing_and_a_second_split_joins_it(world):
    spec = world.table(pairs_in_german() | {text.replace("train", "test"): "Text." for text in pairs_in_german()})
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    before = contents(world.folder("pairs"))
    again = world.translate("pairs", spec, "--in-process")
    assert again.returncode == 0
    assert "train, 40 of 40 kept" in again.stdout
    assert contents(world.folder("pairs")) == before
    both = world.translate("pairs", spec, "--in-process", "--split", "train,test")
    assert both.returncode == 0, both.stderr
    assert world.card("pairs")["counts"] == {"test": 40, "train": 40}
    assert contents(world.folder("pairs"))["train.parquet"] == before["train.parquet"]


def test_two_translators_stand_side_by_side_and_one_translates_back(world):
    assert world.translate("pairs", world.table(pairs_in_german()), "--in-process").returncode == 0
    other = world.table({text: f"Anders: {told}" for text, told in pairs_in_german().items()}, "other.csv")
    refused = world.translate("pairs", other, "--in-process")
    assert refused.returncode == 2
    assert "holds another translation: its translator is " in refused.stderr
    assert all(name in refused.stderr for name in ("name=mt.csv", "name=other.csv"))
    assert world.translate("pairs", other, "--in-process", "--label", "other").returncode == 0
    back = world.table({told: text for text, told in pairs_in_german().items()}, "back.csv")
    done = world.command("translate", "mine.py:pairs", "--from", "de-MT-en", "--to", "en", "--translator", back, "--in-process")
    assert done.returncode == 0, done.stderr
    read = [
        folder.read(str(world.path / "translated"), "pairs", Corpus.parse(name), "train")[0].first
        for name in ("de-MT-en~other", "en-MT-de-MT-en")
    ]
    assert read == ["Anders: Der Zug hat 0 Bäume, and birds.", "The train has 0 trees, and birds."]


# ------------------------------------------------------------------------------ on Ray, stopped and killed


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A random translation model with the tokens <2en>, <2de> and <2ru>: what it writes means nothing, and is always the same."""
    return small_translator.make(tmp_path_factory.mktemp("checkpoint"))


def shards(world, task="pairs") -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in world.folder(task).glob("shards/*.parquet")}


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(checkpoint, tmp_path_factory):
    """The folder that a translation leaves which nothing disturbs, on Ray with two workers."""
    world = World(tmp_path_factory.mktemp("undisturbed"))
    world.declare(pairs=1_000)
    done = world.translate("pairs", str(checkpoint), "--beams", "1", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "with 2 workers" in done.stderr
    assert len(shards(world)) >= 4
    return contents(world.folder("pairs"))


@pytest.mark.slow
def test_a_translation_that_is_killed_goes_on_and_ends_byte_for_byte_the_same(world, checkpoint, undisturbed):
    world.declare(pairs=1_000)
    arguments = (
        "translate",
        "mine.py:pairs",
        "--from",
        "en",
        "--to",
        "de",
        "--translator",
        str(checkpoint),
        "--beams",
        "1",
        "--workers",
        "2",
    )
    driver = world.start(*arguments)
    wait_for(lambda: len(shards(world)) >= 2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert driver.returncode == -signal.SIGKILL
    assert not (world.folder("pairs") / "card.json").exists()
    time.sleep(1)  # a worker that outlives its driver may end its shard
    kept = shards(world)
    again = world.command(*arguments, "--in-process")
    assert again.returncode == 0, again.stderr
    assert len(kept) < len(shards(world))
    assert kept.items() <= shards(world).items(), "what was translated is not translated again"
    assert contents(world.folder("pairs")) == undisturbed


def test_an_estimate_translates_nothing(world, checkpoint):
    told = world.translate("pairs", str(checkpoint), "--beams", "1", "--estimate", "--in-process")
    assert told.returncode == 0, told.stderr
    assert "40 examples, 45 distinct texts, 0 of 1 shards translated\n  about " in told.stderr
    assert "license of the translator: not known" in told.stderr
    assert told.stdout == ""
    assert not world.folder("pairs").exists()


def test_a_translator_that_leaves_nothing_is_told_so(world):
    done = world.translate("pairs", world.table(dict.fromkeys(pairs_in_german(), "")), "--in-process")
    assert done.returncode == 3
    assert "nothing is left of 40 examples of en-O: 40 empty" in done.stderr


# ------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--from", "en", "--to", "en"], 2, "--to en is the language of en-O; a translation goes to another one"),
        (["--from", "en", "--to", "de,de"], 2, "--to 'de,de' has a blank or a repeated name; separate distinct ones by commas"),
        (["--from", "deMT", "--to", "de"], 2, "language 'deMT' is not a code such as 'en', 'de', 'zh' or 'zh_Hant'"),
        (["--from", "de-MT-en", "--to", "en"], 3, "cannot be read: the folder translated/pairs/de-MT-en does not exist"),
    ],
)
def test_wrong_questions_are_refused_in_a_sentence(world, arguments, code, sentence):
    done = world.command("translate", "mine.py:pairs", *arguments, "--translator", world.table(pairs_in_german()), "--in-process")
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_language_is_refused_before_anything_is_translated(world, checkpoint):
    done = world.translate("pairs", str(checkpoint), "--in-process", to="sw")
    assert done.returncode == 2
    assert "knows no language 'sw'; it knows 3: de, en, ru" in done.stderr
    assert not shards(world)


@pytest.mark.parametrize(
    ("translator", "to", "code", "sentence"),
    [
        ("dictionary", "de,fi", 2, "no language of the miniature 'fi'. Possible: en, de, es, fr, ru, zh, ja"),
        (".", "de", 4, "is no checkpoint: the folder has no config.json"),
        ("file:nowhere.csv", "de", 3, "translator nowhere.csv does not exist; give a file of translations, or the folder of a model"),
        ("nonsense", "de", 2, "translator 'nonsense' is no folder and no hub id; possible: a checkpoint"),
    ],
)
def test_a_translator_that_cannot_is_refused_before_anything_is_made(world, translator, to, code, sentence):
    done = world.translate("pairs", translator, to=to)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert sentence in done.stderr
    assert not (world.path / "translated/pairs").exists()


def test_an_unknown_language_is_refused_on_ray_too(world, checkpoint):
    done = world.translate("pairs", str(checkpoint), to="sw")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "knows no language 'sw'; it knows 3: de, en, ru" in done.stderr


def test_a_text_that_the_file_lacks_is_named(world):
    texts = pairs_in_german()
    del texts[SEVENTH]
    done = world.translate("pairs", world.table(texts))
    assert done.returncode == 3
    assert f"1 of 45 texts, the first of them {SEVENTH!r}" in done.stderr


@pytest.mark.parametrize("lost", ["train.parquet", "train.audit.parquet"])
def test_what_is_lost_or_cut_of_a_corpus_is_made_again_from_its_shards(world, lost):
    spec = world.table(pairs_in_german())
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    before = contents(world.folder("pairs"))
    (world.folder("pairs") / lost).unlink()
    again = world.translate("pairs", spec, "--in-process")
    assert "1 of 1 shards translated" in again.stderr
    assert contents(world.folder("pairs")) == before
    (world.folder("pairs") / lost).write_bytes(before[lost][:-9])
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    assert contents(world.folder("pairs")) == before


def test_a_card_that_was_edited_is_not_believed(world):
    spec = world.table(pairs_in_german())
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    before = contents(world.folder("pairs"))
    card = world.card("pairs")
    other = world.command("audit", "translation", "translated/pairs", "--origin", "fi-O")
    assert (other.returncode, other.stderr) == (2, "xfer-ray: no original in translated/pairs 'fi-O'. Possible: en-O\n")
    (world.folder("pairs") / "card.json").unlink()
    audit = world.command("audit", "translation", "translated/pairs")
    assert audit.returncode == 3
    assert "has no card.json beside it, so the translation did not end" in audit.stderr
    (world.folder("pairs") / "card.json").write_text(json.dumps(card | {"counts": {"train": 5}}))
    audit = world.command("audit", "translation", "translated/pairs")
    assert audit.returncode == 3
    assert "speaks of 40 examples, and card.json beside it of 5 (counts)" in audit.stderr
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    assert contents(world.folder("pairs")) == before
    (world.folder("pairs") / "card.json").write_text(json.dumps({name: value for name, value in card.items() if name != "not_kept"}))
    done = world.translate("pairs", spec, "--in-process")
    assert done.returncode == 3
    assert "card.json is not the card of a corpus; delete it, and translate again" in done.stderr


def test_a_shard_with_the_texts_of_another_is_named(world):
    spec = world.table(pairs_in_german())
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    shard = next(world.folder("pairs").glob("shards/*.parquet"))
    rows = [corpora.Translated(**row) for row in pd.read_parquet(shard).to_dict("records")]
    shard.write_bytes(results.to_bytes(results.flat_table(corpora.Translated, rows[1:])))
    (world.folder("pairs") / "card.json").unlink()
    done = world.translate("pairs", spec, "--in-process")
    assert done.returncode == 3
    assert f"{shard.name} holds other texts than its name says; delete it" in done.stderr


def test_a_corpus_that_the_task_has_of_its_own_needs_a_label(world):
    arguments = ("translate", "miniature", "--from", "en", "--to", "de", "--translator", "dictionary", "--split", "validation")
    refused = world.command(*arguments)
    assert refused.returncode == 2
    assert (
        "task miniature has a de-MT-en of its own in 'validation', so a sweep would not read yours; tell it apart by --label"
        in refused.stderr
    )
    done = world.command(*arguments, "--label", "dictionary")
    assert done.returncode == 0, done.stderr
    assert "translated/miniature/de-MT-en~dictionary: validation, 600 of 600 kept" in done.stdout
    both = world.translate("pairs", world.table(pairs_in_german()))
    assert both.returncode == 0
    audit = world.command("audit", "translation", "translated")
    assert audit.returncode == 2
    assert "holds several benchmarks; give one of them, such as translated/miniature" in audit.stderr


def test_an_answer_that_is_not_where_it_should_be_is_refused_with_its_id(world):
    text = (world.path / "mine.py").read_text()
    (world.path / "mine.py").write_text(text.replace("CONTEXTS[c].index(a),", "CONTEXTS[c].index(a) + 1,"))
    done = world.translate("questions", world.table(GERMAN))
    assert done.returncode == 3
    assert "train of en-O in task questions: example 'q0': answer 'Rome' is not at character 15 of its context" in done.stderr


def test_answers_that_are_none_are_refused_with_their_id(world):
    text = (world.path / "mine.py").read_text()
    (world.path / "mine.py").write_text(text.replace("CONTEXTS[c], (a,), (", "CONTEXTS[c], None, ("))
    done = world.translate("questions", world.table(GERMAN))
    assert done.returncode == 3
    assert "example 'q0': its answers are None and its starts (14,); give a tuple of strings" in done.stderr


def test_a_load_that_raises_is_told_in_a_sentence(world):
    text = (world.path / "mine.py").read_text()
    (world.path / "mine.py").write_text(
        text.replace("def pairs(corpus, split):", "def pairs(corpus, split):\n    raise KeyError('rows')\n")
    )
    done = world.translate("pairs", world.table(pairs_in_german()))
    assert (done.returncode, done.stderr) == (3, "xfer-ray: train of en-O in task pairs cannot be read: KeyError: 'rows'\n")


def test_what_nobody_can_see_is_an_empty_translation(world):
    texts = pairs_in_german() | {SEVENTH: "\u200f\u200b"}
    done = world.translate("pairs", world.table(texts))
    assert "39 of 40 kept (1 empty)" in done.stdout


def test_more_than_the_machine_has_is_refused_and_not_waited_for(world, checkpoint):
    done = world.translate("pairs", str(checkpoint), "--cpus-per-worker", "640")
    assert done.returncode == 2
    assert "a worker of 640 CPUs is more than this cluster has: " in done.stderr


def test_a_damaged_shard_is_named_and_made_again(world):
    spec = world.table(pairs_in_german())
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    before = contents(world.folder("pairs"))
    shard = next(world.folder("pairs").glob("shards/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-8])
    (world.folder("pairs") / "card.json").unlink()
    done = world.translate("pairs", spec, "--in-process")
    assert done.returncode == 3
    assert f"{shard.name} is damaged; delete it, and translate again" in done.stderr
    shard.unlink()
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    assert contents(world.folder("pairs")) == before


def test_another_origin_is_not_mixed_in(world):
    spec = world.table(pairs_in_german(50))
    assert world.translate("pairs", spec, "--in-process").returncode == 0
    world.declare(pairs=50)
    done = world.translate("pairs", spec, "--in-process")
    assert done.returncode == 2
    assert "was translated from another train of en-O" in done.stderr


def test_a_file_that_declares_several_tasks_asks_which(world):
    done = world.command("translate", "mine.py", "--from", "en", "--to", "de", "--translator", "dictionary")
    assert done.returncode == 2
    assert "declares the tasks pairs, questions; choose one, as in mine.py:pairs" in done.stderr
