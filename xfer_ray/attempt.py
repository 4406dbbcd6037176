"""One attempt at a work, a trial or a checkpoint: its log, its heartbeat, the watch over it, and the record of how it failed."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from xfer_ray import notice, records, redact, scoring
from xfer_ray.desk import Desk, Outcome
from xfer_ray.errors import StorageError, UnfitError, XferRayError

COMPARED = ("xfer_ray", "torch", "transformers", "datasets")  # packages whose versions must be the same on every node
HEARTBEAT_SECONDS = 1.0  # how often a running trial says where it is; for display only
FAR_HEARTBEAT_SECONDS = 15.0  # the same on an object store, where each time costs money


def attempted(name: str, desk: Desk, work: Callable[[Desk], str], *, capture: bool) -> Outcome:
    """Do a work of this name, a trial or a checkpoint, keep its log, and leave a failure record.

    What trying again cannot mend comes back as an outcome; other exceptions are raised, so that the scheduler tries again.
    `capture` sends what the work prints to its log, and ends this process should it stall; without it, what it prints goes to
    the screen, and a debugger works.
    """
    seconds = desk.stall_seconds if capture else 0.0
    try:
        with (
            _logged(name, desk, capture=capture) as text,
            notice.watch(seconds, lambda stacks: _stalled(name, desk, text.getvalue(), stacks)) as alive,
        ):
            return _attempted(name, dataclasses.replace(desk, alive=alive), work)
    except StorageError as error:  # nothing can be recorded where nothing can be written
        return Outcome(name, "storage", str(error))


def _attempted(name: str, desk: Desk, work: Callable[[Desk], str]) -> Outcome:
    try:
        _demand_versions(desk)
        return Outcome(name, work(desk))
    except (StorageError, notice.Interrupted):
        raise
    except XferRayError as error:
        records.put_failure(desk.results, name, str(error), traceback.format_exc(), socket.gethostname())
        logging.getLogger(__name__).error(traceback.format_exc())
        return Outcome(name, "failed", str(error))
    except (Exception, SystemExit) as error:
        records.put_failure(desk.results, name, f"{type(error).__name__}: {error}", traceback.format_exc(), socket.gethostname())
        raise
    finally:
        records.clear_running(desk.results, name)


def _demand_versions(desk: Desk) -> None:
    """Refuse to compute with other versions than the sweep was planned with: their scores would not be comparable."""
    planned, here = (json.loads(text) if text else {} for text in (desk.versions, scoring.versions()))
    other = [name for name in COMPARED if name in planned and planned[name] != here[name]]
    if other:
        told = ", ".join(f"{name} {here[name]} where the sweep has {planned[name]}" for name in other)
        raise UnfitError(f"{socket.gethostname()} has {told}; install the same versions on every node (`xfer-ray doctor` lists them)")


def _stalled(name: str, desk: Desk, text: str, stacks: str) -> None:
    """Leave a record of a work that gives no sign of life, before its process ends."""
    reason = f"stalled: no step and no answer for {desk.stall_seconds / 60:g} minutes, so its process was ended"
    records.put_failure(desk.results, name, reason, stacks, socket.gethostname())
    records.clear_running(desk.results, name)
    records.put_log(desk.results, name, f"{text}{reason}\n{stacks}\n")


def heartbeat(name: str, desk: Desk) -> Callable[[int, int], None]:
    """What hears of each step of a work: that it is alive, and from time to time where it is."""
    every = HEARTBEAT_SECONDS if desk.results.storage.is_local else FAR_HEARTBEAT_SECONDS
    last = -every

    def beat(step: int, steps: int) -> None:
        nonlocal last
        desk.alive()
        desk.observe("progress", step / max(1, steps))
        if time.monotonic() - last >= every or step == steps:
            last = time.monotonic()
            records.put_running(desk.results, name, socket.gethostname(), step, steps)

    return beat


# ------------------------------------------------------------------------------ log


class _Echo(io.StringIO):
    """Keeps what is written, and writes it to the worker's own stderr too, which Ray's dashboard shows first, while the trial runs."""

    def __init__(self, output: TextIO) -> None:
        super().__init__()
        self._output = output

    def write(self, text: str) -> int:
        with contextlib.suppress(Exception):  # a worker's full disk is not the trial's failure
            self._output.write(redact.redacted(text))
            self._output.flush()
        return super().write(text)


@contextlib.contextmanager
def _logged(name: str, desk: Desk, *, capture: bool) -> Iterator[io.StringIO]:
    """Keep what this attempt logs, and prints if `capture`, in `logs/<name>.log`, errors included."""
    text = _Echo(sys.stderr) if capture else io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    ours = logging.getLogger(__package__)
    level = ours.level
    ours.setLevel(logging.INFO)
    text.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {name} on {socket.gethostname()}\n")
    try:
        with contextlib.ExitStack() as stack:
            if capture:
                stack.enter_context(contextlib.redirect_stdout(text))
                stack.enter_context(contextlib.redirect_stderr(text))
            yield text
    except Exception:
        text.write(traceback.format_exc())
        raise
    finally:
        ours.setLevel(level)
        logging.getLogger().removeHandler(handler)
        records.put_log(desk.results, name, text.getvalue())
