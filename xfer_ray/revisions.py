"""Which commit of a data set or checkpoint a sweep uses: declared, else recorded by an earlier run, else asked of the hub once."""

from __future__ import annotations

from collections.abc import Iterable

from xfer_ray import results
from xfer_ray.core import Trial, is_commit
from xfer_ray.results import Results


def resolve(found: Results, trials: Iterable[Trial]) -> dict[str, str]:
    """Repository or checkpoint -> commit (40 hex digits), `mirror`, or `local`."""
    recorded = results.recorded_revisions(found)
    resolved: dict[str, str] = {}
    for trial in trials:
        for repository, declared in trial.task.revisions.items():
            if repository not in resolved:
                resolved[repository] = _data(repository, declared, recorded.get(repository, ""))
        checkpoint = trial.model.checkpoint
        if isinstance(checkpoint, str) and checkpoint and checkpoint not in resolved:
            resolved[checkpoint] = _checkpoint(checkpoint, trial.model.revision, recorded.get(checkpoint, ""))
    return recorded | resolved


def _data(repository: str, declared: str | None, recorded: str) -> str:
    from xfer_ray.tasks import hub

    return hub.resolve(repository, declared or (recorded if is_commit(recorded) else None))


def _checkpoint(name: str, declared: str | None, recorded: str) -> str:
    from xfer_ray.models import checkpoints

    return checkpoints.resolve(name, declared or (recorded if is_commit(recorded) else None))
