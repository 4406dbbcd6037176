"""The Jobs API of a cluster: where it is, who may ask, and what Ray says, turned into one sentence."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import shlex
from collections.abc import Iterator
from typing import Any

from xfer_ray import access
from xfer_ray.errors import DeclarationError, SetupError, unknown

Client = Any  # a JobSubmissionClient; Ray's own types are untyped
JobDetails = Any
ADDRESS = "http://127.0.0.1:8265"  # where `ray dashboard cluster.yaml` puts a cluster's dashboard
TERMINAL = ("SUCCEEDED", "FAILED", "STOPPED")
_NO_API = "the Ray at {url} has no Jobs API that this version can use; install Ray 2.60 there, as cluster.yaml does"
_NO_AGENT = "the head of the cluster at {url} has no agent for jobs; install ray[default] there, as cluster.yaml does"
_SENTENCES = {  # by what Ray says
    "Authentication required": "the cluster at {url} asks for a token; put the cluster's into {file} (mode 0600)",
    "Authentication failed": "the cluster at {url} does not accept the token in {file}; copy the one that lies on its head",
    "No available agent": _NO_AGENT,
    "head node agent": _NO_AGENT,
    "ray[default]": "this machine's Ray cannot submit jobs; install it with: pip install 'ray[default]==2.60.*'",
    "returned 404": _NO_API,
    "running on the cluster": _NO_API,
}


def address(given: str | None) -> str:
    """Where the Jobs API is: as given, else RAY_API_SERVER_ADDRESS, else an http RAY_ADDRESS, else the tunnel of `ray dashboard`."""
    inherited = os.environ.get("RAY_ADDRESS", "")
    return given or os.environ.get("RAY_API_SERVER_ADDRESS") or (inherited if inherited.startswith("http") else "") or ADDRESS


def connect(url: str) -> Client:
    """A client of the Jobs API that shows this user's token; refused with a sentence where there is none or it is wrong."""
    token = access.authorization()
    if not token and not access.is_open(url):
        raise SetupError(
            f"the cluster at {url} asks for a token and there is none here: copy the cluster's into {access.token_file()} (mode 0600), or "
            "name its file in RAY_AUTH_TOKEN_PATH"
        )
    if token:
        access.is_open(url)  # a dead address is told within seconds
    access.bypass_proxy(url)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        os.environ.pop(name, None)  # Ray would prefer them to what it is given
    with explained(url):
        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return JobSubmissionClient(url, headers=token)


@contextlib.contextmanager
def explained(url: str, job: str = "") -> Iterator[None]:
    """What Ray raises within, as one sentence."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except (AuthenticationError, RuntimeError, ImportError, OSError) as error:
        raise _sentence(error, url, job) from error


def _sentence(error: Exception, url: str, job: str) -> Exception:
    text = str(error)
    if "does not exist" in text and job:
        return DeclarationError(f"no job {job!r} on the cluster at {url}; `xfer-ray submit` prints a job's id")
    if "already exists" in text:
        return duplicate(job, url)
    for sign, sentence in _SENTENCES.items():
        if sign in text:
            return SetupError(sentence.format(url=url, file=os.environ.get("RAY_AUTH_TOKEN") and "RAY_AUTH_TOKEN" or access.token_file()))
    if isinstance(error, ImportError):
        return SetupError(_SENTENCES["ray[default]"])
    if isinstance(error, OSError):
        return SetupError(f"the connection to {url} broke; see that the cluster and the tunnel of `ray dashboard` live, then try again")
    return SetupError(f"the cluster at {url} refused{f' job {job}' if job else ''}: {last_line(text)}")


def hint(command: str, job: str, url: str) -> str:
    """A command on a job, as one types it in any shell: `xfer-ray stop mine-1f2e3d4c --address http://127.0.0.1:8265`."""
    return f"xfer-ray {command} {job} --address {shlex.quote(url)}"


def described(client: Client) -> str:
    """Which cluster this is: its address, the version of its Ray, and up to three of its nodes."""
    url = client.get_address()
    found = [f"{hostname} ({ip})" for hostname, ip in access.nodes(url, access.authorization())]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    nodes = f", {len(found)} node{'' if len(found) == 1 else 's'}: {', '.join(found[:3])}{more}" if found else ""
    return f"{url}, Ray {client._server_ray_version}{nodes}"


def duplicate(job: str, url: str) -> SetupError:
    """The error for what is already running."""
    return SetupError(
        f"job {job} is already running just that; follow it with `{hint('logs -f', job, url)}`, or end it with `{hint('stop', job, url)}`"
    )


def demand_same_ray(client: Client) -> None:
    """Refuse a cluster with another Ray than ours."""
    import ray

    theirs = str(client._server_ray_version)
    if theirs.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise SetupError(
            f"the cluster at {client.get_address()} runs Ray {theirs}, and xfer-ray needs {ray.__version__}; install it there as "
            "cluster.yaml does"
        )


def listed(client: Client) -> list[JobDetails]:
    """All jobs that a cluster remembers."""
    with explained(client.get_address()):
        return list(client.list_jobs())


def details(client: Client, job: str) -> JobDetails:
    """What Ray knows of a job; of one that it does not know, the nearest name."""
    try:
        with explained(client.get_address(), job):
            return client.get_job_info(job)
    except DeclarationError:
        known = [found.submission_id for found in sorted(listed(client), key=lambda j: j.start_time or 0) if found.submission_id]
        raise unknown("job", job, difflib.get_close_matches(job, known, n=5) or known[-5:]) from None


def last_lines(text: str, count: int) -> list[str]:
    """The last lines of a text that are not blank."""
    return [line for line in text.splitlines() if line.strip()][-count:]


def last_line(text: str) -> str:
    """The last line that says something, as part of a sentence."""
    return "".join(last_lines(text, 1)).strip().rstrip(".") or "it says no more"
