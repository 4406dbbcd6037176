"""The table of faults in docs/reliability.md, from the tests that ran."""

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos.catalogue import FAULTS, Fault

TESTS = Path(__file__).resolve().parents[1]
HEAD = """# Faults, and what becomes of a sweep

Each row is a fault that a test brings about, what is promised, and how the tests ended when `make faults` wrote this table.
The tests of whole sweeps in `tests/chaos` end with what must always hold: every planned trial is committed or listed as
failed; no result is there twice; each score equals that of an undisturbed run; no partial file can be read as a whole one; no
process is left (agents of Ray may outlive a killed one by two minutes); the exit code is the documented one. Do not edit this
file: `make faults` writes it.
"""


@dataclass(frozen=True)
class Ran:
    """A test of a fault and how it ended."""

    name: str
    outcome: str  # passed, failed, or skipped: why


class Witness:
    """A plugin of pytest that notes how the tests of faults end, and writes the table."""

    def __init__(self, file: Path) -> None:
        self._file, self._ran = file, dict[tuple[str, str], str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = report.outcome
        if report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            outcome = f"skipped: {why.removeprefix('Skipped: ')}"
        elif report.when != "call" and not report.failed:
            return
        for name, value in report.user_properties:
            if name == "fault":
                self._ran[value, report.nodeid.removeprefix("tests/")] = outcome

    def pytest_sessionfinish(self) -> None:
        ran: dict[str, list[Ran]] = {}
        for (number, name), outcome in self._ran.items():
            ran.setdefault(number, []).append(Ran(name, outcome))
        self._file.write_text(render(ran, marked()))


def render(ran: dict[str, list[Ran]], told: dict[str, dict[str, str]]) -> str:
    """The page: one row for each fault, from the tests that ran and from what their marks tell."""
    rows = ["| | fault | how it is brought about | promise | tests | outcome |", "|---|---|---|---|---|---|"]
    rows += [_row(number, fault, ran.get(number, []), told.get(number, {})) for number, fault in FAULTS.items()]
    return f"{HEAD}\n{len(told)} of {len(FAULTS)} faults are brought about.\n\n" + "\n".join(rows) + "\n"


def _row(number: str, fault: Fault, ran: list[Ran], told: dict[str, str]) -> str:
    names = {one.name.partition("[")[0] for one in ran}
    outcomes = [one.outcome for one in ran] + ["not run" for test in told if test not in names]
    counted = Counter(outcomes)
    outcome = "; ".join(f"{times} {what}" if len(outcomes) > 1 else what for what, times in counted.items())
    tests = "<br>".join(f"`{test}`" for test in told)
    how = _cell("; ".join(dict.fromkeys(told.values())))
    return f"| {number} | {fault.name} | {how} | {fault.promised} | {tests} | {_cell(outcome) or fault.absent} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def marked() -> dict[str, dict[str, str]]:
    """By fault and test, as `test_check.py::test_a_torn_file`, how it is brought about: read from the marks in the files."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            for number, injected in _marks(node) if isinstance(node, ast.FunctionDef) else []:
                found.setdefault(number, {})[f"{file.relative_to(TESTS)}::{node.name}"] = injected
    return found


def _marks(function: ast.FunctionDef) -> list[tuple[str, str]]:
    calls = [mark for mark in function.decorator_list if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault"]
    return [(ast.literal_eval(mark.args[0]), ast.literal_eval(mark.keywords[0].value)) for mark in calls]
