"""Commands on a cluster: submit, logs, stop."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from xfer_ray.cli import trials
from xfer_ray.cli.options import (
    CheckpointMinutes,
    CpusPerTrial,
    FailFast,
    GpusPerTrial,
    KeepModels,
    MaxConcurrent,
    MaxFailures,
    Only,
    Oracle,
    Seeds,
    StallMinutes,
    SweepFile,
    gpus,
)
from xfer_ray.errors import DeclarationError, SetupError, demand

if TYPE_CHECKING:
    from xfer_ray.service.client import Client

Address = Annotated[
    str | None,
    typer.Option(
        help="The cluster's dashboard. Default: RAY_API_SERVER_ADDRESS, an http RAY_ADDRESS, or http://127.0.0.1:8265 (of `ray dashboard`)."
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show a job's log as it grows, and return what the run returns.")]
JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUBMITTED = re.compile(r"[^/]+-[0-9a-f]{8}(-\d+)?")  # as `submit` prints it
NEXT = (("logs -f", "follows it"), ("status --job", "says how it stands"), ("stop", "ends it"))
STORES = ("s3", "gs", "az")


def submit(
    sweep: SweepFile,
    storage: Annotated[
        str, typer.Option(help="Where every node finds the results: s3://…, gs://…, az://…, or an absolute path that all share.")
    ],
    address: Address = None,
    follow: Follow = False,
    mirror: Annotated[str | None, typer.Option(help="Folder on the nodes, laid out like the hub; nothing is then fetched.")] = None,
    only: Only = None,
    seeds: Seeds = None,
    gpus_per_trial: GpusPerTrial = "auto",
    cpus_per_trial: CpusPerTrial = 1,
    max_concurrent: MaxConcurrent = None,
    max_failures: MaxFailures = 2,
    fail_fast: FailFast = False,
    keep_models: KeepModels = False,
    oracle: Oracle = False,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    stall_minutes: StallMinutes = 60.0,
    working_dir: Annotated[
        Path | None, typer.Option(help="The folder that travels, and that the job runs in. Default: the folder of SWEEP.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out of it what is called this (NAME, PATH or *.ext); repeatable.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the nodes, such as HF_HUB_OFFLINE=1; never a secret. Repeatable.")
    ] = None,
) -> None:
    """Run a sweep on a cluster, as a job that this machine may leave. Submit it again at any time: what is done stays done.

    The folder of the sweep file goes with it, without results and hidden files; relative paths in the sweep start there. The
    cluster must ask for a token; one that is this machine alone may be open, with a warning. Prints the id of the job.
    """
    from xfer_ray import access, sweepfile
    from xfer_ray.service import client, jobs

    declared, _ = sweepfile.read(sweep)
    declared, chosen = sweepfile.choose(declared, seeds=seeds, only=only)
    _demand_shared(storage)
    gpus(gpus_per_trial)
    folder = (working_dir or sweep.parent).resolve()
    demand(sweep.resolve().is_relative_to(folder), f"--working-dir {working_dir} does not hold {sweep}; give a folder above it")
    given = _given(
        ("--mirror", mirror, None),
        ("--only", only, None),
        ("--seeds", seeds, None),
        ("--gpus-per-trial", gpus_per_trial, "auto"),
        ("--cpus-per-trial", cpus_per_trial, 1),
        ("--max-concurrent", max_concurrent, None),
        ("--max-failures", max_failures, 2),
        ("--checkpoint-minutes", checkpoint_minutes, 10.0),
        ("--stall-minutes", stall_minutes, 60.0),
        ("--fail-fast", fail_fast, False),
        ("--keep-models", keep_models, False),
        ("--oracle", oracle, False),
    )
    file = sweep.resolve().relative_to(folder).as_posix()
    request = jobs.Request(
        declared.name,
        tuple(trial.id for trial in chosen),
        folder,
        ("run", file, "--storage", storage, *given),
        storage,
        shlex.join(["xfer-ray", *sys.argv[1:]]),
        _environment(env or []),
        tuple(exclude or ()),
    )
    jobs.refuse_secrets(request)
    url = client.address(address)
    for warning in filter(None, (access.demand_protected(url), access.in_clear(url), access.exposed_token())):
        print(f"xfer-ray: {warning}", file=sys.stderr)
    asked = client.connect(url)
    for other in jobs.running(asked, declared.name):
        if not other.startswith(request.name):
            print(f"xfer-ray: job {other} runs this sweep too; a trial that both want is done once, by whoever is first", file=sys.stderr)
    job = jobs.submit(asked, request)
    print(job, flush=True)
    print(f"  it runs on the cluster at {client.described(asked)}", file=sys.stderr)
    print(f"  this machine may leave; its results: {storage.rstrip('/')}/{declared.name}", file=sys.stderr)
    hints = {client.hint(command, job, url): what for command, what in NEXT}
    for command, what in hints.items():
        print(f"  {command:{max(map(len, hints))}}  {what}", file=sys.stderr)
    if follow:
        _follow(asked, job, sys.stderr)


def logs(
    name: Annotated[str, typer.Argument(metavar="JOB or TRIAL", help="The id of a job, or of a trial as far as it is the only one.")],
    address: Address = None,
    follow: Follow = False,
    storage: Annotated[str | None, typer.Option(help="For a trial: the storage, or the results of one sweep. Default: results.")] = None,
) -> None:
    """Show what a job has printed, from the cluster, or what a trial has logged, from the files of its sweep."""
    may_be_job = storage is None or bool(SUBMITTED.fullmatch(name))
    log = trials.log(name, storage or "results", or_none=may_be_job)
    if log is not None:
        demand(
            not follow,
            f"--follow is for jobs, and {name!r} is a trial, whose log is written when an attempt at it ends; leave --follow out, or "
            "follow the job that runs it",
        )
        print(log, end="")
        return
    from xfer_ray.service import jobs

    demand(
        bool(JOB.fullmatch(name)),
        f"{name!r} is not the id of a job, as `submit` printed it, and {trials.none_called(name, storage or 'results')}",
    )
    asked = _cluster_of(name, address, storage)
    if follow:
        _follow(asked, name, sys.stdout)
    print(jobs.log(asked, name), end="")


def stop(job: Annotated[str, typer.Argument(metavar="JOB", help="The id that `submit` printed.")], address: Address = None) -> None:
    """Stop a job: the run ends as after Ctrl-C, and what is done stays done."""
    from xfer_ray.service import client, jobs

    _demand_job(job)
    print(jobs.stop(client.connect(client.address(address)), job), file=sys.stderr)


def show_job(job: str, address: str | None, as_json: bool) -> None:
    """What Ray knows of a job: for `status --job`."""
    from xfer_ray.service import client, jobs

    _demand_job(job)
    found = jobs.describe(client.connect(client.address(address)), job)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    times = [f"{word} {found[field]}" for word, field in (("since", "started"), ("until", "ended")) if found[field]]
    print(" ".join([f"{job}: {found['state']}", *times]) + (f"; {found['reason']}" if found["reason"] else ""))
    if found["sweep"]:
        print(f"  results: {str(found['storage']).rstrip('/')}/{found['sweep']}")
    for line in found["log"]:
        print(f"  | {line}")


def _demand_job(name: str) -> None:
    """Refuse what cannot be the id of a job, before it becomes part of an address."""
    demand(bool(JOB.fullmatch(name)), f"{name!r} is not the id of a job; give it as `submit` printed it, such as mine-1f2e3d4c")


def _cluster_of(job: str, address: str | None, where: str | None) -> Client:
    """The cluster that knows a job; since the name may be meant for a trial's, a refusal says what trials there are."""
    from xfer_ray.service import client

    try:
        asked = client.connect(client.address(address))
    except SetupError as error:
        if address is not None or SUBMITTED.fullmatch(job):
            raise
        raise DeclarationError(f"{trials.none_called(job, where or 'results')}, and no job can be looked for: {error}") from error
    try:
        client.details(asked, job)
    except DeclarationError as error:
        raise DeclarationError(f"{error}; and {trials.none_called(job, where or 'results')}") from error
    return asked


def _demand_shared(storage: str) -> None:
    """Refuse a storage that means another folder on each machine."""
    scheme, mark, _ = storage.partition("://")
    if mark and scheme in STORES:
        return
    demand(
        not mark and Path(storage).is_absolute(),
        f"--storage {storage!r} differs from node to node; give s3://…, gs://…, az://…, or an absolute path that all nodes share",
    )


def _given(*options: tuple[str, object, object]) -> list[str]:
    """What was asked for beside the defaults, as arguments of `xfer-ray run`."""
    asked = [(name, value) for name, value, default in options if value != default]
    return [part for name, value in asked for part in ([name] if value is True else [name, str(value)])]


def _environment(given: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in given]
    for (name, mark, _), entry in zip(pairs, given, strict=True):
        demand(bool(mark) and name.isidentifier(), f"--env {entry!r} is not like NAME=VALUE, such as HF_HUB_OFFLINE=1")
    return {name: value for name, _, value in pairs}


def _follow(asked: Client, job: str, stream: TextIO) -> None:
    """Show the log until the job ends, and end as the run did; Ctrl-C leaves the job running."""
    from xfer_ray.service import client, jobs

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    try:
        code = jobs.follow(asked, job, write)
    except KeyboardInterrupt:
        follow, stop = (client.hint(command, job, asked.get_address()) for command in ("logs -f", "stop"))
        print(f"\njob {job} goes on; follow it again with `{follow}`, end it with `{stop}`", file=sys.stderr)
        sys.stderr.flush()
        os._exit(130)
    raise typer.Exit(code)
