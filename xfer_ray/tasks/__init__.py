"""The benchmarks, one file each."""

from xfer_ray.core import Task
from xfer_ray.errors import unknown
from xfer_ray.tasks.miniature import MINIATURE
from xfer_ray.tasks.pawsx import PAWSX, PAWSX_PAIRS
from xfer_ray.tasks.xnli import XNLI, XNLI_PAIRS

TASKS: tuple[Task, ...] = (XNLI, PAWSX, MINIATURE)
__all__ = ["MINIATURE", "PAWSX", "PAWSX_PAIRS", "TASKS", "XNLI", "XNLI_PAIRS", "task"]


def task(name: str) -> Task:
    """The task of that name, or an error that says which names there are."""
    for one in TASKS:
        if one.name == name:
            return one
    raise unknown("task", name, (one.name for one in TASKS))
