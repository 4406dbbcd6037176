"""How a table looks: sheets of cells as text, Markdown, LaTeX or HTML, with every text escaped."""

import html
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

HOLE = "--"
WIDTH = 80  # captions and legends of the text format
WIDEST = 100  # a table of the text format: a wider one is cut between its columns
NARROWEST = 20  # to which a last column of words is wrapped


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
    """One table in the characters of its format; a gap stands after the columns in `breaks`.

    A row of one cell in a table of several columns is a heading over the rows below it.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    breaks: frozenset[int] = frozenset()
    footer: str = ""  # of one or several lines

    def is_heading(self, row: Sequence[str]) -> bool:
        """Whether a row is a heading."""
        return len(row) == 1 < len(self.header)


def _printable(text: str) -> str:
    """Without control characters, which could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _text(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    below = [line for entry in legend for line in wrapped(entry)]
    return "\n".join([*(_aligned(part) for sheet in sheets for part in _folded(_narrowed(_indented(sheet)))), *below]) + "\n"


def wrapped(text: str, width: int = WIDTH) -> list[str]:
    """Lines of a terminal; the name of a corpus stays whole."""
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _lines(sheet: Sheet) -> list[tuple[str, ...]]:
    """The header and the rows that are no headings."""
    return [sheet.header, *(row for row in sheet.rows if not sheet.is_heading(row))]


def _indented(sheet: Sheet) -> Sheet:
    """A table with its rows set off from the headings over them."""
    if not any(map(sheet.is_heading, sheet.rows)):
        return sheet
    return replace(sheet, rows=tuple(row if sheet.is_heading(row) else (f"  {row[0]}", *row[1:]) for row in sheet.rows))


def _places(sheet: Sheet) -> list[int]:
    """How much of a line each column takes, with the gap after it."""
    lines = _lines(sheet)
    return [max(len(line[i]) for line in lines) + (3 if i in sheet.breaks else 1) for i in range(len(sheet.header))]


def _narrowed(sheet: Sheet) -> Sheet:
    """A table that is too wide for a terminal, with a last column of words on several lines."""
    *others, last = _places(sheet)
    room = max(WIDEST - sum(others), NARROWEST)
    if sum(others) + last <= WIDEST + 1 or not others or any(len(word) > room for line in _lines(sheet) for word in line[-1].split()):
        return sheet
    rows: list[tuple[str, ...]] = []
    for row in sheet.rows:
        first, *more = [row[-1]] if sheet.is_heading(row) else wrapped(row[-1], room) or [""]
        rows += [(*row[:-1], first), *((*[""] * len(others), line) for line in more)]
    return replace(sheet, rows=tuple(rows))


def _folded(sheet: Sheet) -> Iterator[Sheet]:
    """A table; one that is too wide for a terminal as several, each with the first column, cut at a gap where there is one."""
    places = _places(sheet)
    if sum(places) <= WIDEST + 1:
        yield sheet
        return
    left = list(range(1, len(places)))
    while left:
        first = left[0] == 1
        many = max(sum(end <= WIDEST + 1 - places[0] for end in accumulate(places[i] for i in left)), 1)
        if many < len(left):
            many = max((k for k in range(1, many + 1) if left[k - 1] in sheet.breaks), default=many)
        columns, left = (0, *left[:many]), left[many:]
        yield Sheet(
            caption=sheet.caption if first else "",
            header=tuple(sheet.header[i] for i in columns),
            rows=tuple(row if sheet.is_heading(row) else tuple(row[i] for i in columns) for row in sheet.rows),
            breaks=frozenset(at for at, i in enumerate(columns) if i in sheet.breaks),
            footer="" if left else sheet.footer,
        )


def _aligned(sheet: Sheet) -> str:
    widths = [max(map(len, column)) for column in zip(*_lines(sheet), strict=True)]

    def joined(line: Sequence[str]) -> str:
        if sheet.is_heading(line):
            return line[0]
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths, strict=True))]
        return "".join(cell + (" | " if i in sheet.breaks else " ") for i, cell in enumerate(cells)).rstrip(" |")

    body = [joined(sheet.header), *map(joined, sheet.rows)]
    rule = "-" * max(map(len, body))
    caption = [*wrapped(sheet.caption), ""] if sheet.caption else []
    footer = [line for entry in sheet.footer.splitlines() for line in wrapped(entry)]
    return "\n".join([*caption, body[0], rule, *body[1:], *footer, ""])


def _markdown(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    parts = []
    for sheet in sheets:
        align = ["---", *["---:"] * (len(sheet.header) - 1)]
        rows = [(f"**{row[0]}**", *[""] * (len(align) - 1)) if sheet.is_heading(row) else row for row in sheet.rows]
        lines = ["| " + " | ".join(line) + " |" for line in (sheet.header, align, *rows)]
        parts += [f"**{sheet.caption}**", "\n".join(lines), *sheet.footer.splitlines()]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in legend)]) + "\n"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]|~^])", r"\\\1", html.escape(_printable(text), quote=False))


def _latex(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    """Tables for booktabs and graphicx, each with its legend below it; one that is wider than the line is made smaller."""
    parts = []
    for sheet in sheets:
        many = len(sheet.header)
        columns = "".join(("l" if i == 0 else "r") + ("@{\\hspace{1.5em}}" if i in sheet.breaks else "") for i in range(many))
        rows = [(rf"\multicolumn{{{many}}}{{l}}{{\textit{{{row[0]}}}}}",) if sheet.is_heading(row) else row for row in sheet.rows]
        lines = [" & ".join(line) + r" \\" for line in (sheet.header, *rows)]
        parts += [r"\begin{table}", r"\centering", rf"\caption{{{sheet.caption}}}", *FITTED, rf"\begin{{tabular}}{{{columns}}}"]
        parts += [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}}"]
        below = ". ".join(line.rstrip(".") for line in (*sheet.footer.splitlines(), *legend))
        parts += [rf"\par\smallskip\footnotesize {below}."] * bool(below) + [r"\end{table}", ""]
    return "\n".join(parts)


FITTED = (r"\smallskip\setlength{\tabcolsep}{4pt}", r"\resizebox{\ifdim\width>\linewidth \linewidth\else \width\fi}{!}{%")
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",  # these three are others in the fonts that LaTeX begins with
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # these two would be arguments of the end of a line
    "*": "{*}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def _escape_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in _printable(text))


def _html(sheets: Sequence[Sheet], legend: Sequence[str]) -> str:
    parts = ['<!doctype html><meta charset="utf-8"><title>Zero-shot transfer</title>']
    for sheet in sheets:
        parts += ["<table>", f"<caption>{sheet.caption}</caption>", _html_row(sheet.header, "th")]
        parts += [_html_heading(row[0], len(sheet.header)) if sheet.is_heading(row) else _html_row(row, "td") for row in sheet.rows]
        parts += ["</table>", *(f"<p>{line}</p>" for line in sheet.footer.splitlines())]
    return "\n".join([*parts, *(f"<p>{line}</p>" for line in legend)]) + "\n"


def _html_row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _html_heading(cell: str, columns: int) -> str:
    return f'<tr><th colspan="{columns}">{cell}</th></tr>'


def _escape_html(text: str) -> str:
    return html.escape(_printable(text))


def inert(name: str) -> str:
    """A name that no spreadsheet takes for a formula, for CSV."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


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
