"""Commands that make what a sweep needs: checkpoints."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from xfer_ray.cli.options import Mirror, Storage, interrupt, use_mirror


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

    use_mirror(mirror)
    signal.signal(signal.SIGTERM, lambda number, frame: interrupt(number, terminated))
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
