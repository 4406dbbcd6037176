"""The commands `translate` and `audit translation`: what they are asked, what is shown on the way, what is said at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from xfer_ray.cli.options import AsJson, Mirror, gpus, interrupt, use_mirror
from xfer_ray.errors import DeclarationError, unknown

if TYPE_CHECKING:
    from xfer_ray.core import Task
    from xfer_ray.desk import Placement
    from xfer_ray.sources import Corpus
    from xfer_ray.translate import Job, Options

SECONDS_BETWEEN_LINES = 30.0


def translate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task, such as xnli; or FILE.py, FILE.py:NAME for one of your own.")],
    origin: Annotated[str, typer.Option("--from", metavar="CORPUS", help="What to translate: en, which is en-O, or fi-O, de-MT-en.")],
    to: Annotated[str, typer.Option(metavar="LANGUAGES", help="Into which languages, separated by commas.")],
    translator: Annotated[
        str,
        typer.Option(
            help="A translation checkpoint (a hub id, or a folder; {source} and {target} stand for the languages), "
            "ctranslate2:FOLDER, file:PATH, or dictionary (the embedded world's)."
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Which splits, separated by commas; default: the training set.")] = None,
    output: Annotated[str, typer.Option(help="The folder of all translated corpora, where sweeps look for them.")] = "translated",
    label: Annotated[str, typer.Option(help="What tells this translation from another: de-MT-en~LABEL.")] = "",
    revision: Annotated[str | None, typer.Option(help="The commit of the translator's checkpoint on the hub.")] = None,
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search; 1 is greedy.")] = 4,
    max_distance: Annotated[int, typer.Option(min=0, help="Questions: the most edits between an answer and its place. XTREME: 10.")] = 5,
    max_share: Annotated[float | None, typer.Option(min=0, help="Questions: and the most edits as a share of the answer's length.")] = None,
    mirror: Mirror = None,
    address: Annotated[str | None, typer.Option(envvar="RAY_ADDRESS", help="A Ray cluster to join.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="At most this many workers; default: as many as there is room for.")] = None,
    gpus_per_worker: Annotated[str, typer.Option(help="auto (one where there is one, else CPUs) or a number.")] = "auto",
    cpus_per_worker: Annotated[int, typer.Option(min=1, help="CPU threads of one worker.")] = 1,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it will take, and stop.")] = False,
    in_process: Annotated[bool, typer.Option(help="No Ray: in this process, for a debugger.")] = False,
) -> None:
    """Translate a task's labeled corpus; its answers are found again. Run it again at any time: it goes on.

    xfer-ray translate xnli --split test --from en --to de --translator facebook/m2m100_418M
    """
    from xfer_ray.desk import Placement
    from xfer_ray.translate import Options
    from xfer_ray.translation.projection import Rule

    use_mirror(mirror)
    found, module = _task(task)
    options = Options("", translator, output, label, revision, beams, Rule(max_distance, max_share))
    wanted = [dataclasses.replace(options, split=one) for one in _listed("--split", split or found.train_split)]
    placement = Placement(
        address, gpus(gpus_per_worker, "--gpus-per-worker"), cpus_per_worker, max_concurrent=workers, in_process=in_process
    )
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: interrupt(number, terminated))
    try:
        jobs = _jobs(found, _origin(origin), _listed("--to", to), wanted)
        _run(jobs, placement, module, only_estimate=estimate)
    except KeyboardInterrupt:
        print(f"\nstopped; what is translated stays; go on with: {shlex.join(['xfer-ray', *sys.argv[1:]])}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(143 if terminated else 130)  # Ray's threads may still be waiting


def audit_translation(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A translated corpus, or the folder of a benchmark with several.")],
    split: Annotated[str | None, typer.Option(help="The split, where there are several.")] = None,
    origin: Annotated[str | None, typer.Option(help="Only what was translated from this original, such as fi-O.")] = None,
    worst: Annotated[int | None, typer.Option(min=1, help="List so many examples of each corpus that should be looked at.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text, csv, markdown, latex, or html.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Say what a translation lost, and how sure it is of the answers that it found again."""
    from xfer_ray import corpora
    from xfer_ray.audit import rendering, translation
    from xfer_ray.sources import Corpus
    from xfer_ray.storage import checked, open_storage

    where, _, name = checked(folder).rpartition("/")
    tables = corpora.audits(open_storage(where), name, split)
    origins = {corpus: str(Corpus.parse(corpus).root) for corpus in tables}
    held = sorted(set(origins.values()))
    if origin not in (None, *held):
        raise unknown(f"original in {folder}", str(origin), held)
    if origin is None and len(held) > 1:
        raise DeclarationError(f"{folder} holds translations of {', '.join(held)}; choose one with --origin")
    tables = {corpus: table for corpus, table in tables.items() if origin in (None, origins[corpus])}
    if worst is not None:
        listed = {corpus: translation.worst(table, worst) for corpus, table in tables.items()}
        document: object = {corpus: [one.json() for one in found] for corpus, found in listed.items()}
        text = "" if as_json else rendering.render_worst(listed, format_)
    else:
        counted = translation.audit(tables)
        document, text = counted.json(), "" if as_json else rendering.render(counted, format_)
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n" if as_json else text)


def _task(name: str) -> tuple[Task, ModuleType | None]:
    """A task of this package by its name, or the one that a file declares, with its module, which workers need."""
    from xfer_ray import sweepfile
    from xfer_ray.tasks import task

    path, _, inside = name.partition(":")
    if path.endswith(".py"):
        return sweepfile.task(Path(path), inside)
    try:
        return task(name), None
    except DeclarationError as error:
        raise DeclarationError(f"{error}; or a task of your own, as FILE.py:{name}") from None


def _origin(text: str) -> Corpus:
    from xfer_ray.sources import Corpus

    return Corpus.parse(text if "-" in text else f"{text}-O")


def _listed(option: str, text: str) -> list[str]:
    names = text.split(",")
    if "" in names or len(set(names)) < len(names):
        raise DeclarationError(f"{option} {text!r} has a blank or a repeated name; separate distinct ones by commas")
    return names


def _jobs(task: Task, origin: Corpus, languages: list[str], wanted: list[Options]) -> list[Job]:
    """Everything that is asked for, read and checked before anything is translated."""
    from xfer_ray import translate
    from xfer_ray.run import scratch

    return [translate.job(task, origin, language, options, scratch()) for language in languages for options in wanted]


def _run(jobs: list[Job], placement: Placement, module: ModuleType | None, *, only_estimate: bool) -> None:
    """One job after another; on Ray where a model translates."""
    if placement.in_process or not any(job.missing and job.is_neural for job in jobs):
        _run_all(jobs, placement, only_estimate=only_estimate)
        return
    from xfer_ray.sweep import connecting  # imports Ray

    connecting.connect(placement, module)
    try:
        _run_all(jobs, placement, only_estimate=only_estimate)
    finally:
        connecting.disconnect()


def _run_all(jobs: list[Job], placement: Placement, *, only_estimate: bool) -> None:
    from xfer_ray import card, translate

    for job in jobs:
        _say(job, placement)
        if only_estimate:
            continue
        if job.missing:
            with _Display(job) as display:
                translate.translate(job, placement, display.advance)
        print(*card.summary(job.work.folder, job.split, job.card or translate.assemble(job)), sep="\n")


def _say(job: Job, placement: Placement) -> None:
    """What there is to do, and how long it will take, before it starts."""
    from xfer_ray import card, translate
    from xfer_ray.progress import duration

    texts = sum(len(shard.texts) for shard in job.shards)
    ready = len(job.shards) - len(job.missing)
    print(
        f"{job.name}: {len(job.examples)} examples, {texts} distinct texts, {ready} of {len(job.shards)} shards translated", file=sys.stderr
    )
    if job.missing and job.is_neural:
        speed, workers = translate.pace(job, placement)
        left = duration(job.characters / speed / workers)
        several = f"{workers} worker{'s' if workers > 1 else ''}"
        print(f"  about {left} with {several} ({speed:,.0f} characters a second each, by a probe)", file=sys.stderr)
    licence = card.licence(job.work)
    if licence:
        print(f"  license of the translator: {licence}", file=sys.stderr)


class _Display:
    """How much text of a job is translated: a bar in a terminal, lines elsewhere."""

    def __init__(self, job: Job) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._job, self._done, self._shards, self._said = job, 0, 0, time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("  {task.description}"), BarColumn(30), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal else None
        self._task = self._bar.add_task(job.name, total=job.characters) if self._bar else None

    def __enter__(self) -> _Display:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *of_error: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, characters: int) -> None:
        """A shard of so many characters is there."""
        self._done, self._shards = self._done + characters, self._shards + 1
        if self._bar and self._task is not None:
            self._bar.advance(self._task, characters)
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES or self._shards == len(self._job.missing):
            self._said = time.monotonic()
            share = 100 * self._done / self._job.characters
            print(f"  {self._job.name}: {self._shards} of {len(self._job.missing)} shards, {share:.0f} % of the text", file=sys.stderr)
