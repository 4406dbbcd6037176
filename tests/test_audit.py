"""Table 7 exactly, and the same split for a metric, from stored predictions."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from committed import DIGEST, plan_for, scores_of

from xfer_ray import commit, planfile
from xfer_ray.audit import answers as audit
from xfer_ray.errors import DataError, DeclarationError
from xfer_ray.planfile import PlannedTrial
from xfer_ray.results import Prediction, Results
from xfer_ray.sources import Example, Examples
from xfer_ray.storage import open_storage
from xfer_ray.tasks import XNLI, XQUAD
from xfer_ray.text import is_ascii_only

TRIALS = tuple(f"toy.tiny.en-O.s{seed}-{DIGEST}" for seed in (0, 1))
TARGETS = ("en-O", "de-HT-en", "en-MT-de-MT-en~opus")
GOLDS = {"0": "Lady Gaga", "1": "308", "2": "Köln", "3": "MIT"}  # ASCII only: 0 and 3


@pytest.fixture
def real(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))


def command(*arguments: str) -> subprocess.CompletedProcess:
    program = [sys.executable, "-c", "from xfer_ray.cli import main; main()", "audit", "answers", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Lady Gaga", True),
        ("120 m", True),
        ('"business as usual" (BAU)', True),
        ("308", False),
        ("", False),
        ("Köln", False),
        ("MIT ", True),
    ],
)
def test_an_answer_is_ascii_only_if_it_is_ascii_and_has_a_letter(answer, expected):
    assert is_ascii_only(answer) is expected


def test_table_7_to_the_last_digit(real, paper):
    found = {one.target: one for one in audit.answers(XQUAD)}
    printed = pd.read_csv(paper / "table7.csv")
    assert {row.test_set.replace("^HT", "-HT-en"): row.pct_ascii for row in printed.itertuples()} == {
        target: f"{found[target].percent:.1f}%" for target in ("ar-HT-en", "el-HT-en", "hi-HT-en", "ru-HT-en", "th-HT-en", "zh-HT-en")
    }
    counts = {language: found[f"{language}-HT-en"].ascii_only for language in ("ar", "el", "hi", "ru", "th", "zh")}
    assert counts == {"ar": 5, "el": 112, "hi": 22, "ru": 40, "th": 39, "zh": 26}
    assert {one.n for one in found.values()} == {1_190}
    greek = [answer for example in XQUAD.load(XQUAD.targets[4], "test") for answer in example.answers]
    assert all(text in greek and is_ascii_only(text) for text in printed["example_el"])


def test_the_command_prints_table_7(mirror):
    done = command("xquad", "--mirror", str(mirror), "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:5] == [
        "target,n,ascii_only,percent",
        "en-O,1190,1022,85.882353",
        "de-HT-en,1190,803,67.478992",
        "ru-HT-en,1190,40,3.361345",
        "ar-HT-en,1190,5,0.420168",
    ]
    done = command("xquad", "--mirror", str(mirror), "--json")
    assert json.loads(done.stdout)[3] == {"target": "ar-HT-en", "n": 1190, "ascii_only": 5, "percent": 500 / 1190}


def test_answers_that_are_labels_are_refused():
    with pytest.raises(DeclarationError) as refused:
        audit.answers(XNLI)
    assert str(refused.value).startswith("the answers of task xnli are labels (entailment, neutral, contradiction), not text; ")


def test_every_format_shows_the_same_numbers():
    found = [audit.Answers("el-HT-en", 1_190, 112)]
    assert audit.render_answers(found, "xquad", "text") == (
        "Answers of xquad that are ASCII only\n\n"
        "target   questions ASCII only   %\n"
        "---------------------------------\n"
        "el-HT-en      1190        112 9.4\n\n"
    )
    for style in ("markdown", "latex", "html"):
        page = audit.render_answers(found, "xquad", style)
        assert all(text in page for text in ("el-HT-en", "1190", "112", "9.4"))
    with pytest.raises(DeclarationError, match=r"^no format 'pdf'\. Possible: csv, text, markdown, latex, html$"):
        audit.render_answers(found, "xquad", "pdf")


# ------------------------------------------------------------------------------ a metric apart


def predictions(trial: str, values: tuple[float, ...], *, selection: str = "last") -> list[Prediction]:
    """One prediction for each question and target; `values` by question."""
    return [
        Prediction(trial, target, selection, str(i), "x", "", {"accuracy": value}) for target in TARGETS for i, value in enumerate(values)
    ]


@pytest.fixture
def found(tmp_path) -> Results:
    """Two seeds: right on ASCII-only answers in 3 of 4 cases, on others in 1 of 4."""
    opened = Results(open_storage(str(tmp_path)), "toy")
    for seed, values in enumerate(((1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 1.0, 0.0))):
        mine = predictions(TRIALS[seed], values)
        assert commit.commit(opened, scores_of(mine, seed=seed), mine) == "committed"
    for target in TARGETS:
        commit.put_examples(opened, "toy", target, Examples(tuple(Example(i, "?", "", (gold, "Gaga")) for i, gold in GOLDS.items())))
    planfile.write_plan(opened, plan_for([PlannedTrial(TRIALS[s], "toy", "tiny", "en-O", s, DIGEST) for s in (0, 1)]))
    return opened


def test_a_metric_is_averaged_over_ascii_only_answers_and_over_the_others(found):
    rows = audit.apart(found, "toy", metric="accuracy")
    assert [(row.source, row.target, row.runs) for row in rows] == [("en-O", target, 2) for target in TARGETS]
    assert {(row.ascii_only, row.ascii_n, row.other, row.other_n) for row in rows} == {(0.75, 2, 0.25, 2)}
    assert audit.render_apart(rows, "toy", "csv").splitlines()[:2] == [
        "model,source,target,metric,ascii_only,ascii_n,other,other_n,runs",
        "tiny,en-O,en-O,accuracy,75.000000,2,25.000000,2,2",
    ]


def test_what_the_oracle_chose_has_no_part_in_it(found):
    extra = predictions(TRIALS[0], (0.0,) * 4, selection="oracle") + predictions(TRIALS[0], (1.0, 0.0, 0.0, 1.0), selection="source-dev")
    commit.put_predictions(found, TRIALS[0], [*extra, *predictions(TRIALS[0], (0.0,) * 4)])
    rows = audit.apart(found, "toy", metric="accuracy")
    assert {(row.ascii_only, row.other) for row in rows} == {(0.75, 0.25)}


def test_no_such_answer_is_a_hole(found, tmp_path):
    (tmp_path / "toy/examples/toy.de-HT-en.parquet").unlink()  # what is there is never written over
    commit.put_examples(found, "toy", "de-HT-en", Examples(tuple(Example(i, "?", "", ("Köln",)) for i in GOLDS)))
    row = audit.apart(found, "toy", metric="accuracy")[1]
    assert (row.ascii_only, row.ascii_n, row.other, row.other_n) == (None, 0, 0.5, 4)
    assert audit.render_apart([row], "toy", "csv").splitlines()[1] == "tiny,en-O,de-HT-en,accuracy,,0,50.000000,4,2"
    assert " -- " in audit.render_apart([row], "toy", "text")


def test_what_is_not_there_is_named(found, tmp_path):
    with pytest.raises(DeclarationError, match=r"^no task in .*/toy 'xquad'\. Possible: toy$"):
        audit.apart(found, "xquad")
    with pytest.raises(DeclarationError, match=r"^no metric in the predictions of toy\.tiny\.en-O\.s0-\w+ 'f1'\. Possible: accuracy$"):
        audit.apart(found, "toy")
    with pytest.raises(DeclarationError, match=r"^no model in .*/toy 'mbert'\. Possible: tiny$"):
        audit.apart(found, "toy", model="mbert")
    (Path(tmp_path) / "toy/examples/toy.de-HT-en.parquet").unlink()
    with pytest.raises(DataError, match=r"/toy/examples/toy\.de-HT-en\.parquet is not there, and nothing else says what the answers were$"):
        audit.apart(found, "toy", metric="accuracy")
    for trial in TRIALS:
        (Path(tmp_path) / f"toy/scores/{trial}.parquet").unlink()
    with pytest.raises(DataError, match=r"/toy holds no committed trial of task toy and model tiny$"):
        audit.apart(found, "toy", model="tiny")


def test_the_command_prints_a_metric_apart(found, tmp_path):
    done = command("toy", "--results", str(tmp_path / "toy"), "--metric", "accuracy", "--json")
    assert done.stderr == ""
    assert json.loads(done.stdout)[0] == {
        "model": "tiny",
        "source": "en-O",
        "target": "en-O",
        "metric": "accuracy",
        "ascii_only": 0.75,
        "ascii_n": 2,
        "other": 0.25,
        "other_n": 2,
        "runs": 2,
    }
