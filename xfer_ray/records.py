"""What a sweep notes about its trials beside their results: failures, heartbeats, conflicts, logs. No decision rests on them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from xfer_ray import redact
from xfer_ray.errors import DataError
from xfer_ray.results import Results, put_json, read_json, stems

Note = TypeVar("Note")
LOG_LIMIT = 2**20  # bytes kept of a trial's log


@dataclass(frozen=True)
class Failure:
    """Why a trial's last attempt failed, and how many did."""

    error: str
    traceback: str
    attempts: int
    host: str


@dataclass(frozen=True)
class Heartbeat:
    """Where a running trial is; for display only."""

    host: str
    step: int
    steps: int
    at: str


def put_failure(results: Results, trial: str, error: str, traceback: str, host: str) -> None:
    """Record a failed attempt, counting those before."""
    before = read_failure(results, trial)
    failure = Failure(redact.redacted(error), redact.redacted(traceback), before.attempts + 1 if before else 1, host)
    put_json(results, results.record("failures", trial), dataclasses.asdict(failure))


def read_failure(results: Results, trial: str) -> Failure | None:
    """The failure record of a trial, if it has one."""
    return _read(results, results.record("failures", trial), Failure)


def put_running(results: Results, trial: str, host: str, step: int, steps: int) -> None:
    """Say where a running trial is."""
    beat = Heartbeat(host, step, steps, datetime.now(UTC).isoformat(timespec="seconds"))
    put_json(results, results.record("running", trial), dataclasses.asdict(beat), durable=False)


def read_running(results: Results, trial: str) -> Heartbeat | None:
    """Where a running trial is, if it has said so."""
    return _read(results, results.record("running", trial), Heartbeat)


def running(results: Results) -> set[str]:
    """The trials that say they are running; a killed one says so until it is run again."""
    return stems(results, "running", ".json")


def _read(results: Results, path: str, kind: type[Note]) -> Note | None:
    """A record, or None if there is none or if it is not ours: nothing rests on it."""
    try:
        found = read_json(results, path)
        return None if found is None else kind(**found)
    except (DataError, TypeError):
        return None


def clear_running(results: Results, trial: str) -> None:
    """This trial runs no longer."""
    results.storage.delete(results.record("running", trial))


def put_log(results: Results, trial: str, text: str) -> None:
    """Add an attempt's log to those before; of a long one the beginning and the end are kept."""
    path = results.log(trial)
    before = results.storage.read(path) if results.storage.exists(path) else b""
    data = before + redact.redacted(text).encode(errors="backslashreplace")
    if len(data) > LOG_LIMIT:
        half = LOG_LIMIT // 2
        data = data[:half] + f"\n[{len(data) - LOG_LIMIT} bytes were cut here]\n".encode() + data[-half:]
    results.storage.replace(path, data)


def failed(results: Results) -> set[str]:
    """The trials that have a failure record; it means nothing once they are done."""
    return stems(results, "failures", ".json")


def conflicts(results: Results) -> list[str]:
    """The trials whose second execution gave other scores."""
    return sorted(stems(results, "conflicts", ".json"))
