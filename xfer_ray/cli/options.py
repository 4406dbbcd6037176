"""Arguments and options that several commands have, and what they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xfer_ray.errors import DeclarationError

if TYPE_CHECKING:
    from xfer_ray.results import Results

OneTask = Annotated[str | None, typer.Option("--task", help="Only this task.")]
OneModel = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Metric = Annotated[str | None, typer.Option(help="The metric, where the task has several.")]
Split = Annotated[str | None, typer.Option(help="The split, where the scores have several.")]
Selection = Annotated[str | None, typer.Option(help="Which step was scored: last, source-dev, or oracle.")]
Baseline = Annotated[str | None, typer.Option(help="The source that advantages are over; default: English of the same origin.")]
Denominators = Annotated[str | None, typer.Option(help="HT, MT, or corpora separated by commas: whose model divides a column.")]
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep file, such as sweeps/demo.py.")]
ResultsFolder = Annotated[str, typer.Argument(metavar="RESULTS", help="The results of a sweep, such as results/demo or s3://bucket/demo.")]
Storage = Annotated[str, typer.Option(help="Folder that holds the results of all sweeps, or a bucket: s3://…, gs://…, az://….")]
Mirror = Annotated[
    str | None, typer.Option(envvar="XFER_RAY_MIRROR", help="Folder laid out like the hub, DIR/<owner>/<name>; nothing is then fetched.")
]
Only = Annotated[str | None, typer.Option(help="Only these trials: task=…, model=…, source=…, seed=…, separated by commas.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds in place of the declared ones, such as 0-4.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Address = Annotated[str | None, typer.Option(envvar="RAY_ADDRESS", help="A Ray cluster to join; without one, Ray starts on this machine.")]
InProcess = Annotated[bool, typer.Option(help="No Ray: one trial after another in this process, for a debugger.")]
GpusPerTrial = Annotated[str, typer.Option(help="auto (the model's share where a node has a GPU, else CPUs) or a number.")]
CpusPerTrial = Annotated[int, typer.Option(min=1, help="CPU threads of one trial.")]
MaxConcurrent = Annotated[int | None, typer.Option(min=1, help="At most this many trials at once.")]
MaxFailures = Annotated[int, typer.Option(min=0, help="How often a trial whose worker died or raised is tried again.")]
FailFast = Annotated[bool, typer.Option(help="Stop the sweep at the first failure.")]
KeepModels = Annotated[bool, typer.Option(help="Keep each fine-tuned model under RESULTS/models.")]
Oracle = Annotated[bool, typer.Option(help="Also score the last step, and for each target the step that its own dev set would choose.")]
CheckpointMinutes = Annotated[float, typer.Option(min=0, help="How often a running trial is saved, to go on from.")]
StallMinutes = Annotated[float, typer.Option(min=0, help="A trial without a step for so long is ended and tried again; 0: never.")]


def use_mirror(mirror: str | None) -> None:
    """Let everything that is read come from a mirror."""
    if mirror is None:
        return
    if not Path(mirror).is_dir():
        raise DeclarationError(f"--mirror {mirror!r} is not a folder; give one laid out like the hub, DIR/<owner>/<name>")
    os.environ["XFER_RAY_MIRROR"] = str(Path(mirror).resolve())


def open_results(folder: str) -> Results:
    """The results in a folder or a bucket, STORAGE/NAME; refused where no sweep was planned."""
    from xfer_ray import planfile, results
    from xfer_ray.storage import checked, open_storage

    if folder in (".", ".."):
        folder = str(Path(folder).resolve())
    where, _, name = checked(folder).rpartition("/")
    if where.endswith(":/"):
        raise DeclarationError(
            f"{folder} is a bucket, not the results of a sweep in it; give STORAGE/NAME, such as {folder.rstrip('/')}/demo"
        )
    found = results.Results(open_storage(where or "/"), name)
    if not planfile.has_plan(found):
        raise DeclarationError(
            f"{folder} holds no sweep.json, so it is not the results of a sweep; give STORAGE/NAME, such as results/demo"
        )
    return found


def gpus(text: str, option: str = "--gpus-per-trial") -> float | None:
    """What such an option asks for; None: decide from what is there."""
    if text == "auto":
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise DeclarationError(f"{option} {text!r} is neither 'auto' nor a number of at least 0")
    return number


def interrupt(number: int, received: list[int]) -> None:
    """SIGTERM ends a run as Ctrl-C does; Ray's own waits know that exception and no other."""
    received.append(number)
    raise KeyboardInterrupt
