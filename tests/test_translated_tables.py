"""Tables 5, 6 and 8 from translated folders: translate, audit, run, print, with real questions and a table of made-up translations."""

import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from xfer_ray.sources import Corpus
from xfer_ray.tasks import TYDIQA, XQUAD

MINE = """
from dataclasses import replace
from xfer_ray import Corpus, Sweep, grid
from xfer_ray.models import MAJORITY
from xfer_ray.tasks import TYDIQA_AR, TYDIQA_FI, XQUAD
from xfer_ray.tasks.qa import QaSets
from xfer_ray.tasks.tydiqa import TYDIQA_QUESTIONS
from xfer_ray.tasks.xquad import XQUAD_QUESTIONS

# The training sets are not here: the questions that are scored stand in for them. What is shown is the way, not a score.
SOURCES = tuple(map(Corpus.parse, ("en-O", "de-MT-en", "ru-MT-en")))
ENGLISH = replace(XQUAD_QUESTIONS, corpora=(SOURCES[0],), splits={"train": "validation"}, rows={"train": 1_190})
XQUAD_MT = replace(XQUAD, name="xquad-mt", sources=SOURCES, load=QaSets(name="xquad", parts=(XQUAD_QUESTIONS, ENGLISH), shared_by=SOURCES))
rows = TYDIQA_QUESTIONS.rows["validation"]
TYDI = replace(TYDIQA_QUESTIONS, splits={"train": "validation", "validation": "validation"}, rows={"train": rows, "validation": rows})
FI = replace(TYDIQA_FI, load=replace(TYDIQA_FI.load, parts=(TYDI,)))
AR = replace(TYDIQA_AR, load=replace(TYDIQA_AR.load, parts=(TYDI,)))
SWEEP = Sweep("mt", grid(tasks=[XQUAD_MT, FI, AR], models=[MAJORITY]))
"""


@pytest.fixture
def xfer_ray(mirror, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)

    def command(*arguments: str) -> subprocess.CompletedProcess:
        program = [sys.executable, "-c", "from xfer_ray.cli import main; main()", *arguments]
        environment = os.environ | {"XFER_RAY_MIRROR": str(mirror), "XFER_RAY_CACHE": str(tmp_path / "cache")}
        return subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)

    return command


def made_up(folder, examples, name: str, lost: str) -> None:
    """A table that spells each text backward; an answer with the digit `lost` becomes something that is nowhere."""
    texts = {text: text[::-1] for e in examples for text in (e.first, e.second, *e.answers)}
    texts |= {answer: "#" * 40 for e in examples for answer in e.answers if lost in answer and answer not in (e.first, e.second)}
    pd.DataFrame({"source": list(texts), "translation": list(texts.values())}).to_csv(folder / name, index=False)


def lost_ids(examples, *digits: str) -> set[str]:
    return {e.id for e in examples if all(any(digit in answer for digit in digits) for answer in e.answers)}


def trained_on(folder, task: str, source: str) -> int:
    """How many examples a trial was trained on, by its log."""
    log = "".join(file.read_text() for file in (folder / "results/mt/logs").glob(f"{task}.majority.{source}.*"))
    return int(re.search(rf"{source} keeps (\d+) of \d+ examples", log)[1])


def translated(xfer_ray, tmp_path, task, origin, languages, examples) -> None:
    for number, language in enumerate(languages):
        made_up(tmp_path, examples, f"{task}-{language}.csv", str(3 + number))
    spec = f"file:{task}-{{target}}.csv"
    done = xfer_ray("translate", f"mine.py:{task}", "--from", origin, "--to", ",".join(languages), "--translator", spec, "--in-process")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_table_5_runs_from_translated_folders_over_the_questions_that_all_have(xfer_ray, mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    examples = XQUAD.load(Corpus("en"), "test")
    blocked = xfer_ray("run", "mine.py", "--in-process", "--only", "task=xquad-mt")
    assert blocked.returncode == 5
    assert "make it with `xfer-ray translate xquad --split train --from en --to de --translator ...`" in blocked.stderr
    translated(xfer_ray, tmp_path, "xquad-mt", "en", ("de", "ru"), examples)

    kept = {name: set(pd.read_parquet(tmp_path / f"translated/xquad/{name}/train.parquet")["id"]) for name in ("de-MT-en", "ru-MT-en")}
    assert kept["de-MT-en"] == {e.id for e in examples} - lost_ids(examples, "3")
    assert kept["ru-MT-en"] == {e.id for e in examples} - lost_ids(examples, "4")
    audit = xfer_ray("audit", "translation", "translated/xquad", "--json")
    assert audit.returncode == 0, audit.stderr
    shared = len(kept["de-MT-en"] & kept["ru-MT-en"])
    assert json.loads(audit.stdout)["shared"] == shared < min(map(len, kept.values()))

    run = xfer_ray("run", "mine.py", "--in-process", "--only", "task=xquad-mt")
    assert run.returncode == 0, run.stderr
    assert trained_on(tmp_path, "xquad-mt", "en-O") == shared
    table = xfer_ray("tables", "results/mt", "--task", "xquad-mt")
    assert table.returncode == 0, table.stderr
    rows = dict.fromkeys(line.split("|")[0].strip() for line in table.stdout.splitlines() if "|" in line)  # a wide table has two parts
    assert list(rows) == ["source", "en^O", "de^MT", "ru^MT"]


@pytest.mark.slow
@pytest.mark.parametrize(("origin", "task"), [("fi", "tydiqa-fi"), ("ar", "tydiqa-ar")])
def test_tables_6_and_8_run_from_translated_folders(xfer_ray, mirror, tmp_path, monkeypatch, origin, task):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    examples = TYDIQA.load(Corpus(origin), "validation")
    translated(xfer_ray, tmp_path, task, origin, ("en", "de", "ru"), examples)
    run = xfer_ray("run", "mine.py", "--in-process", "--only", f"task={task}")
    assert run.returncode == 0, run.stderr
    table = xfer_ray("tables", "results/mt", "--task", task)
    assert table.returncode == 0, table.stderr
    rows = dict.fromkeys(line.split("|")[0].strip() for line in table.stdout.splitlines() if "|" in line)  # a wide table has two parts
    assert list(rows) == ["source", "en^MT", "de^MT", "ru^MT", f"{origin}^O"]
    kept = len({e.id for e in examples} - lost_ids(examples, "3") - lost_ids(examples, "4") - lost_ids(examples, "5"))
    assert trained_on(tmp_path, task, f"{origin}-O") == kept
