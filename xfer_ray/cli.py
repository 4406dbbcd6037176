"""The commands. Text goes to stdout, progress and notes to stderr; exit codes are those of the errors in core.py."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xfer_ray.errors import DeclarationError, StorageError, XferRayError

if TYPE_CHECKING:
    from xfer_ray.plan import Estimate, State
    from xfer_ray.results import Plan, Results
    from xfer_ray.run import Summary

app = typer.Typer(
    name="xfer-ray",
    help="From which language should one fine-tune a multilingual model?",
    epilog="Begin with: xfer-ray run sweeps/demo.py",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

audit_app = typer.Typer(help="What is in the data.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_app, name="audit")

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep file, such as sweeps/demo.py.")]
ResultsFolder = Annotated[str, typer.Argument(metavar="RESULTS", help="The results of a sweep, such as results/demo.")]
Storage = Annotated[str, typer.Option(help="Folder that holds the results of all sweeps.")]
Mirror = Annotated[
    str | None, typer.Option(envvar="XFER_RAY_MIRROR", help="Folder laid out like the hub, DIR/<owner>/<name>; nothing is then fetched.")
]
Only = Annotated[str | None, typer.Option(help="Only these trials: task=…, model=…, source=…, seed=…, separated by commas.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds in place of the declared ones, such as 0-4.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def main() -> None:
    """Run a command; an error of ours is one sentence on stderr and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter shows "?"
    try:
        app()
    except XferRayError as error:
        print(f"xfer-ray: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"xfer-ray: {StorageError(error)}", file=sys.stderr)
        sys.exit(StorageError.exit_code)


@app.command()
def plan(
    sweep: SweepFile,
    storage: Storage = "results",
    mirror: Mirror = None,
    only: Only = None,
    seeds: Seeds = None,
    as_json: AsJson = False,
) -> None:
    """Show every trial of a sweep and its state, what it will cost, and which columns of its tables will exist.

    Starts nothing and writes nothing.
    """
    from xfer_ray import plan as planning
    from xfer_ray import results, sweepfile
    from xfer_ray.results import Results
    from xfer_ray.storage import open_storage

    _use_mirror(mirror)
    declared, _ = sweepfile.read(sweep)
    declared, chosen = sweepfile.choose(declared, seeds=seeds, only=only)
    found = Results(open_storage(storage), declared.name)
    written = results.plan_of(declared, {})
    asked = {t.id for t in chosen}
    states = planning.states(found, [t for t in written.trials if t.trial in asked], planning.blocked(chosen))
    gpus = {name: model.gpus for name, model in planning.models_of(chosen).items()}
    estimate = planning.estimate(found, states, gpus)
    if as_json:
        print(json.dumps(_plan_json(written, found, states, estimate), indent=1))
    else:
        _print_plan(declared.name, written, states, estimate)


@app.command()
def run(
    sweep: SweepFile,
    storage: Storage = "results",
    mirror: Mirror = None,
    only: Only = None,
    seeds: Seeds = None,
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="A Ray cluster to join; without one, Ray starts on this machine.")
    ] = None,
    gpus_per_trial: Annotated[str, typer.Option(help="auto (the model's share where a node has a GPU, else CPUs) or a number.")] = "auto",
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="CPU threads of one trial.")] = 1,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="At most this many trials at once.")] = None,
    max_failures: Annotated[int, typer.Option(min=0, help="How often a trial whose worker died or raised is tried again.")] = 2,
    fail_fast: Annotated[bool, typer.Option(help="Stop the sweep at the first failure.")] = False,
    keep_models: Annotated[bool, typer.Option(help="Keep each fine-tuned model under RESULTS/models.")] = False,
    oracle: Annotated[
        bool, typer.Option(help="Also score the last step, and for each target the step that its own dev set would choose.")
    ] = False,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="How often a running trial is saved, to go on from.")] = 10.0,
    in_process: Annotated[bool, typer.Option(help="No Ray: one trial after another in this process, for a debugger.")] = False,
) -> None:
    """Run what is missing of a sweep. Run it again at any time: what is done stays done."""
    from xfer_ray import plan as planning
    from xfer_ray import results, revisions, sweepfile
    from xfer_ray import run as running
    from xfer_ray.trial import Desk, Placement

    _use_mirror(mirror)
    declared, module = sweepfile.read(sweep)
    declared, chosen = sweepfile.choose(declared, seeds=seeds, only=only)
    found = running.prepare(declared, storage)
    blocked = planning.blocked(chosen)
    resolved = revisions.resolve(found, [trial for trial in chosen if trial.id not in blocked])
    results.write_plan(found, results.plan_of(declared, resolved))
    desk = Desk(found, running.scratch(), resolved, keep_models, oracle, 60 * checkpoint_minutes)
    placement = Placement(address, _gpus(gpus_per_trial), cpus_per_trial, max_concurrent, max_failures, fail_fast, in_process)
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: _interrupt(number, terminated))
    again = shlex.join(["xfer-ray", *sys.argv[1:]])
    try:
        summary = running.run(declared, chosen, found, desk, placement, module)
    except KeyboardInterrupt:
        done = len(results.done(found) & {t.id for t in chosen})
        print(f"\nstopped with {done} of {len(chosen)} trials done; go on with: {again}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(143 if terminated else 130)  # Ray's threads may still be waiting
    _print_summary(summary, storage, declared.name, again)
    if summary.failed or summary.blocked:
        raise typer.Exit(5)


@app.command()
def status(results_folder: ResultsFolder, as_json: AsJson = False) -> None:
    """Show what is done, running and failed, from the files of a sweep alone."""
    from xfer_ray import plan as planning
    from xfer_ray import records, results

    found = _open(results_folder)
    written = results.read_plan(found)
    states = planning.with_running(found, planning.states(found, written.trials, {}))
    counts = planning.counts(states)
    if as_json:
        trials = [state.json() for state in states]
        print(json.dumps({"sweep": written.sweep, "results": results_folder, "trials": trials, "counts": counts}, indent=1))
        return
    print(f"{written.sweep}: {_counted(counts)}")
    for state in states:
        if state.state in ("failed", "running"):
            print(f"  {state.state:8} {state.trial.trial}: {state.reason}")
    for trial in records.conflicts(found):
        print(f"  conflict {trial}: a second run gave other scores; the first ones stay, see {results_folder}/conflicts/{trial}.json")


@app.command()
def tables(
    results_folder: ResultsFolder,
    task: Annotated[str | None, typer.Option(help="The task, where the sweep has several.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    metric: Annotated[str | None, typer.Option(help="The metric, where the task has several.")] = None,
    split: Annotated[str | None, typer.Option(help="The split, where the scores have several.")] = None,
    selection: Annotated[str | None, typer.Option(help="Which step was scored: last, source-dev, or oracle.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The source that advantages are over; default: English of the same origin.")] = None,
    denominators: Annotated[str | None, typer.Option(help="HT, MT, or corpora separated by commas: whose model divides a column.")] = None,
    values: Annotated[str, typer.Option(help="paper, ability, relative, advantage, common, or gap.")] = "paper",
    layout: Annotated[str, typer.Option(help="matrix, provenance, or summary (Tables 2, 4 and 1 of the paper).")] = "matrix",
    format_: Annotated[str, typer.Option("--format", help="text, csv, markdown, latex, or html.")] = "text",
    seed_mean: Annotated[str, typer.Option(help="scores (seeds averaged before the ratio) or ratios (after it).")] = "scores",
) -> None:
    """Print the paper's tables: relative abilities, advantages over English, averages over groups of targets."""
    from analysis import render
    from analysis import tables as building
    from analysis.selection import Options

    found = _open(results_folder)
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
    )
    built = building.read(found, options)
    sys.stdout.write(render.render(built, format_))
    for note in built.notes:
        print(note, file=sys.stderr)


@audit_app.command("answers")
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
    from xfer_ray import audit
    from xfer_ray.tasks import task as task_of

    _use_mirror(mirror)
    if results_folder is None:
        found = audit.answers(task_of(task))
        text = json.dumps([one.json() for one in found], indent=1) + "\n" if as_json else audit.render_answers(found, task, format_)
    else:
        scored = audit.apart(_open(results_folder), task, metric=metric, model=model)
        text = json.dumps([one.json() for one in scored], indent=1) + "\n" if as_json else audit.render_apart(scored, task, format_)
    sys.stdout.write(text)


@app.command()
def pretrain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file with PRETRAINING = Pretraining(...), or a sweep file.")],
    storage: Storage = "results",
    mirror: Mirror = None,
    output: Annotated[Path | None, typer.Option(help="Copy the checkpoint to this folder, which a Model can name.")] = None,
    only: Annotated[str | None, typer.Option(help="Only this one, by its name in the file, or that of its model.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that train together through Ray Train, each with a GPU if there are any.")
    ] = 1,
    address: Annotated[str | None, typer.Option(envvar="RAY_ADDRESS", help="With --workers: a Ray cluster to join.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="How often it is saved, to go on from.")] = 10.0,
) -> None:
    """Make the checkpoints that a file declares, such as sweeps/mt5_uniform.py. Run it again at any time: it goes on."""
    from xfer_ray import pretrain as making

    _use_mirror(mirror)
    signal.signal(signal.SIGTERM, lambda number, frame: _interrupt(number, terminated))
    terminated: list[int] = []
    try:
        lines = making.pretrain(file, making.Options(storage, output, only, workers, address, 60 * checkpoint_minutes))
    except KeyboardInterrupt:
        again = shlex.join(["xfer-ray", *sys.argv[1:]])
        print(f"\nstopped; go on from the last checkpoint with: {again}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(143 if terminated else 130)
    for line in lines:
        print(line)


@app.command("import")
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
    taken = importing.import_scores(file, open_storage(storage), name=name or file.stem, percent=percent, known=known.get)
    print(f"imported {file}; show it with: xfer-ray tables {Path(storage) / taken.sweep}")


@app.command()
def rescore(
    results_folder: ResultsFolder,
    metric: Annotated[str, typer.Option(help="A metric by name, such as f1_script; a wrong name lists them all.")],
    task: Annotated[str | None, typer.Option(help="Only the trials of this task.")] = None,
) -> None:
    """Compute another metric from stored predictions, without a model: RESULTS/rescored/METRIC, in the columns of scores."""
    from xfer_ray import rescore as rescoring

    found = _open(results_folder)
    done = rescoring.rescore(found, metric, task=task)
    for note in (*done.undefined, *done.faults):
        print(note, file=sys.stderr)
    print(f"{done.written} trials rescored by {metric}, {done.current} were up to date: {results_folder}/rescored/{metric}")
    if done.faults:
        raise typer.Exit(3)


@app.command()
def check(
    results_folder: ResultsFolder,
    repair: Annotated[bool, typer.Option(help="Move damaged files to RESULTS/damaged, so that the next run does them again.")] = False,
) -> None:
    """Check every file of a sweep with two independent Parquet readers."""
    from xfer_ray import checking

    findings = checking.check(_open(results_folder), repair=repair)
    for finding in findings:
        print(finding)
    damaged = [finding for finding in findings if finding.damage]
    print(f"{results_folder}: {len(damaged)} damaged" + (", moved to damaged/" if damaged and repair else ""))
    if damaged and not repair:
        raise typer.Exit(3)


# ------------------------------------------------------------------------------ helpers


def _use_mirror(mirror: str | None) -> None:
    if mirror is None:
        return
    if not Path(mirror).is_dir():
        raise DeclarationError(f"--mirror {mirror!r} is not a folder; give one laid out like the hub, DIR/<owner>/<name>")
    os.environ["XFER_RAY_MIRROR"] = str(Path(mirror).resolve())


def _open(folder: str) -> Results:
    from xfer_ray import results
    from xfer_ray.storage import open_storage

    path = Path(folder).absolute()
    found = results.Results(open_storage(str(path.parent)), path.resolve().name if folder in (".", "..") else path.name)
    if not results.has_plan(found):
        raise DeclarationError(
            f"{folder} holds no sweep.json, so it is not the results of a sweep; give STORAGE/NAME, such as results/demo"
        )
    return found


def _gpus(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise DeclarationError(f"--gpus-per-trial {text!r} is neither 'auto' nor a number of at least 0")
    return number


def _interrupt(number: int, received: list[int]) -> None:
    """SIGTERM ends a run as Ctrl-C does; Ray's own waits know that exception and no other."""
    received.append(number)
    raise KeyboardInterrupt


def _counted(counts: dict[str, int]) -> str:
    words = {"done": "done", "to_run": "to run", "failed": "failed", "blocked": "blocked", "running": "running"}
    total = sum(counts.values())
    return f"{total} trial{'' if total == 1 else 's'}, " + ", ".join(
        f"{counts[k]} {words[k]}" for k in words if counts.get(k) or k in ("done", "to_run")
    )


def _plan_json(written: Plan, found: Results, states: tuple[State, ...], estimate: Estimate) -> dict[str, object]:
    from analysis import rules
    from xfer_ray import plan as planning

    return {
        "sweep": written.sweep,
        "results": found.url,
        "trials": [state.json() for state in states],
        "counts": planning.counts(states),
        "denominators": rules.planned_denominators(written),
        "estimate": estimate.json(),
        "licences": {name: facts.licence for name, facts in written.tasks.items()},
    }


def _print_plan(name: str, written: Plan, states: tuple[State, ...], estimate: Estimate) -> None:
    from analysis import rules
    from xfer_ray import plan as planning
    from xfer_ray.progress import duration

    print(f"{name}: {_counted(planning.counts(states))}")
    for state in states:
        why = f": {state.reason}" if state.state == "failed" else ""
        print(f"  {state.state.replace('_', ' '):8} {state.trial.trial}{why}")
    for reason, number in Counter(state.reason for state in states if state.state == "blocked").items():
        print(f"  {number} blocked because {reason}")
    missing = [d for d in rules.planned_denominators(written) if d["source"] is None]
    for entry in missing:
        where = f"{entry['target']} with {entry['model']} on {entry['task']}"
        print(f"  no denominator for {where}: plan a source of that language, or name one with `tables --denominators`")
    for task, facts in written.tasks.items():
        print(f"  license of {task}: {facts.licence or 'not known'}")
    if not estimate.trials:
        return
    if estimate.worker_hours is None:
        print("  estimate: unknown until one trial of each task and model is committed")
        return
    gpu = "" if estimate.gpu_hours is None else f", {estimate.gpu_hours:.2f} GPU hours"
    size = (estimate.disk_bytes or 0) / 1e6
    print(f"  estimate: {duration(estimate.worker_hours * 3600)} of one worker{gpu}, {size:.1f} MB, from committed trials")


def _print_summary(summary: Summary, storage: str, name: str, again: str) -> None:
    print(f"{name}: {summary.done} of {summary.total} trials done", file=sys.stderr)
    for reason in dict.fromkeys(summary.blocked.values()):
        trials = [trial for trial, why in summary.blocked.items() if why == reason]
        print(f"  blocked {', '.join(trials)}: {reason}", file=sys.stderr)
    if summary.failed:
        print(f"  {len(summary.failed)} failed; tracebacks are in {storage}/{name}/failures; try again with: {again}", file=sys.stderr)
    if summary.done:
        print(f"  next: xfer-ray tables {shlex.quote(str(Path(storage) / name))}", file=sys.stderr)
