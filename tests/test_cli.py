"""What the commands print and return, run as a user runs them; every mistake gets one sentence and its exit code."""

import io
import json
import os
import subprocess
import sys
import time

import pandas as pd
import pytest
from toy import Toy

from xfer_ray import cli
from xfer_ray.metrics import METRICS


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Toy:
    """A toy sweep that has run."""
    toy = Toy(tmp_path_factory.mktemp("ran"))
    assert toy.run("--in-process").returncode == 0
    return toy


@pytest.fixture
def toy(tmp_path) -> Toy:
    return Toy(tmp_path)


def replaced(toy: Toy, old: str, new: str) -> None:
    text = (toy.folder / "toy.py").read_text()
    assert old in text
    (toy.folder / "toy.py").write_text(text.replace(old, new))


DECLARATIONS = [
    ("learning_rate=0.1", "learning_rate=0", "learning_rate is 0; give a number between 0 and 1, such as 3e-5"),
    ("learning_rate=0.1", "learning_rate=float('nan')", "learning_rate is nan; give a number between 0 and 1, such as 3e-5"),
    ("seeds=(0, 1)", "seeds=(0, 0)", "seeds hold 0 more than once"),
    ("seeds=(0, 1)", "seeds=()", "seeds are empty; give at least one"),
    (
        "seeds=(0, 1)",
        "sources=['en-O', 'de-MT-en']",
        "no source of task toy 'de-MT-en'; did you mean 'de-HT-en'? Possible: en-O, de-HT-en, ru-HT-en",
    ),
    (
        "LABELS, parallel",
        "LABELS, metrics=('acuracy',), parallel",
        f"no metric 'acuracy'; did you mean 'accuracy'? Possible: {', '.join(METRICS)}",
    ),
    ("gpus=0", "gpus=0, micro_batch=3", "batch_size 1 of model toy-model is not divisible by its micro_batch 3; possible: 1"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), DECLARATIONS)
def test_a_wrong_sweep_file_dies_in_plan_with_one_sentence(toy, old, new, sentence):
    replaced(toy, old, new)
    plan = toy.command("plan", "toy.py")
    assert plan.returncode == 2
    assert plan.stderr.startswith("xfer-ray: ")
    assert plan.stderr.strip().endswith(sentence)
    assert len(plan.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FileNotFoundError("s3://b/r/toy/scores/x.parquet"), "there is no file s3://b/r/toy/scores/x.parquet; `xfer-ray check RESULTS`"),
        (OSError("Can't load\n  the tokenizer"), "Can't load the tokenizer"),
        (ConnectionError(), "ConnectionError"),
        (PermissionError(13, "Permission denied", "results/toy"), "[Errno 13] Permission denied: 'results/toy'"),
    ],
    ids=["absent", "of-a-library", "wordless", "of-the-system"],
)
def test_what_the_system_refuses_is_told_in_one_line(monkeypatch, capsys, error, sentence):
    def fails():
        raise error

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 6
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"xfer-ray: {sentence}")


OPTIONS = [
    (["plan", "tou.py"], "no sweep file 'tou.py'; did you mean 'toy.py'?"),
    (["plan", "toy.py", "--seeds", "4-"], "--seeds '4-' is not like '0-4', '3' or '0,2,5-7'"),
    (["plan", "toy.py", "--only", "sources=de"], "--only 'sources=de' is not like task=…, model=…, source=… or seed=…"),
    (
        ["plan", "toy.py", "--only", "source=de-MT-en"],
        "no source in sweep toy 'de-MT-en'; did you mean 'de-HT-en'? Possible: en-O, de-HT-en, ru-HT-en",
    ),
    (["plan", "toy.py", "--only", "model=toy"], "no model in sweep toy 'toy'. Possible: toy-model"),
    (["plan", "toy.py", "--mirror", "nowhere"], "--mirror 'nowhere' is not a folder; give one laid out like the hub, DIR/<owner>/<name>"),
    (["run", "toy.py", "--gpus-per-trial", "many"], "--gpus-per-trial 'many' is neither 'auto' nor a number of at least 0"),
    (["status", "results/other"], "results/other holds no sweep.json, so it is not the results of a sweep"),
]


@pytest.mark.parametrize(("arguments", "sentence"), OPTIONS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_option_is_refused_with_one_sentence(toy, arguments, sentence):
    done = toy.command(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


TABLES = [
    (["--task", "toi"], "no task 'toi'; did you mean 'toy'? Possible: toy"),
    (["--model", "toymodel"], "no model 'toymodel'; did you mean 'toy-model'? Possible: toy-model"),
    (["--metric", "f1"], "no metric 'f1'. Possible: accuracy"),
    (["--values", "realtive"], "no values 'realtive'; did you mean 'relative'?"),
    (["--baseline", "de-O"], "no source 'de-O'"),
    (["--format", "markdwn"], "no format 'markdwn'; did you mean 'markdown'?"),
]


@pytest.mark.parametrize(("arguments", "sentence"), TABLES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_tables_refuse_an_unknown_name(ran, arguments, sentence):
    done = ran.command("tables", "results/toy", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nonsense_module", "toy.py:1: ModuleNotFoundError: No module named 'nonsense_module'"),
        ("SWEEP = (", "toy.py:1: SyntaxError: '(' was never closed (toy.py, line 1)"),
        ("x = 1\ny = x / 0", "toy.py:2: ZeroDivisionError: division by zero"),
        ("", "toy.py declares no SWEEP = Sweep(name, trials); found NoneType"),
    ],
)
def test_a_broken_sweep_file_is_named_with_its_line(toy, text, message):
    (toy.folder / "toy.py").write_text(text)
    plan = toy.command("plan", "toy.py")
    assert (plan.returncode, plan.stderr.strip()) == (2, f"xfer-ray: {message}")


def test_a_sweep_file_that_exits_is_named(toy):
    (toy.folder / "toy.py").write_text("import sys\nsys.exit(0)")
    plan = toy.command("plan", "toy.py")
    assert (plan.returncode, plan.stderr.strip()) == (2, "xfer-ray: toy.py:2: SystemExit: 0")


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_made_fails_its_trials_and_no_other(toy):
    replaced(
        toy,
        "SWEEP = ",
        "def text(seed):\n    raise RuntimeError('no text today')\n"
        "from xfer_ray import Pretraining\nfrom dataclasses import replace\n"
        "MADE = replace(TOY_MODEL, name='made', checkpoint=Pretraining(architecture={'model_type': 'bert'}, vocabulary=9, text=text))\n"
        "SWEEP = ",
    )
    replaced(toy, "models=[TOY_MODEL]", "models=[MADE, TOY_MODEL]")
    for process in ([], ["--in-process"]):
        run = toy.run(*process)
        assert run.returncode == 5, run.stderr
        assert "failed   toy.made.en-O.s0" in run.stderr
        assert "its checkpoint could not be made: RuntimeError: no text today" in run.stderr
        assert "Traceback" not in run.stderr
    assert toy.status()["counts"] == {"done": 6, "to_run": 0, "failed": 6, "blocked": 0}


def test_records_that_are_not_ours_change_nothing(toy):
    assert toy.run("--in-process", "--only", "seed=0").returncode == 0
    [waiting] = [t["trial"] for t in toy.status()["trials"] if t["source"] == "en-O" and t["seed"] == 1]
    for kind, text in (("failures", '{"a": 1}'), ("running", "{}"), ("running", "not JSON")):
        (toy.results / kind).mkdir(exist_ok=True)
        (toy.results / kind / f"{waiting}.json").write_text(text)
        assert toy.status()["counts"]["done"] == 3
    here = toy.command("status", ".")
    assert here.returncode == 2
    assert "holds no sweep.json" in here.stderr


def test_plan_tells_states_and_writes_nothing(toy, ran):
    plan = toy.command("plan", "toy.py", "--json")
    found = json.loads(plan.stdout)
    assert found["counts"] == {"done": 0, "to_run": 6, "failed": 0, "blocked": 0}
    assert {trial["state"] for trial in found["trials"]} == {"to_run"}
    assert found["estimate"]["gpu_hours"] is None
    assert [d["source"] for d in found["denominators"]] == ["en-O", "de-HT-en", "ru-HT-en"]
    assert not (toy.folder / "results").exists()

    ran_plan = json.loads(ran.command("plan", "toy.py", "--json", "--seeds", "0-2").stdout)
    assert ran_plan["counts"] == {"done": 6, "to_run": 3, "failed": 0, "blocked": 0}
    assert ran_plan["estimate"]["from"] == "committed trials"
    assert 0.05 / 3600 < ran_plan["estimate"]["worker_hours"] / 3 < 5 / 3600


def test_a_missing_checkpoint_blocks_its_trials_and_says_what_makes_it(toy):
    replaced(toy, "family=fine_tune", 'family="encoder", checkpoint="./small"')
    reason = "checkpoint folder ./small does not exist; `xfer-ray pretrain FILE --output ./small` or save_pretrained makes it"
    plan = json.loads(toy.command("plan", "toy.py", "--json").stdout)
    assert plan["counts"] == {"done": 0, "to_run": 0, "failed": 0, "blocked": 6}
    assert {trial["reason"] for trial in plan["trials"]} == {reason}
    run = toy.run("--in-process")
    assert run.returncode == 5
    assert reason in run.stderr


def test_only_runs_what_it_names_and_plans_the_rest(toy):
    assert toy.run("--in-process", "--only", "source=de-HT-en,source=en-O,seed=1").returncode == 0
    assert sorted(toy.trained()) == ["de.s1", "en.s1"]
    assert toy.status()["counts"] == {"done": 2, "to_run": 4, "failed": 0, "blocked": 0}
    tables = toy.command("tables", "results/toy", "--format", "csv")
    assert tables.returncode == 0
    assert "ru-HT-en" in tables.stderr  # a hole, named
    rows = pd.read_csv(io.StringIO(tables.stdout)).set_index("source")
    assert rows.loc["en-O", ["ru-HT-en", "->Rest", "->All"]].isna().all()
    assert rows.loc["en-O", ["en-O", "de-HT-en"]].notna().all()


@pytest.mark.fault("F18", injected="a file in the place of the folder")
def test_a_storage_that_cannot_be_written_is_refused_before_any_work(toy):
    (toy.folder / "file").write_text("")
    done = toy.run("--storage", "file/results", "--in-process")
    assert done.returncode == 6
    assert "xfer-ray: cannot write 5 bytes to" in done.stderr
    assert "file/results" in done.stderr
    assert toy.trained() == []


@pytest.mark.fault("F16", injected="a limit of 9,000 bytes for each file")
def test_a_full_disk_is_named_and_nothing_half_written_counts(toy):
    """RLIMIT_FSIZE stands for the disk: a write beyond it fails as one on a full disk does."""
    toy.declare(examples=3000)
    program = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\nfrom xfer_ray.cli import main\nmain()"
    )
    command = [sys.executable, "-c", program, "run", "toy.py", "--in-process"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    full = subprocess.run(command, cwd=toy.folder, capture_output=True, text=True, env=environment)
    assert full.returncode == 6, full.stderr
    assert "xfer-ray: cannot write" in full.stderr
    assert "File too large" in full.stderr
    assert toy.committed() == []
    assert toy.run("--in-process").returncode == 0
    assert len(toy.committed()) == 6


def test_a_table_in_every_format(ran):
    for style in ("text", "csv", "markdown", "latex", "html"):
        done = ran.command("tables", "results/toy", "--format", style)
        assert (done.returncode, done.stderr) == (0, ""), style
        assert "toy-model" in done.stdout


def test_a_thousand_trials_are_planned_quickly(tmp_path):
    """A bound far above what it takes, against a plan that is quadratic."""
    (tmp_path / "thousand.py").write_text(
        "from xfer_ray import Sweep, grid\nfrom xfer_ray.models import MBERT\nfrom xfer_ray.tasks import XNLI\n"
        'SWEEP = Sweep("thousand", grid(tasks=[XNLI], models=[MBERT], seeds=range(67)))\n'
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from xfer_ray.cli import main; main()", "plan", "thousand.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "1005 trials, 0 done, 1005 to run" in done.stdout
    assert time.monotonic() - start < 30


def test_an_imported_table_is_shown(tmp_path):
    rows = [
        ("xnli", "m", s, 0, t, "accuracy", v)
        for s, values in {"en": (80, 60), "de-MT-en": (70, 75)}.items()
        for t, v in zip(("en", "de-HT-en"), values, strict=True)
    ]
    pd.DataFrame(rows, columns=["task", "model", "source", "seed", "target", "metric", "score"]).to_csv(tmp_path / "mine.csv", index=False)
    main = [sys.executable, "-c", "from xfer_ray.cli import main; main()"]
    refused = subprocess.run([*main, "import", "mine.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 3
    assert "--percent" in refused.stderr
    taken = subprocess.run([*main, "import", "mine.csv", "--percent"], cwd=tmp_path, capture_output=True, text=True)
    assert (taken.returncode, taken.stderr) == (0, "")
    shown = subprocess.run([*main, "tables", "results/mine", "--format", "csv"], cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "xnli,m,de-MT-en,advantage,1,-12.5" in shown.stdout


@pytest.mark.fault("F39", injected="LC_ALL=C, PYTHONIOENCODING=ascii, COLUMNS=20, no terminal")
def test_plain_output_without_a_terminal_in_a_narrow_ascii_world(ran):
    environment = {"COLUMNS": "20", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for command in (["status", "results/toy"], ["tables", "results/toy"], ["plan", "toy.py"]):
        done = ran.command(*command, **environment)
        assert done.returncode == 0, done.stderr
