"""Commands that say what results mean: report, recommend, correlates, reproduce."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from xfer_ray.cli.options import AsJson, Baseline, Denominators, Metric, OneModel, OneTask, ResultsFolder, Selection, Split, open_results
from xfer_ray.errors import DeclarationError, StorageError, demand


def report(
    results_folder: ResultsFolder,
    output: Annotated[str | None, typer.Option(help="The file; default: SWEEP-report.html in the current folder.")] = None,
    figures: Annotated[str | None, typer.Option(help="Also write every figure as an SVG and a PNG file into this folder.")] = None,
    task: OneTask = None,
    model: OneModel = None,
    metric: Metric = None,
    split: Split = None,
    selection: Selection = None,
    baseline: Baseline = None,
    denominators: Denominators = None,
) -> None:
    """Write one HTML page: which source is best, by how much and how surely, with figures, examples, and what was run."""
    from analysis.report import gather, page
    from analysis.selection import Options

    file, folder = _named("output", output), _named("figures", figures)
    options = Options(task=task, model=model, metric=metric, split=split, selection=selection, baseline=baseline, denominators=denominators)
    found = open_results(results_folder)
    gathered = gather.read(found, options)
    file = file or Path(f"{found.sweep}-report.html")
    _put(file, page.render(gathered))
    print(f"wrote {file}")
    if folder is not None:
        with _explained(folder):
            print(f"wrote {len(page.save_figures(gathered, folder))} figures into {folder}")
    for note in gathered.notes:
        print(note, file=sys.stderr)


def _named(option: str, text: str | None) -> Path | None:
    """A place that an option names; an empty name would be the current folder."""
    demand(text is None or bool(text.strip()), f"--{option} {text!r} names nothing; name a place, or leave the option out")
    return None if text is None else Path(text)


def _put(file: Path, text: str) -> None:
    """A file that is whole or as it was before; what is no ordinary file, such as /dev/stdout, is written to."""
    with _explained(file):
        if file.exists() and not file.is_file():
            file.write_text(text, encoding="utf-8")
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{os.getpid()}.part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    """What cannot be written, in one sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror or error}; name another place") from error


def recommend(
    results_folder: ResultsFolder,
    targets: Annotated[str | None, typer.Option(help="Targets or languages separated by commas; default: all of the task.")] = None,
    weights: Annotated[str | None, typer.Option(help="A CSV file of speakers or traffic, or de=0.5,fr=0.5; default: all alike.")] = None,
    by: Annotated[str, typer.Option("--measure", help="average, or worst: the least over the targets.")] = "average",
    zero_shot: Annotated[bool, typer.Option(help="A source's own language does not count.")] = False,
    task: OneTask = None,
    model: OneModel = None,
    metric: Metric = None,
    split: Split = None,
    selection: Selection = None,
    baseline: Baseline = None,
    denominators: Denominators = None,
    pretraining: Annotated[
        str | None, typer.Option(help="For targets never measured: mc4 or wikipedia, where the checkpoint does not tell.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which source to fine-tune on for your targets, how sure that is, and what is known of targets never measured."""
    from analysis import recommend
    from analysis.recommend import advice
    from analysis.recommend.wanted import weights_of
    from analysis.selection import Options

    options = Options(task=task, model=model, metric=metric, split=split, selection=selection, baseline=baseline, denominators=denominators)
    question = recommend.Question(
        targets=() if targets is None else tuple(name.strip() for name in targets.split(",")),
        weights=None if weights is None else weights_of(weights),
        measure=by,
        zero_shot=zero_shot,
        pretraining=pretraining,
    )
    answers = recommend.read(open_results(results_folder), options, question)
    if as_json and len(answers) > 1:
        raise DeclarationError(
            f"the results hold several models: {', '.join(answer.model for answer in answers)}; --json shows one, name it with --model"
        )
    sys.stdout.write(json.dumps(advice.json(answers[0]), indent=1) + "\n" if as_json else advice.text(answers))
    for note in dict.fromkeys(note for answer in answers for note in answer.notes):
        print(note, file=sys.stderr)


def correlates(
    results_folder: ResultsFolder,
    task: OneTask = None,
    model: OneModel = None,
    metric: Metric = None,
    split: Split = None,
    baseline: Baseline = None,
    denominators: Denominators = None,
    pretraining: Annotated[str | None, typer.Option(help="mc4 or wikipedia, where the checkpoint does not tell.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what advantages go along with, by model: typological distance, script, pre-training, test data, choice of checkpoint."""
    from analysis import correlates
    from analysis.selection import Options

    options = Options(task=task, model=model, metric=metric, split=split, baseline=baseline, denominators=denominators)
    found, notes = correlates.read(open_results(results_folder), options, pretraining)
    text = json.dumps([correlates.json(one) for one in found], indent=1) + "\n" if as_json else correlates.text(found)
    sys.stdout.write(text)
    for note in notes:
        print(note, file=sys.stderr)


def reproduce(
    results_folder: Annotated[
        str | None, typer.Argument(metavar="RESULTS", help="The results of a sweep of the paper's tasks and models, such as results/paper.")
    ] = None,
    paper: Annotated[str, typer.Option(help="Whose printed tables and claims.")] = "turc2021",
    printed: Annotated[bool, typer.Option("--printed", help="Check the claims on the printed tables themselves; no RESULTS.")] = False,
    resamples: Annotated[int, typer.Option(min=1_000, help="How often examples and seeds are drawn anew for the intervals.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of these draws: the same seed gives the same intervals.")] = 0,
    as_json: AsJson = False,
    format_: Annotated[str, typer.Option("--format", help="text, csv, markdown, latex, or html.")] = "text",
) -> None:
    """Compare a sweep with the tables that a paper prints, cell by cell, and check each of its claims.

    What was not run is named, with the command that runs it.
    """
    from analysis import reproduce as reproducing
    from analysis.reproduce import text as reproduce_text

    if printed == (results_folder is not None):
        raise DeclarationError("give either RESULTS, such as results/paper, or --printed, which reads none")
    if results_folder is None:
        found = reproducing.of_paper(paper)
    else:
        results = open_results(results_folder)
        found = reproducing.read(results, paper, resamples=resamples, seed=seed, note=lambda line: print(line, file=sys.stderr))
    sys.stdout.write(json.dumps(reproducing.as_json(found), indent=1) + "\n" if as_json else reproduce_text.render(found, format_))
    for note in found.notes:
        print(note, file=sys.stderr)
