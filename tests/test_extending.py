"""The worked examples of the pages, run as they stand there: the files they show, the commands, and what these print.

A block that begins with `# NAME.py` is a file, one that begins with `# in FILE` belongs into a file of this package, and one that
begins with `$` holds commands and what they print; `$ cat FILE` shows a file that the reader has.
"""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from test_docs import ROOT

from xfer_ray import cli, metrics

BLOCK = re.compile(r"(?m)^ {4}.*\n(?:\n*^ {4}.*\n)*")
COMMAND = re.compile(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n?)*)")
SAME = (  # what may differ from one machine to the next, or with the width of a column
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
    (r"\d+\.\d s(, about \d+ s left)?", "SECONDS"),
    (r"-{4,}", "----"),
    (r"[ \t]+", " "),
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder of its own; what is imported from there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFER_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def run(command: str) -> str:
    """What a command prints, both streams as one sees them."""
    program, *arguments = shlex.split(command)
    does = {"xfer-ray": cli.main, "python": lambda: runpy.run_path(arguments[0], run_name="__main__")}[program]
    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        patch.setattr(sys, "argv", [program, *arguments])
        with contextlib.suppress(SystemExit):
            does()
    return screen.getvalue()


def same(text: str) -> str:
    """A text without what may differ."""
    for pattern, sign in SAME:
        text = re.sub(pattern, sign, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def demand_shown(command: str, shown: str) -> None:
    """That a command prints what the page shows; a line `...` stands for any lines, and what shows nothing is only run."""
    printed = run(command)
    wanted = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in same(shown).splitlines())
    if shown.strip() and not re.fullmatch(wanted, same(printed) + "\n"):
        pytest.fail(f"$ {command}\n{printed}\nand the page shows:\n{shown}", pytrace=False)


def play(page: str) -> int:
    """Do what a page shows, in order; how many commands it had."""
    commands = 0
    for indented in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        block = re.sub(r"(?m)^ {4}", "", indented)
        first, _, rest = block.partition("\n")
        if first.startswith("# in "):
            exec(compile(rest, first, "exec"), NAMESPACES[first.removeprefix("# in ")])
        elif first.startswith("# "):
            Path(first.removeprefix("# ")).write_text(block, encoding="utf-8")
        else:
            assert first.startswith("$ "), f"{page} has a block that nobody runs: {first}"
            for command, shown in COMMAND.findall(block):
                commands += 1
                if command.startswith("cat "):
                    file = Path(command.removeprefix("cat "))
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(shown.rstrip("\n") + "\n", encoding="utf-8")
                else:
                    demand_shown(command, shown)
    return commands


NAMESPACES = {"xfer_ray/metrics.py": vars(metrics), "tests/test_metrics.py": {"pytest": pytest, "metric": metrics.metric}}


def test_a_task_a_model_a_metric_and_a_sweep_are_added_as_the_page_says():
    (entry,) = re.findall(r'`"(\w+)": \((\w+), "(\d+)"\),`', (ROOT / "docs/extending.md").read_text())
    functions: dict[str, object] = vars(metrics)
    metrics.METRICS[entry[0]] = (lambda *given: functions[entry[1]](*given), entry[2])
    try:
        assert play("docs/extending.md") >= 15
        (test,) = [value for name, value in NAMESPACES["tests/test_metrics.py"].items() if name.startswith("test_")]
        (cases,) = [mark.args[1] for mark in test.pytestmark]
        assert [test(*case) for case in cases]
    finally:
        functions.pop(entry[1], None)


def test_own_scores_are_brought_as_the_page_says():
    assert play("docs/own-scores.md") >= 5
