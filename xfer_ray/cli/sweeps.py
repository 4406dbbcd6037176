"""Commands on a sweep: plan, run, status."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xfer_ray.cli import cluster
from xfer_ray.cli.options import (
    Address,
    AsJson,
    CheckpointMinutes,
    CpusPerTrial,
    FailFast,
    GpusPerTrial,
    InProcess,
    KeepModels,
    MaxConcurrent,
    MaxFailures,
    Mirror,
    Only,
    Oracle,
    Seeds,
    StallMinutes,
    Storage,
    SweepFile,
    gpus,
    interrupt,
    open_results,
    use_mirror,
)
from xfer_ray.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xfer_ray.core import Trial
    from xfer_ray.plan import Estimate, Part, State
    from xfer_ray.planfile import Plan
    from xfer_ray.probe import Told
    from xfer_ray.results import Results
    from xfer_ray.run import Summary


def plan(
    sweep: SweepFile,
    storage: Storage = "results",
    mirror: Mirror = None,
    only: Only = None,
    seeds: Seeds = None,
    probe: Annotated[bool, typer.Option("--probe", help="Take a few steps here of what no committed trial tells the cost of.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every trial of a sweep and its state, what it will cost, and which columns of its tables will exist.

    Starts nothing and writes nothing to the results. A probe fetches nothing either.
    """
    if probe:  # before anything is imported that reads these
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many as a trial of `run` has unless it is told otherwise
    from xfer_ray import plan as planning
    from xfer_ray import planfile, sweepfile
    from xfer_ray.results import Results
    from xfer_ray.storage import open_storage

    use_mirror(mirror)
    declared, _ = sweepfile.read(sweep)
    declared, chosen = sweepfile.choose(declared, seeds=seeds, only=only)
    found = Results(open_storage(storage), declared.name)
    written = planfile.plan_of(declared, {})
    asked = {t.id for t in chosen}
    states = planning.states(found, [t for t in written.trials if t.trial in asked], planning.blocked(chosen))
    gpus = {name: model.gpus for name, model in planning.models_of(chosen).items()}
    probed = _probed(chosen, found, planning.unpriced(states)) if probe else {}
    estimate = planning.estimate(found, states, gpus, probed)
    if as_json:
        print(json.dumps(_plan_json(written, found, states, estimate), indent=1))
        return
    _print_plan(declared.name, written, states)
    for (task, model), told in probed.items():
        if isinstance(told, str):
            print(f"  not probed: {task} with {model}: {told}")
    _print_estimate(estimate, probe)


def run(
    sweep: SweepFile,
    storage: Storage = "results",
    mirror: Mirror = None,
    only: Only = None,
    seeds: Seeds = None,
    address: Address = None,
    gpus_per_trial: GpusPerTrial = "auto",
    cpus_per_trial: CpusPerTrial = 1,
    max_concurrent: MaxConcurrent = None,
    max_failures: MaxFailures = 2,
    fail_fast: FailFast = False,
    keep_models: KeepModels = False,
    oracle: Oracle = False,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    stall_minutes: StallMinutes = 60.0,
    in_process: InProcess = False,
    wandb: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Also pass each trial that ends on to a project of Weights & Biases.")
    ] = None,
) -> None:
    """Run what is missing of a sweep. Run it again at any time: what is done stays done."""
    from xfer_ray import access, planfile, results, revisions, scoring, sweepfile
    from xfer_ray import plan as planning
    from xfer_ray import run as running
    from xfer_ray.desk import Desk, Placement

    use_mirror(mirror)
    declared, module = sweepfile.read(sweep)
    declared, chosen = sweepfile.choose(declared, seeds=seeds, only=only)
    found = running.prepare(declared, storage)
    blocked = planning.blocked(chosen)
    resolved = revisions.resolve(found, [trial for trial in chosen if trial.id not in blocked])
    planfile.write_plan(found, planfile.plan_of(declared, resolved))
    desk = Desk(found, running.scratch(), resolved, keep_models, oracle, 60 * checkpoint_minutes, 60 * stall_minutes, scoring.versions())
    placement = Placement(address, gpus(gpus_per_trial), cpus_per_trial, max_concurrent, max_failures, fail_fast, in_process, wandb)
    if address not in (None, "local") and not in_process and (warning := access.exposed_token()):
        print(f"xfer-ray: {warning}", file=sys.stderr)
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: interrupt(number, terminated))
    again = os.environ.get("XFER_RAY_AGAIN") or shlex.join(["xfer-ray", *sys.argv[1:]])  # a job is gone on with by `submit`
    try:
        summary = running.run(declared, chosen, found, desk, placement, module)
    except KeyboardInterrupt:
        done = len(results.done(found) & {t.id for t in chosen})
        print(f"\nstopped with {done} of {len(chosen)} trials done; go on with: {again}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(143 if terminated else 130)  # Ray's threads may still be waiting
    _print_summary(summary, storage, declared.name, again)
    if summary.failed or summary.blocked:
        raise typer.Exit(5)


def status(
    results_folder: Annotated[str | None, typer.Argument(metavar="RESULTS", help="The results of a sweep, such as results/demo.")] = None,
    job: Annotated[str | None, typer.Option(help="Ask the cluster about this job instead.")] = None,
    address: cluster.Address = None,
    as_json: AsJson = False,
) -> None:
    """Show what is done, running and failed, from the files of a sweep alone; or what Ray says of a job."""
    if (results_folder is None) == (job is None):
        raise DeclarationError("status needs either RESULTS, such as results/demo, or --job ID")
    if job is not None:
        cluster.show_job(job, address, as_json)
        return
    assert results_folder is not None
    from xfer_ray import plan as planning
    from xfer_ray import planfile, records

    found = open_results(results_folder)
    written = planfile.read_plan(found)
    states = planning.with_running(found, planning.states(found, written.trials, {}))
    counts = planning.counts(states)
    if as_json:
        trials = [state.json() for state in states]
        print(json.dumps({"sweep": written.sweep, "results": results_folder, "trials": trials, "counts": counts}, indent=1))
        return
    print(f"{written.sweep}: {_counted(counts)}")
    for state in states:
        if state.state in ("failed", "running"):
            print(f"  {state.state:8} {state.trial.trial}: {state.reason}")
    for trial in records.conflicts(found):
        print(f"  conflict {trial}: a second run gave other scores; the first ones stay, see {results_folder}/conflicts/{trial}.json")


def _counted(counts: dict[str, int]) -> str:
    words = {"done": "done", "to_run": "to run", "failed": "failed", "blocked": "blocked", "running": "running"}
    total = sum(counts.values())
    return f"{total} trial{'' if total == 1 else 's'}, " + ", ".join(
        f"{counts[k]} {words[k]}" for k in words if counts.get(k) or k in ("done", "to_run")
    )


def _plan_json(written: Plan, found: Results, states: tuple[State, ...], estimate: Estimate) -> dict[str, object]:
    from analysis import rules
    from xfer_ray import plan as planning

    return {
        "sweep": written.sweep,
        "results": found.url,
        "trials": [state.json() for state in states],
        "counts": planning.counts(states),
        "denominators": rules.planned_denominators(written),
        "estimate": estimate.json(),
        "licences": {name: facts.licence for name, facts in written.tasks.items()},
    }


def _probed(chosen: Sequence[Trial], found: Results, names: Sequence[str]) -> Told:
    from xfer_ray import probe
    from xfer_ray import run as running

    unpriced = [trial for trial in chosen if trial.id in set(names)]
    return probe.probe(unpriced, found.storage, running.scratch(), lambda text: print(text, file=sys.stderr))


def _print_plan(name: str, written: Plan, states: tuple[State, ...]) -> None:
    from analysis import rules
    from xfer_ray import plan as planning

    print(f"{name}: {_counted(planning.counts(states))}")
    for state in states:
        why = f": {state.reason}" if state.state == "failed" or state.elsewhere else ""
        print(f"  {state.state.replace('_', ' '):8} {state.trial.trial}{why}")
    for reason, number in Counter(state.reason for state in states if state.state == "blocked").items():
        print(f"  {number} blocked because {reason}")
    missing = [d for d in rules.planned_denominators(written) if d["source"] is None]
    for entry in missing:
        where = f"{entry['target']} with {entry['model']} on {entry['task']}"
        print(f"  no denominator for {where}: plan a source of that language, or name one with `tables --denominators`")
    for task, facts in written.tasks.items():
        print(f"  license of {task}: {facts.licence or 'not known'}")


def _print_estimate(estimate: Estimate, probe: bool) -> None:
    from xfer_ray.progress import duration

    if not estimate.trials:
        return
    if estimate.worker_hours is None:
        known = f" for {estimate.trials - estimate.covered} of {estimate.trials} trials" if estimate.covered else ""
        print(f"  estimate: unknown{known} until one trial of each task and model is committed" + ("" if probe else ", or with --probe"))
        return
    gpu = "" if estimate.gpu_hours is None else f", {estimate.gpu_hours:.2f} GPU hours"
    size = "" if estimate.disk_bytes is None else f", {estimate.disk_bytes / 1e6:.1f} MB"
    origins = Counter[str]()
    for part in estimate.parts:
        origins[_origin(part)] += part.trials
    told = "; ".join(f"{number} trial{'' if number == 1 else 's'} from {origin}" for origin, number in origins.items())
    print(f"  estimate: {duration(estimate.worker_hours * 3600)} of one worker{gpu}{size}: {told}")


def _origin(part: Part) -> str:
    """Committed trials, or a probe and what it ran on."""
    if part.origin != "probe":
        return part.origin
    return f"a probe on this machine ({_processor() if part.device == 'cpu' else f'GPU: {part.device}'})"


def _processor() -> str:
    """CPU: AMD EPYC 9654, OMP_NUM_THREADS=1."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"CPU: {line.partition(':')[2].strip()}, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    return "CPU"


def _print_summary(summary: Summary, storage: str, name: str, again: str) -> None:
    where = f"{storage.rstrip('/')}/{name}"
    print(f"{name}: {summary.done} of {summary.total} trials done", file=sys.stderr)
    for reason in dict.fromkeys(summary.blocked.values()):
        trials = [trial for trial, why in summary.blocked.items() if why == reason]
        print(f"  blocked {', '.join(trials)}: {reason}", file=sys.stderr)
    if summary.failed:
        print(
            f"  {len(summary.failed)} failed; tracebacks are in {where}/failures; try again with: {again}",
            file=sys.stderr,
        )
    if summary.done:
        print(f"  next: xfer-ray tables {shlex.quote(where)}", file=sys.stderr)
