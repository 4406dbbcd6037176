"""The command that searches mixtures of source corpora, and what it says of those that it tried."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from xfer_ray.cli.options import (
    Address,
    CheckpointMinutes,
    CpusPerTrial,
    GpusPerTrial,
    InProcess,
    MaxConcurrent,
    MaxFailures,
    Mirror,
    OneModel,
    OneTask,
    Seeds,
    StallMinutes,
    Storage,
    SweepFile,
    gpus,
    interrupt,
    use_mirror,
)
from xfer_ray.errors import DeclarationError, SetupError, unknown

if TYPE_CHECKING:
    from types import ModuleType

    from xfer_ray.core import Sweep
    from xfer_ray.desk import Desk, Placement
    from xfer_ray.results import Results
    from xfer_ray.search import Evaluate, Search, Tried
    from xfer_ray.sources import Mixture

Named = TypeVar("Named")


def search(
    sweep: SweepFile,
    examples: Annotated[int, typer.Option(help="How many training examples every mixture has.")],
    storage: Storage = "results",
    name: Annotated[str | None, typer.Option(help="Results go to STORAGE/NAME; default: SWEEP-search. One search has one name.")] = None,
    mirror: Mirror = None,
    task: OneTask = None,
    model: OneModel = None,
    sources: Annotated[str | None, typer.Option(help="The corpora to mix, separated by commas; default: those of the sweep.")] = None,
    candidates: Annotated[int, typer.Option(help="At most this many mixtures are tried, each with every seed.")] = 20,
    shares: Annotated[int, typer.Option(help="The share of a corpus is an integer from 0 to this.")] = 4,
    seeds: Seeds = None,
    searcher: Annotated[str, typer.Option(help="Who proposes mixtures: optuna, or random.")] = "optuna",
    random_seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of what is proposed: the same seed proposes the same.")] = 0,
    round_: Annotated[int, typer.Option("--round", help="So many mixtures are proposed before the searcher is told of any.")] = 4,
    address: Address = None,
    gpus_per_trial: GpusPerTrial = "auto",
    cpus_per_trial: CpusPerTrial = 1,
    max_concurrent: MaxConcurrent = None,
    max_failures: MaxFailures = 2,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    stall_minutes: StallMinutes = 60.0,
    in_process: InProcess = False,
) -> None:
    """Search for the mixture of source corpora that does best on their own dev sets, under a budget; no target is looked at.

    Run it again at any time: it proposes the same mixtures, finds those that are done, and goes on.
    """
    from analysis import searched
    from xfer_ray import run as running
    from xfer_ray import search as searching
    from xfer_ray import sweepfile
    from xfer_ray.desk import Placement
    from xfer_ray.sweep import searchers

    use_mirror(mirror)
    declared, module = sweepfile.read(sweep)
    limits = {"examples": examples, "candidates": candidates, "shares": shares, "together": round_}
    asked = _asked(declared, (task, model), sources, seeds, limits)
    proposing = searchers.searcher(searcher, asked.first, shares=shares, seed=random_seed, metric=searching.SCORE)
    name = f"{declared.name}-search" if name is None else name
    found = running.prepare(asked.sweep(name, [asked.equal]), storage)
    desk = _desk(asked, found, 60 * checkpoint_minutes, 60 * stall_minutes)
    placement = Placement(address, gpus(gpus_per_trial), cpus_per_trial, max_concurrent, max_failures, in_process=in_process)
    _announce(name, asked)
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: interrupt(number, terminated))
    try:
        tried = searching.search(asked, proposing, _evaluating(name, asked, desk, placement, module))
        told = searched.text(name, asked, tried, found)
    except KeyboardInterrupt:
        print(f"\nstopped; what is done stays done; go on with: {shlex.join(['xfer-ray', *sys.argv[1:]])}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(143 if terminated else 130)  # Ray's threads may still be waiting
    sys.stdout.write(told)
    if any(isinstance(worth, str) for worth in tried.values()):
        raise typer.Exit(5)


# ------------------------------------------------------------------------------ what is asked


def _asked(
    declared: Sweep, named: tuple[str | None, str | None], sources: str | None, seeds: str | None, limits: Mapping[str, int]
) -> Search:
    """The search over the one task and model of a sweep, or those named; corpora and seeds are the sweep's unless they are given."""
    from xfer_ray.search import Search
    from xfer_ray.sources import Corpus
    from xfer_ray.sweepfile import parse_seeds

    task = _one("task", named[0], {trial.task.name: trial.task for trial in declared.trials}, declared.name)
    there = [trial for trial in declared.trials if trial.task == task]
    model = _one("model", named[1], {trial.model.name: trial.model for trial in there}, declared.name)
    mine = [trial for trial in there if trial.model == model]
    pool = [corpus for trial in mine for corpus in trial.source.corpora]
    return Search(
        task=task,
        model=model,
        pool=tuple(dict.fromkeys(pool)) if sources is None else tuple(Corpus.parse(text.strip()) for text in sources.split(",")),
        seeds=tuple(dict.fromkeys(trial.seed for trial in mine)) if seeds is None else parse_seeds(seeds),
        **limits,
    )


def _one(kind: str, asked: str | None, there: Mapping[str, Named], sweep: str) -> Named:
    """What was asked for, else the only one that there is."""
    if asked is not None and asked not in there:
        raise unknown(f"{kind} in sweep {sweep}", asked, there)
    if asked is None and len(there) > 1:
        raise DeclarationError(f"sweep {sweep} has several {kind}s: {', '.join(there)}; a search has one, name it with --{kind}")
    return next(iter(there.values())) if asked is None else there[asked]


def _desk(asked: Search, found: Results, checkpoint_seconds: float, stall_seconds: float) -> Desk:
    """Where the trials work; refused where what all corpora together need does not exist yet."""
    from xfer_ray import plan, revisions, run, scoring
    from xfer_ray.desk import Desk
    from xfer_ray.search import planned

    whole = asked.trials(asked.equal)
    for reason in plan.blocked(whole).values():
        raise SetupError(f"the search cannot begin: {reason}")
    planned(asked, found, [asked.equal], {})  # refuses a folder with other results
    return Desk(
        found,
        run.scratch(),
        revisions.resolve(found, whole),
        checkpoint_seconds=checkpoint_seconds,
        stall_seconds=stall_seconds,
        versions=scoring.versions(),
    )


def _announce(name: str, asked: Search) -> None:
    """Say before anything starts how much it may become."""
    most, runs = asked.candidates, len(asked.seeds)
    print(
        f"{name}: at most {most} mixtures x {runs} seed{'s' * (runs != 1)} = {most * runs} trials of {asked.model.name}, each on "
        f"{asked.examples:,} examples of {asked.judged.name}; judged on {asked.dev_sets}",
        file=sys.stderr,
    )


# ------------------------------------------------------------------------------ what is run


def _evaluating(name: str, asked: Search, desk: Desk, placement: Placement, module: ModuleType) -> Evaluate:
    """Runs what is missing of some mixtures, as `run` does, and reads what they are worth; the plan grows from round to round."""
    from xfer_ray import planfile, run
    from xfer_ray.search import planned, worths

    mine: list[Mixture] = []

    def evaluate(mixtures: Sequence[Mixture]) -> Tried:
        mine.extend(mixtures)
        planfile.write_plan(desk.results, planned(asked, desk.results, mine, desk.revisions))
        print(f"{name}: {len(mine)} of at most {asked.candidates} candidates, {len(mixtures)} of them now", file=sys.stderr)
        sweep = asked.sweep(name, mixtures)
        summary = run.run(sweep, sweep.trials, desk.results, desk, placement, module)
        return worths(asked, desk.results, mixtures, summary.blocked | summary.failed)

    return evaluate
