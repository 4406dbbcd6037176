"""Commands on a cluster: submit, logs, stop."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

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
from xfer_ray.errors import DataError, DeclarationError, demand, unknown

if TYPE_CHECKING:
    from xfer_ray.results import Results
    from xfer_ray.service.client import Client

Address = Annotated[
    str | None,
    typer.Option(
        help="The cluster's dashboard. Default: RAY_API_SERVER_ADDRESS, an http RAY_ADDRESS, or http://127.0.0.1:8265 (of `ray dashboard`)."
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show the log as it grows, and return what the run returns.")]
JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUBMITTED = re.compile(r"[^/]+-[0-9a-f]{8}(-\d+)?")  # as `submit` prints it
SHOWN = 8  # candidates that a refusal names
TRIAL = re.compile(r"[^/]+\.s\d+-[0-9a-f]{12}")
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
    log = _trial_log(name, storage)
    if log is not None:
        print(log, end="")
        return
    from xfer_ray.service import client, jobs

    _demand_job(name)
    asked = client.connect(client.address(address))
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
    demand(
        bool(JOB.fullmatch(name)), f"{name!r} is neither the id of a job, as `submit` printed it, nor the whole name of a trial; see status"
    )


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


def _trial_log(name: str, where: str | None) -> str | None:
    """The log of a trial, or of the only one whose name begins so, in a storage or in the results of one sweep.

    None where no trial's name begins so and it may be a job's, since it looks like one or nobody named a storage.
    """
    places = _places(where or "results")
    if not TRIAL.fullmatch(name):
        begun = sorted({trial for place in places for trial in _known(place) if trial.startswith(name)})
        if not begun and (where is None or SUBMITTED.fullmatch(name)):
            return None
        demand(
            len(begun) <= 1,
            f"{name!r} begins the names of {len(begun)} trials; give more of it: {', '.join(begun[:SHOWN])}{', …' * (len(begun) > SHOWN)}",
        )
        name = begun[0] if begun else name
    for place in places:
        if place.storage.exists(place.log(name)):
            return place.storage.read(place.log(name)).decode(errors="replace")
    known = {trial for place in places for trial in _known(place)}
    if name in known:
        raise DataError(f"trial {name} has no log yet: it has not begun")
    if not known:
        raise DeclarationError(f"{where or 'results'} holds no results; give the storage of the sweep with --storage")
    raise unknown("trial", name, difflib.get_close_matches(name, known, n=3) or sorted(known)[:3])


def _places(where: str) -> list[Results]:
    """The sweeps of a storage, or the one whose results these are."""
    from xfer_ray import results
    from xfer_ray.storage import open_storage

    parent, _, name = where.rstrip("/").rpartition("/")
    inside = results.Results(open_storage(parent or "."), name)
    if name and results.has_plan(inside):
        return [inside]
    storage = open_storage(where)
    return [results.Results(storage, sweep) for sweep in storage.folders()]


def _known(place: Results) -> set[str]:
    """The trials that a sweep plans, or has a log of."""
    from xfer_ray import results

    known = results.stems(place, "logs", ".log")
    with contextlib.suppress(DataError):  # a damaged plan, or none
        known |= {planned.trial for planned in results.read_plan(place).trials}
    return known
