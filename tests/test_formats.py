"""Run: pytest tests/test_formats.py. How wide a table of text is, what a heading is, and whether LaTeX takes what is written for it."""

import shutil
import subprocess
from pathlib import Path

import pytest
import scored

from analysis import reproduce
from analysis.blocks import Block, Row, Tables, Verdict
from analysis.formats import STYLES, WIDEST, Sheet
from analysis.render import render
from analysis.reproduce import printed
from analysis.reproduce import text as reproduce_text
from analysis.selection import Options
from analysis.tables import build

HOSTILE = "=1+1|<b>&_^{x}\\\x1b[31m \"q\" 'x' #$%~"


def text(*sheets):
    return STYLES["text"][1](sheets, ())


def table2(**options):
    """The paper's Table 2 as a sweep's: its relative abilities of mBERT as scores, its groups, and the same for two seeds."""
    paper = printed.load("turc2021", repaired=True)[2]
    cells = {("mbert", s, t): z / 2 for (s, t), z in paper.matrix("mbert").stack().items()}
    task = scored.facts(paper.targets, groups=paper.groups)
    return build(scored.plan({"xnli": task}, ["mbert"], paper.sources("mbert")), scored.rows(cells, task="xnli"), Options(**options))


def numbers(many, breaks=()):
    """A table of many columns, each eight characters wide with its gap."""
    return Sheet(
        "many", ("source", *(f"t{i:06d}" for i in range(many))), (("en-O", *(f"+{i}" for i in range(many))),), frozenset({0, *breaks})
    )


# ------------------------------------------------------------------------------ text


def test_a_wide_table_is_cut_between_its_columns_and_each_part_has_the_sources():
    lines = text(numbers(30)).splitlines()
    parts = [line.split() for line in lines if line.startswith("source")]
    assert [cell for part in parts for cell in part if cell not in ("source", "|")] == [f"t{i:06d}" for i in range(30)]
    assert [line.split()[0] for line in lines if line.startswith("en-O")] == ["en-O"] * len(parts)
    assert max(map(len, lines)) <= WIDEST
    assert lines.count("many") == 1


def test_it_is_cut_at_a_gap_where_there_is_one():
    lines = text(numbers(15, {4, 8})).splitlines()
    parts = [[cell for cell in line.split() if cell not in ("source", "|")] for line in lines if line.startswith("source")]
    assert [len(part) for part in parts] == [8, 7]


@pytest.mark.parametrize(
    ("wide", "parts"), [(WIDEST - 11, ["xyz"]), (WIDEST - 10, ["xy", "z"]), (WIDEST - 9, ["xy", "z"]), (WIDEST - 8, ["x", "yz"])]
)
def test_as_many_columns_stand_in_a_line_as_fit(wide, parts):
    lines = text(Sheet("", ("source", "x" * wide, "y", "z"), (("en-O", "1", "2", "3"),))).splitlines()
    assert ["".join(cell[0] for cell in line.split()[1:]) for line in lines if line.startswith("source")] == parts


def test_a_column_too_wide_for_any_line_stands_alone():
    lines = text(Sheet("", ("source", "x" * 200, "y"), (("en-O", "1", "2"),))).splitlines()
    assert sum(line.startswith("source") for line in lines) == 2


def test_a_last_column_of_words_is_wrapped_and_loses_none():
    words = " ".join(f"word{i}" for i in range(40))
    lines = text(Sheet("", ("source", "value", "why"), (("en-O", "1", words), ("de-O", "2", "short")))).splitlines()
    assert max(map(len, lines)) <= WIDEST
    assert [word for line in lines for word in line.split() if word.startswith("word")] == words.split()


def test_a_heading_stands_over_its_rows_in_every_format():
    sheet = Sheet("", ("model", "value"), (("a long heading over both",), ("m", "1")), frozenset({0}))
    assert text(sheet).splitlines()[-3:-1] == ["a long heading over both", "  m   |     1"]
    written = {style: page([sheet], []) for style, (_, page) in STYLES.items()}
    assert "| **a long heading over both** |  |\n| m | 1 |" in written["markdown"]
    assert '<tr><th colspan="2">a long heading over both</th></tr>' in written["html"]
    assert r"\multicolumn{2}{l}{\textit{a long heading over both}} \\" in written["latex"]


def test_the_papers_largest_table_fits_a_terminal():
    assert max(map(len, render(table2()).splitlines())) <= WIDEST
    assert max(map(len, reproduce_text.render(reproduce.of_paper("turc2021")).splitlines())) <= WIDEST


# ------------------------------------------------------------------------------ LaTeX


def test_no_name_is_an_argument_of_the_line_before_it():
    _, summary = hostile_tables()
    names = [line.partition(" & ")[0] for line in render(summary, "latex").splitlines() if " & " in line]
    assert names == ["model", "{[}m]", "{*}m"]


def hostile_tables():
    """Names that are something else to LaTeX: among them what an end of line or a rule would take for its argument."""
    row = Row("en-O", "relative", 1, (0.5, 0.5, 0.5))
    groups = {"[x]": ("en-O",), "*": ("en-O",)}
    yield Tables(task=HOSTILE, metric="accuracy", targets=("en-O",), groups=groups, blocks=(Block("*m", "en-O", (row,)),))
    verdicts = (Verdict("[t]", "[m]", "de-MT-en", 0.1), Verdict("*", "*m", "de-MT-en", 0.1))
    yield Tables(layout="summary", verdicts=verdicts)


def documents():
    """What each layout, and the largest other page, writes for LaTeX."""
    for values in ("paper", "relative", "common", "gap"):
        yield render(table2(values=values), "latex")
    yield from (render(table2(layout=layout), "latex") for layout in ("summary", "provenance"))
    yield from (render(tables, "latex") for tables in hostile_tables())
    yield reproduce_text.render(reproduce.of_paper("turc2021"), "latex")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_takes_every_layout_and_nothing_is_wider_than_the_line(tmp_path):
    body = "\n\\clearpage\n".join(documents())
    page = "\n".join([r"\documentclass{article}", r"\usepackage{booktabs,graphicx}", r"\begin{document}", body, r"\end{document}"])
    Path(tmp_path / "page.tex").write_text(page, encoding="utf-8")
    ran = subprocess.run(
        ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "Overfull" not in (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
