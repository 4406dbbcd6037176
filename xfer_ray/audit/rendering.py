"""An audit of translations as text, CSV, Markdown, LaTeX or HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analysis.formats import HOLE, Sheet
from xfer_ray.audit.pages import csv_text, page
from xfer_ray.audit.translation import DISTANCES, FARTHEST, WORST, Audit, Worst


def render(found: Audit, style: str) -> str:
    """Everything that was counted, in a format: text, csv, markdown, latex or html."""
    if style == "csv":
        return csv_text(("table", "corpus", "row", "measure", "value"), _long(found))
    spans = bool(found.distances)
    sheets = [_steps(found), *([_by_length(found), _by_distance(found)] if spans else []), *([_by_fault(found)] if found.faults else [])]
    return page(style, sheets, _legend(found))


def _what(found: Audit) -> str:
    return "questions" if found.distances else "examples"


def _steps(found: Audit) -> Sheet:
    spans = bool(found.distances)
    rows = []
    for one in found.yields:
        exact = (HOLE if one.exact is None else str(one.exact),) if spans else ()
        rows.append((one.corpus, str(one.questions), str(one.translated), *exact, str(one.kept), _percent(one.kept, one.questions)))
    header = ("corpus", _what(found), "translated", *(("exact",) if spans else ()), "kept", "%")
    footer = f"kept in all {len(rows)} corpora: {len(found.shared)} {_what(found)}" if len(rows) > 1 else ""
    return Sheet(f"{_what(found).capitalize()} left after each step", header, tuple(rows), frozenset({0}), footer)


def _by_length(found: Audit) -> Sheet:
    rows = []
    for one in found.lengths:
        shares = _percent(one.exact, one.n), _percent(one.kept - one.exact, one.n - one.exact), _percent(one.kept, one.n)
        rows.append((one.corpus, one.bucket, str(one.n), *shares))
    header = ("corpus", "characters", "answers", "exact %", "others kept %", "kept %")
    return Sheet("Answers by the length of their translation", header, tuple(rows), frozenset({0}))


def _by_distance(found: Audit) -> Sheet:
    rows = []
    for corpus, counts in found.distances.items():
        total, so_far = sum(counts), [sum(counts[: i + 1]) for i in range(len(counts) - 2)]
        rows += [(corpus, *map(str, counts)), ("  so far, %", *(_percent(n, total) for n in so_far), "", "")]
    caption = "Answers by edit distance, and the share that is kept where that is the greatest distance allowed"
    return Sheet(caption, ("corpus", *DISTANCES), tuple(rows), frozenset({0, FARTHEST + 1}))


def _by_fault(found: Audit) -> Sheet:
    counts = {(one.corpus, one.fault): one.n for one in found.faults}
    corpora, faults = [one.corpus for one in found.yields], sorted({one.fault for one in found.faults})
    rows = [(fault.replace(":", ": "), *(str(counts.get((corpus, fault), 0)) for corpus in corpora)) for fault in faults]
    return Sheet(f"{_what(found).capitalize()} with a suspicious translation", ("text: fault", *corpora), tuple(rows), frozenset({0}))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else HOLE


def _legend(found: Audit) -> list[str]:
    if not found.distances:
        return ["an example is kept if neither of its texts was translated to nothing"]
    return [
        "a question passes a step if one of its answers does; others: answers that do not occur in the context as they stand; "
        "none: not looked for, since a text was translated to nothing",
        "short answers are near to anything: any 5 characters are within 5 edits of any others",
    ]


def _long(found: Audit) -> Iterator[tuple[str, str, str, str, object]]:
    """One number a row: table, corpus, row of that table, what is counted, and how many."""
    for one in found.yields:
        steps = {"questions": one.questions, "translated": one.translated, "exact": one.exact, "kept": one.kept}
        yield from (("steps", one.corpus, "", step, n) for step, n in steps.items() if n is not None)
    yield "shared", "", "", "kept", len(found.shared)
    for length in found.lengths:
        counts = {"answers": length.n, "exact": length.exact, "kept": length.kept}
        yield from (("length", length.corpus, length.bucket, step, n) for step, n in counts.items())
    for corpus, numbers in found.distances.items():
        yield from (("distance", corpus, distance, "answers", n) for distance, n in zip(DISTANCES, numbers, strict=True))
    yield from (("fault", fault.corpus, fault.fault, "questions", fault.n) for fault in found.faults)


def render_worst(found: Mapping[str, Sequence[Worst]], style: str) -> str:
    """The questions to look at, by corpus, in a format: text, csv, markdown, latex or html."""
    if style == "csv":
        rows = ((corpus, *(_inert(str(one.json()[name])) for name in WORST)) for corpus, all_ in found.items() for one in all_)
        return csv_text(("corpus", *WORST), rows)
    header = ("question", "suspicious", "lost by", "distance", "translated answer", "found instead")
    sheets = [
        Sheet(
            f"{corpus}: {'what to look at first' if all_ else 'nothing is suspicious'}", header if all_ else ("",), tuple(map(_look, all_))
        )
        for corpus, all_ in found.items()
    ]
    return page(style, sheets, ())


def _look(one: Worst) -> tuple[str, ...]:
    distance = HOLE if one.distance < 0 else str(one.distance)
    return one.id, one.faults or HOLE, one.reason or HOLE, distance, _cut(one.translated), _cut(one.answer)


def _cut(text: str, most: int = 30) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split()) or HOLE
    return line if len(line) <= most else line[: most - 1] + "…"


def _inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not text.lstrip("-").isdigit() else text
