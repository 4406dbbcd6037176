"""Checks of a cluster behind its dashboard: a job on its head runs `xfer-ray doctor` there, and says what it found."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from xfer_ray import access
from xfer_ray.errors import DeclarationError, SetupError, XferRayError
from xfer_ray.service import client, cluster, places
from xfer_ray.service.cluster import Ask
from xfer_ray.service.finding import FAILED, Finding, failed, not_made, ok

PATIENCE = 240.0  # seconds that the job may take beside what its nodes may
HEAD = "head"


def findings(ask: Ask) -> Iterator[Finding]:
    """Whether the dashboard is there and protected, and what doctor says on the cluster's head."""
    url = ask.address or ""
    try:
        is_open = access.is_open(url)
    except DeclarationError:
        raise
    except SetupError as error:
        yield places.of_error("cluster", error)
        yield from (not_made(check, "the cluster cannot be reached") for check in ("protected", "token", HEAD))
        return
    yield ok("cluster", f"a Ray dashboard answers at {url}")
    guarded = protected(url, is_open)
    yield guarded
    if guarded.state == FAILED:
        yield from (not_made(check, "an open cluster is not used") for check in ("token", HEAD))
        return
    held = cluster.token(is_open)
    yield held
    if held.state == FAILED:
        yield not_made(HEAD, "there is no sound token")
        return
    yield from on_head(ask)


def protected(url: str, is_open: bool) -> Finding:
    """Whether the dashboard asks for a token."""
    if not is_open:
        return ok("protected", "the dashboard asks for a token")
    return replace(cluster.dashboard(url.partition("://")[2].rstrip("/")), check="protected")


def on_head(ask: Ask) -> Iterator[Finding]:
    """What doctor finds on the head of the cluster, which is where a sweep's driver runs."""
    words = ["exec", "xfer-ray", "doctor", "--json", "--seconds", f"{ask.seconds:g}"]
    words += [word for name in ("storage", "mirror") if (value := getattr(ask, name)) for word in (f"--{name}", value)]
    words += ["--hub"] if ask.hub else []
    saved = dict(os.environ)
    try:
        connected = client.connect(ask.address or "")
        job = connected.submit_job(
            entrypoint=shlex.join(words), submission_id=f"doctor-{uuid.uuid4().hex[:8]}", runtime_env={"env_vars": dict(ask.environment)}
        )
        log = _ended(connected, job, PATIENCE + ask.seconds)
    except XferRayError as error:
        yield places.of_error(HEAD, error)
        return
    finally:
        os.environ.update(saved)
    try:
        answer = json.loads(log[log.index("{\n") :])
        for each in answer["findings"]:
            found = Finding(**each)
            yield replace(found, node=found.node or HEAD)
    except (ValueError, KeyError, TypeError):
        said = client.last_line(log)
        yield failed(
            HEAD, f"doctor did not work on the cluster's head: {said}", "install xfer-ray there as cluster.yaml does, in the same version"
        )


def _ended(connected: Any, job: str, seconds: float) -> str:  # noqa: ANN401
    """The log of a job, once it has ended."""
    end = time.monotonic() + seconds
    while str(connected.get_job_status(job)) not in client.TERMINAL:
        if time.monotonic() > end:
            with contextlib.suppress(RuntimeError, OSError):
                connected.stop_job(job)
            raise SetupError(f"doctor did not end on the cluster's head within {seconds:.0f} s; look at the dashboard for what holds it")
        time.sleep(0.5)
    return str(connected.get_job_logs(job))
