"""Commands that read results or data: tables, audit, import, rescore, check, compact."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from xfer_ray.cli.options import (
    AsJson,
    Baseline,
    Denominators,
    Metric,
    Mirror,
    OneModel,
    OneTask,
    ResultsFolder,
    Selection,
    Split,
    Storage,
    open_results,
    use_mirror,
)


def tables(
    results_folder: ResultsFolder,
    task: OneTask = None,
    model: OneModel = None,
    metric: Metric = None,
    split: Split = None,
    selection: Selection = None,
    baseline: Baseline = None,
    denominators: Denominators = None,
    values: Annotated[str, typer.Option(help="paper, ability, relative, advantage, common, or gap.")] = "paper",
    layout: Annotated[str, typer.Option(help="matrix, provenance, or summary (Tables 2, 4 and 1 of the paper).")] = "matrix",
    format_: Annotated[str, typer.Option("--format", help="text, csv, markdown, latex, or html.")] = "text",
    seed_mean: Annotated[str, typer.Option(help="scores (seeds averaged before the ratio) or ratios (after it).")] = "scores",
    intervals: Annotated[bool, typer.Option("--intervals", help="Print the 95 % interval of each value.")] = False,
    marks: Annotated[bool, typer.Option(help="Mark what is significant, by the predictions; takes a moment.")] = True,
) -> None:
    """Print the paper's tables: relative abilities, advantages over English, averages over groups of targets."""
    from analysis import render
    from analysis import tables as building
    from analysis.selection import Options

    found = open_results(results_folder)
    options = Options(
        task=task,
        model=model,
        metric=metric,
        split=split,
        selection=selection,
        baseline=baseline,
        denominators=denominators,
        values=values,
        layout=layout,
        seed_mean=seed_mean,
        marks=marks or intervals,
        intervals=intervals,
    )
    built = building.read(found, options)
    sys.stdout.write(render.render(built, format_, intervals=intervals))
    for note in built.notes:
        print(note, file=sys.stderr)


def audit_answers(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task of questions, such as xquad.")],
    results_folder: Annotated[
        str | None, typer.Option("--results", help="A metric on ASCII-only answers and on others, from the predictions of this sweep.")
    ] = None,
    metric: Annotated[str, typer.Option(help="With --results: the metric.")] = "f1",
    model: Annotated[str | None, typer.Option(help="With --results: only this model.")] = None,
    mirror: Mirror = None,
    format_: Annotated[str, typer.Option("--format", help="text, csv, markdown, latex, or html.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Say how many answers of each target are ASCII only (Table 7 of the paper), and what that does to a score."""
    from xfer_ray.audit import answers
    from xfer_ray.tasks import task as task_of

    use_mirror(mirror)
    if results_folder is None:
        found = answers.answers(task_of(task))
        text = json.dumps([one.json() for one in found], indent=1) + "\n" if as_json else answers.render_answers(found, task, format_)
    else:
        scored = answers.apart(open_results(results_folder), task, metric=metric, model=model)
        text = json.dumps([one.json() for one in scored], indent=1) + "\n" if as_json else answers.render_apart(scored, task, format_)
    sys.stdout.write(text)


def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV or Parquet: task, model, source, seed, target, metric, score, and optionally n, split.")
    ],
    storage: Storage = "results",
    name: Annotated[str | None, typer.Option(help="The sweep's name; default: the file's name without its ending.")] = None,
    percent: Annotated[bool, typer.Option(help="The scores are given in percent.")] = False,
) -> None:
    """Take scores of another program into STORAGE/NAME, so that `tables` shows them."""
    from xfer_ray import importing
    from xfer_ray.storage import open_storage
    from xfer_ray.tasks import TASKS

    known = {task.name: task for task in TASKS}
    taken = importing.import_scores(
        file, open_storage(storage), name=file.stem if name is None else name, percent=percent, known=known.get, note=_to_stderr
    )
    print(f"imported {file}; show it with: xfer-ray tables {storage.rstrip('/')}/{taken.sweep}")


def _to_stderr(note: str) -> None:
    print(note, file=sys.stderr)


def rescore(
    results_folder: ResultsFolder,
    metric: Annotated[str, typer.Option(help="A metric by name, such as f1_script; a wrong name lists them all.")],
    task: Annotated[str | None, typer.Option(help="Only the trials of this task.")] = None,
) -> None:
    """Compute another metric from stored predictions, without a model: RESULTS/rescored/METRIC, in the columns of scores."""
    from xfer_ray import rescore as rescoring

    found = open_results(results_folder)
    done = rescoring.rescore(found, metric, task=task)
    for note in (*done.undefined, *done.faults):
        print(note, file=sys.stderr)
    trials = "1 trial" if done.written == 1 else f"{done.written} trials"
    print(f"{trials} rescored by {metric}, {done.current} were up to date: {results_folder}/rescored/{metric}")
    if done.faults:
        raise typer.Exit(3)


def check(
    results_folder: ResultsFolder,
    repair: Annotated[bool, typer.Option(help="Move damaged files to RESULTS/damaged, so that the next run does them again.")] = False,
) -> None:
    """Check every file of a sweep with two independent Parquet readers."""
    from xfer_ray import checking

    findings = checking.check(open_results(results_folder), repair=repair)
    for finding in findings:
        print(finding)
    damaged = [finding for finding in findings if finding.damage]
    print(f"{results_folder}: {len(damaged)} damaged" + (", moved to damaged/" if damaged and repair else ""))
    if damaged and not repair:
        raise typer.Exit(3)


def compact(results_folder: ResultsFolder) -> None:
    """Put many small files of scores into a cache, RESULTS/cache, for sweeps of thousands of trials.

    The files of scores stay as they are; deleting the cache costs only time.
    """
    from xfer_ray import compact as compacting

    left = compacting.compact(open_results(results_folder))
    print(
        f"{left.trials} trials in {left.segments} segment{'' if left.segments == 1 else 's'} of {results_folder}/cache, "
        f"{left.size / 1e6:.1f} MB; {left.added} of them are new there"
    )
