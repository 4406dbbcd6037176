"""The page about faults says what the tests do: every fault is there, and every test of one."""

from chaos.catalogue import FAULTS
from chaos.table import TESTS, Ran, marked, render

PAGE = TESTS.parent / "docs" / "reliability.md"


def test_every_fault_has_a_test_or_a_reason_and_every_mark_a_fault():
    assert marked().keys() <= FAULTS.keys()
    assert {number for number, fault in FAULTS.items() if not fault.absent} <= marked().keys()


def test_the_page_names_every_fault_and_the_tests_of_each():
    """If this fails: `make faults`."""
    rows = {line.split("|")[1].strip(): line for line in PAGE.read_text().splitlines() if line.startswith("| F")}
    assert rows.keys() == FAULTS.keys()
    for number, tests in marked().items():
        named = {part for part in rows[number].split("`") if "::" in part}
        assert named == set(tests), number
        assert FAULTS[number].promised in rows[number], number


def test_a_row_tells_what_was_done_and_what_became_of_it():
    told = {"F1": {"test_a.py::test_b": "a | b", "test_a.py::test_c": "c"}, "F2": {"test_a.py::test_d": "d"}}
    ran = {"F1": [Ran("test_a.py::test_b[x]", "passed"), Ran("test_a.py::test_b[y]", "failed")]}
    rows = {line.split("|")[1].strip(): line for line in render(ran, told).splitlines() if line.startswith("| F")}
    assert "| a / b; c |" in rows["F1"]
    assert rows["F1"].endswith("| `test_a.py::test_b`<br>`test_a.py::test_c` | 1 passed; 1 failed; 1 not run |")
    assert rows["F2"].endswith("| `test_a.py::test_d` | not run |")
    assert "not applicable" in rows["F35"]
