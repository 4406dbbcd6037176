"""Which commit of a data set or checkpoint a sweep uses: declared, else recorded by an earlier run, else asked of the hub once."""

from __future__ import annotations

from collections.abc import Iterable

from xfer_ray import planfile
from xfer_ray.core import Task, Trial, is_commit
from xfer_ray.results import Results
from xfer_ray.sources import Corpus


def resolve(found: Results, trials: Iterable[Trial]) -> dict[str, str]:
    """Repository or checkpoint -> commit (40 hex digits), `mirror`, or `local`."""
    recorded = planfile.recorded_revisions(found)
    resolved: dict[str, str] = {}
    for trial in trials:
        for repository, declared in _repositories(trial).items():
            if repository not in resolved:
                resolved[repository] = _data(trial.task, repository, declared, recorded.get(repository, ""))
        checkpoint = trial.model.checkpoint
        if isinstance(checkpoint, str) and checkpoint and checkpoint not in resolved:
            resolved[checkpoint] = _checkpoint(checkpoint, trial.model.revision, recorded.get(checkpoint, ""))
    return recorded | resolved


def of_corpus(task: Task, corpus: Corpus, split: str) -> dict[str, str]:
    """The same for the repositories that one corpus and split is read from."""
    return {name: _data(task, name, declared, "") for name, declared in _read_for(task, [(corpus, split)]).items()}


def _repositories(trial: Trial) -> dict[str, str | None]:
    """The repositories that a trial reads, with their declared revisions."""
    return _read_for(trial.task, trial.reads)


def _read_for(task: Task, read: Iterable[tuple[Corpus, str]]) -> dict[str, str | None]:
    """Which of a task's repositories are read for some corpora and splits; all of them where its `load` cannot tell."""
    repositories = getattr(task.load, "repositories", None)
    if repositories is None:
        return task.revisions
    names = {name for corpus, split in read for name in repositories(corpus, split)}
    return {name: declared for name, declared in task.revisions.items() if name in names}


def _data(task: Task, repository: str, declared: str | None, recorded: str) -> str:
    from xfer_ray.tasks import reading

    revision = declared or (recorded if is_commit(recorded) else None)
    resolve = getattr(task.load, "resolve", reading.resolve)
    return str(resolve(repository, revision))


def _checkpoint(name: str, declared: str | None, recorded: str) -> str:
    from xfer_ray.models import checkpoints

    return checkpoints.resolve(name, declared or (recorded if is_commit(recorded) else None))
