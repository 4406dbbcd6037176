"""The commands. Text goes to stdout, progress and notes to stderr; exit codes are those of errors.py."""

from __future__ import annotations

import io
import sys

import typer

from xfer_ray.cli import cluster, doctor, making, meaning, reading, searching, sweeps, translating
from xfer_ray.errors import StorageError, XferRayError

app = typer.Typer(
    name="xfer-ray",
    help="From which language should one fine-tune a multilingual model?",
    epilog="Begin with: xfer-ray run sweeps/demo.py",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    sweeps.plan,
    sweeps.run,
    sweeps.status,
    searching.search,
    reading.tables,
    meaning.report,
    meaning.recommend,
    meaning.correlates,
    meaning.reproduce,
    translating.translate,
    making.pretrain,
    reading.rescore,
    reading.check,
    reading.compact,
    cluster.submit,
    cluster.logs,
    cluster.stop,
    doctor.doctor,
):
    app.command()(command)
app.command("import")(reading.import_)

audit_app = typer.Typer(help="What is in the data.", no_args_is_help=True, rich_markup_mode=None)
audit_app.command("answers")(reading.audit_answers)
audit_app.command("translation")(translating.audit_translation)
app.add_typer(audit_app, name="audit")


def told(error: OSError) -> str:
    """An error of the system, or of a library that calls its own so, as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    missing = isinstance(error, FileNotFoundError) and error.errno is None
    return f"there is no file {text}; `xfer-ray check RESULTS` says what else is missing" if missing else text


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
        print(f"xfer-ray: {told(error)}", file=sys.stderr)
        sys.exit(StorageError.exit_code)
