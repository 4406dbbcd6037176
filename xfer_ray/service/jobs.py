"""Sweeps as jobs of a cluster, through Ray Jobs: submit, describe, show and follow the log, stop.

A job runs `xfer-ray run` on the cluster's head, against the cluster itself, in a copy of the sweep file's folder, which Ray
brings to every worker too. What Ray says is turned into one sentence; no token or key is ever part of a job's description.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xfer_ray import access, redact
from xfer_ray.errors import DeclarationError, SetupError, demand
from xfer_ray.identity import canonical
from xfer_ray.service import parcel
from xfer_ray.service.client import (
    TERMINAL,
    Client,
    JobDetails,
    demand_same_ray,
    details,
    duplicate,
    explained,
    hint,
    last_line,
    last_lines,
    listed,
)

PATIENCE = 60.0  # seconds that a broken connection, or a job that was told to stop, may take
STOP_SECONDS = 60  # how long Ray waits for a driver that it told to stop, before it kills it (3 by default)
_SECRET_NAME = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|KEY|CREDENTIALS?)(_ID)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """A sweep to run on a cluster: what identifies it, the folder that travels, and the arguments of `xfer-ray run` there.

    `again` is the command that submits it again; `environment` holds switches for the nodes, never a secret.
    """

    sweep: str
    trials: tuple[str, ...]
    folder: Path
    arguments: tuple[str, ...]
    storage: str
    again: str
    environment: Mapping[str, str] = field(default_factory=dict)
    exclude: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What the job is called: the sweep, and a digest of what is asked for."""
        asked = canonical([list(self.trials), list(self.arguments), dict(self.environment)])
        return f"{self.sweep}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def submit(client: Client, request: Request) -> str:
    """Hand a sweep to the cluster; returns the job's id. Refused while the same request is running, welcome again afterwards."""
    refuse_secrets(request)
    demand_same_ray(client)
    known = {job.submission_id: str(job.status) for job in listed(client)}
    again = re.compile(re.escape(request.name) + r"(-\d+)?")
    for job, status in known.items():
        if job and again.fullmatch(job) and status not in TERMINAL:
            raise duplicate(job, client.get_address())
    job = free_name(set(known), request.name)
    with tempfile.TemporaryDirectory(prefix="xfer-ray-") as scratch:
        archive = Path(scratch, "job.zip")
        parcel.pack(request.folder, archive, request.exclude)
        with explained(client.get_address(), job):
            client.submit_job(
                entrypoint=shlex.join(["exec", "xfer-ray", *request.arguments]),
                submission_id=job,
                runtime_env={"working_dir": str(archive), "env_vars": _environment(request)},
                metadata={"sweep": request.sweep, "storage": request.storage, "again": request.again},
            )
    return job


def _environment(request: Request) -> dict[str, str]:
    return {
        **request.environment,
        "XFER_RAY_AGAIN": request.again,  # what the run tells its reader to type
        "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # the run sets variables of its own for its workers; else Ray takes that for a conflict
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
    }


def running(client: Client, sweep: str) -> list[str]:
    """The jobs of a sweep that have not ended."""
    return [
        job.submission_id
        for job in listed(client)
        if job.submission_id and str(job.status) not in TERMINAL and (job.metadata or {}).get("sweep") == sweep
    ]


def describe(client: Client, job: str) -> dict[str, Any]:
    """What Ray knows of a job: its state, when it began and ended, how, and where its results are."""
    found = details(client, job)
    facts = found.metadata or {}
    return {
        "job": job,
        "state": str(found.status).lower(),
        "sweep": facts.get("sweep", ""),
        "storage": facts.get("storage", ""),
        "started": _moment(found.start_time),
        "ended": _moment(found.end_time),
        "exit_code": found.driver_exit_code,
        "reason": "" if str(found.status) in ("SUCCEEDED", "RUNNING") else _reason(found),
        "again": facts.get("again", ""),
        "log": last_lines(client.get_job_logs(job), 3),
    }


def log(client: Client, job: str) -> str:
    """All that a job has printed so far."""
    details(client, job)
    with explained(client.get_address(), job):
        text: str = client.get_job_logs(job)
        return text


def follow(client: Client, job: str, write: Callable[[str], object]) -> int:
    """Write a job's log as it grows, until the job ends, through broken connections too; returns its exit code as `run` gives it."""
    found, shown = details(client, job), 0

    async def tail(skip: int) -> None:
        nonlocal shown
        async for text in client.tail_job_logs(job):
            write(text[max(0, skip) :])
            shown += len(text[max(0, skip) :])
            skip -= len(text)

    while True:
        with contextlib.suppress(RuntimeError, OSError):  # among them all that aiohttp raises when a connection breaks
            asyncio.run(tail(shown))
        found = _patiently(client, job)
        if str(found.status) in TERMINAL:
            return exit_code(found, job)
        time.sleep(1)


def stop(client: Client, job: str) -> str:
    """Stop a job and wait for its end; returns what there is to say about it."""
    before = details(client, job)
    if str(before.status) in TERMINAL:
        return f"job {job} has already ended: {_reason(before) or str(before.status).lower()}"
    with explained(client.get_address(), job):
        client.stop_job(job)
    end = time.monotonic() + STOP_SECONDS + PATIENCE
    while str((found := details(client, job)).status) not in TERMINAL:
        if time.monotonic() > end:
            raise SetupError(
                f"job {job} was told to stop and has not ended; look again with `{hint('status --job', job, client.get_address())}`"
            )
        time.sleep(0.5)
    left = re.findall(r"stopped with (\d+ of \d+ trials? done)", client.get_job_logs(job))
    again = (found.metadata or {}).get("again", "")
    if str(found.status) == "SUCCEEDED":
        return f"job {job} had finished"
    return f"job {job} stopped{' with ' + left[-1] if left else ''}; what is done stays done" + (f"; go on with: {again}" if again else "")


def exit_code(found: JobDetails, job: str) -> int:
    """What `xfer-ray run` returned on the cluster; 143 where the job was stopped."""
    code: int | None = found.driver_exit_code
    if code == 127:
        raise SetupError(
            f"job {job} could not start: the cluster's head has no `xfer-ray` on its PATH; install it there as cluster.yaml does"
        )
    if code is not None:
        return code if code >= 0 else 128 - code
    if str(found.status) == "STOPPED":
        return 143
    if str(found.status) == "SUCCEEDED":
        return 0
    raise SetupError(f"job {job} failed: {_reason(found)}")


def refuse_secrets(request: Request) -> None:
    """Refuse what would show a token or key in a job's description, which every user of the cluster can read."""
    for name in request.environment:
        demand(not _SECRET_NAME.search(name), f"--env {name} sounds like a secret, which all users could read; set it on the nodes instead")
    token = access.token()
    for text in (*request.arguments, request.again, *request.environment.values()):
        if redact.redacted(text) != text or (token and token in text):
            raise DeclarationError(
                "an option holds what looks like a token or key, which all users of the cluster could read; set it on the nodes instead"
            )


def free_name(taken: set[str], wanted: str) -> str:
    """The wanted name, or the first of wanted-2, wanted-3, … that is not taken."""
    number = 1
    while (name := wanted if number == 1 else f"{wanted}-{number}") in taken:
        number += 1
    return name


def _patiently(client: Client, job: str) -> JobDetails:
    """Ask again for a while: a tunnel may break and come back while the job goes on."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return details(client, job)
        except SetupError as error:
            if time.monotonic() > end:
                raise SetupError(
                    f"{error}; job {job} goes on without this command, follow it again with `{hint('logs -f', job, client.get_address())}`"
                ) from error
            time.sleep(2)


def _moment(milliseconds: int | None) -> str | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _reason(found: JobDetails) -> str:
    if found.driver_exit_code is not None:
        return f"it ended with exit code {found.driver_exit_code}"
    return "it was stopped" if str(found.status) == "STOPPED" else last_line(found.message or "")
