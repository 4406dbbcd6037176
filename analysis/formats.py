"""How a table looks: sheets of cells as text, Markdown, LaTeX or HTML, with every text escaped."""

import html
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

HOLE = "--"
WIDTH = 80  # captions and legends of the text format; a table is as wide as it must be


@dataclass(frozen=True)
class Markup:
    """How a format writes: any text safely, a superscript, an arrow, the minus of a number, and the mark of a significant one."""

    escape: Callable[[str], str]
    superscript: Callable[[str], str]
    arrow: str
    minus: str = "-"
    mark: str = "*"
    unmarked: str = ""  # what takes its place, so that digits stand below each other


@dataclass(frozen=True)
class Sheet:
    """One table in the characters of its format; a gap stands after the columns in `breaks`."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    breaks: frozenset[int] = frozenset()
    footer: str = ""


def _printable(text: str) -> str:
    """Without control characters, which could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _text(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    wrapped = [line for entry in legend for line in _wrapped(entry)]
    return "\n".join([*(_aligned(sheet) for sheet in sheets), *wrapped]) + "\n"


def _wrapped(text: str) -> list[str]:
    """Lines of a terminal; the name of a corpus stays whole."""
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def _aligned(sheet: Sheet) -> str:
    lines = (sheet.header, *sheet.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(sheet.header))]

    def joined(line: Sequence[str]) -> str:
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths, strict=True))]
        return "".join(cell + (" | " if i in sheet.breaks else " ") for i, cell in enumerate(cells)).rstrip(" |")

    body = [joined(line) for line in lines]
    rule = "-" * max(map(len, body))
    footer = _wrapped(sheet.footer)
    return "\n".join([*_wrapped(sheet.caption), "", body[0], rule, *body[1:], *footer, ""])


def _markdown(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    parts = []
    for sheet in sheets:
        align = ["---", *["---:"] * (len(sheet.header) - 1)]
        lines = ["| " + " | ".join(line) + " |" for line in (sheet.header, align, *sheet.rows)]
        parts += [f"**{sheet.caption}**", "\n".join(lines), *([sheet.footer] if sheet.footer else [])]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in legend)]) + "\n"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]|~^])", r"\\\1", html.escape(_printable(text), quote=False))


def _latex(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    """Tables for booktabs, each with its legend below it."""
    parts = []
    for sheet in sheets:
        columns = "".join(("l" if i == 0 else "r") + ("@{\\quad}" if i in sheet.breaks else "") for i in range(len(sheet.header)))
        lines = [" & ".join(line) + r" \\" for line in (sheet.header, *sheet.rows)]
        parts += [r"\begin{table}", r"\centering", rf"\caption{{{sheet.caption}}}", rf"\begin{{tabular}}{{{columns}}}"]
        parts += [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"]
        below = ". ".join(line.rstrip(".") for line in (*([sheet.footer] if sheet.footer else []), *legend))
        parts += [rf"\par\smallskip\footnotesize {below}.", r"\end{table}", ""]
    return "\n".join(parts)


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def _escape_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in _printable(text))


def _html(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    parts = ['<!doctype html><meta charset="utf-8"><title>Zero-shot transfer</title>']
    for sheet in sheets:
        parts += ["<table>", f"<caption>{sheet.caption}</caption>", _html_row(sheet.header, "th")]
        parts += [*(_html_row(row, "td") for row in sheet.rows), "</table>", *([f"<p>{sheet.footer}</p>"] if sheet.footer else [])]
    return "\n".join([*parts, *(f"<p>{line}</p>" for line in legend)]) + "\n"


def _html_row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _escape_html(text: str) -> str:
    return html.escape(_printable(text))


Page = Callable[[Sequence[Sheet], Sequence[str]], str]
STYLES: Mapping[str, tuple[Markup, Page]] = {
    "text": (Markup(_printable, lambda mark: f"^{mark}", "->", unmarked=" "), _text),
    "markdown": (Markup(_escape_markdown, lambda mark: f"<sup>{mark}</sup>", "→", mark=r"\*"), _markdown),
    "latex": (
        Markup(_escape_latex, lambda mark: rf"\textsuperscript{{{mark}}}", r"$\rightarrow$", "$-$", r"\rlap{\textsuperscript{*}}"),
        _latex,
    ),
    "html": (Markup(_escape_html, lambda mark: f"<sup>{mark}</sup>", "→", mark="<sup>*</sup>"), _html),
}
