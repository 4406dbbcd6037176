"""Writes docs/performance.md from the JSON files of the benchmarks: `python -m benchmarks.report`.

Every figure comes from a file; a benchmark that left none is named as not measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Bar, Cost, Measure

Record = Mapping[str, Any]
BENCHMARKS = ("training", "peak", "evaluation", "share", "feeding", "sweep", "startup", "overhead", "reading", "resampling")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = """# Performance

What a trial and a sweep cost, beside what a user would run instead. `make bench` measures and writes this page; each benchmark alone is
`python -m benchmarks.NAME`, and `benchmarks/results/` has every sample. The sides of a benchmark run in turn, there and back, on
the same input. A figure is the median over the pairs, in brackets the least and the greatest; what was not measured is not here.
"""
# Why a bar is missed, by the beginning of its measure.
EXPLAINED = {
    "evaluation of 15 targets, text-to-text, both write": (
        "Both sides write three tokens of each answer, which costs ours the difference between this measure and the next (labels scored "
        "in one step), and no layout makes it shorter: what padding wastes is in the encoder. An encoder's evaluation meets the bar, and "
        "so does scoring labels."
    ),
    "group-by over 1,500,000 rows, the package's reader": (
        "The package trusts a row of the cache only while the small file that it came from still has its sha256, so it reads all 10,000 "
        "of them: a trial that was redone, or a flipped bit, is never missed. Whoever needs the rows faster reads the cache itself, as "
        "the two lines above do."
    ),
}
NO_GPU = """## GPU

Nothing has been measured on a GPU yet, and the share of one that a model takes by default is an estimate. `python -m benchmarks.gpu`
compares the steps of a Trainer with ours, recorded and not, with one to four trials at once on one GPU; `--quick --device cpu` shows
that it runs.
"""


def measure_of(found: Record) -> Measure:
    """A measure as it was written down."""
    sides = {name: tuple(Cost(**cost) for cost in costs) for name, costs in found["sides"].items()}
    return Measure(**{**found, "values": tuple(found["values"]), "bar": found["bar"] and Bar(**found["bar"]), "sides": sides})


def page(records: Sequence[Record]) -> str:
    """The whole page."""
    order = {name: position for position, name in enumerate(BENCHMARKS)}
    held = sorted(records, key=lambda record: (order.get(record["benchmark"], len(order)), record["when"]))
    places = list(dict.fromkeys(map(_place, held)))
    absent = [name for name in BENCHMARKS if name not in {record["benchmark"] for record in held}]
    parts = [HEAD, "\n".join(_summary(held, places))]
    parts += ["\n".join(_explanations(held))]
    if absent:
        parts.append(f"Not measured: {', '.join(absent)}.\n")
    if "gpu" not in {record["benchmark"] for record in held}:
        parts.append(NO_GPU)
    parts += ["\n".join(["## Machines and versions", "", *(f"- **{chr(65 + i)}**: {place}" for i, place in enumerate(places)), ""])]
    parts += ["\n".join(_details(record)) for record in held]
    return "\n".join(parts)


def _summary(records: Sequence[Record], places: Sequence[str]) -> Iterator[str]:
    """One row for each measure."""
    yield "| measure | bar | measured | | command | when, where |"
    yield "|---|---|---|---|---|---|"
    for record in records:
        where = (
            f"{record['when'][:10]}, {chr(65 + places.index(_place(record)))}{', loaded' if harness.is_loaded(record['machine']) else ''}"
        )
        for measure in map(measure_of, record["measures"]):
            bar, judged = _judged(measure)
            yield f"| {measure.title} | {bar} | {_figure(measure)} | {judged} | `{record['command']}` | {where} |"
    yield ""


def _explanations(records: Sequence[Record]) -> Iterator[str]:
    """What is known about each bar that is missed."""
    for measure in (measure_of(found) for record in records for found in record["measures"]):
        if measure.bar is not None and not measure.bar.met(measure.median):
            reason = next((text for title, text in EXPLAINED.items() if measure.title.startswith(title)), "Not explained yet.")
            yield f"- *{measure.title}* misses its bar. {reason}"
    yield ""


def _judged(measure: Measure) -> tuple[str, str]:
    if measure.bar is None:
        return "", ""
    bar = measure.bar
    asked = f"{'≥' if bar.at == 'least' else '≤'} {bar.value:g}" + ("" if bar.goal is None else f", goal {bar.goal:g}")
    return asked, "met" if bar.met(measure.median) else "**missed**"


def _figure(measure: Measure) -> str:
    low, high = min(measure.values), max(measure.values)
    spread = f"({harness.number(low)} to {harness.number(high)}, n={len(measure.values)})" if len(measure.values) > 1 else "(one run)"
    note = f"; {measure.note}" if measure.note else ""
    return f"{harness.number(measure.median)} {measure.unit} {spread}{note}"


def _place(record: Record) -> str:
    """The machine and the versions, as one line."""
    machine = record["machine"]
    told = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB{gpu}, {machine['system']}; {told}"


def _details(record: Record) -> Iterator[str]:
    """What a benchmark compares, what else its machine did, and what each side took."""
    machine = record["machine"]
    yield f"## {record['benchmark'].capitalize()}"
    yield ""
    yield record["about"]
    yield ""
    quick = "A quick run: sizes are tiny. " if record["quick"] else ""
    yield (
        f"{quick}`{record['command']}`, {record['when']}; load {machine['load_before']:.1f} before and {machine['load_after']:.1f} after, "
        f"other programs used {machine['others_before']:.1f} and {machine['others_after']:.1f} cores just before and after."
    )
    yield ""
    yield "| measure | side | CPU seconds | wall seconds |"
    yield "|---|---|---|---|"
    for measure in map(measure_of, record["measures"]):
        for name, costs in measure.sides.items():
            cpu, wall = (harness.number(statistics.median(getattr(cost, kind) for cost in costs)) for kind in ("cpu", "wall"))
            yield f"| {measure.title} | {name} | {cpu} | {wall} |"
    yield ""


def main() -> None:
    """Read the files, write the page."""
    parser = argparse.ArgumentParser(description="Write docs/performance.md from benchmarks/results/*.json.")
    parser.add_argument("--results", type=Path, default=harness.RESULTS, metavar="DIR", help="the JSON files")
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE", help="the page")
    given = parser.parse_args()
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(given.results.glob("*.json"))]
    given.output.write_text(page(records), encoding="utf-8")


if __name__ == "__main__":
    main()
