"""The benchmarks, one file each."""

from xfer_ray.core import Task
from xfer_ray.errors import unknown
from xfer_ray.tasks.miniature import MINIATURE
from xfer_ray.tasks.miniature_qa import MINIATURE_QA
from xfer_ray.tasks.parts import SQUAD_DEV, TYDIQA_THREE, XQUAD_ARTICLES
from xfer_ray.tasks.pawsx import PAWSX, PAWSX_PAIRS
from xfer_ray.tasks.translatable import Translatable
from xfer_ray.tasks.tydiqa import TYDIQA, TYDIQA_AR, TYDIQA_FI
from xfer_ray.tasks.xnli import XNLI, XNLI_DESEGMENTED, XNLI_PAIRS
from xfer_ray.tasks.xquad import XQUAD, XQUAD_SETS

TASKS: tuple[Task, ...] = (
    XNLI,
    PAWSX,
    XQUAD,
    TYDIQA,
    TYDIQA_FI,
    TYDIQA_AR,
    XNLI_DESEGMENTED,
    XQUAD_ARTICLES,
    SQUAD_DEV,
    TYDIQA_THREE,
    MINIATURE,
    MINIATURE_QA,
)
__all__ = [
    "MINIATURE",
    "MINIATURE_QA",
    "PAWSX",
    "PAWSX_PAIRS",
    "SQUAD_DEV",
    "TASKS",
    "TYDIQA",
    "TYDIQA_AR",
    "TYDIQA_FI",
    "TYDIQA_THREE",
    "XNLI",
    "XNLI_DESEGMENTED",
    "XNLI_PAIRS",
    "XQUAD",
    "XQUAD_ARTICLES",
    "XQUAD_SETS",
    "Translatable",
    "task",
]


def task(name: str) -> Task:
    """The task of that name, or an error that says which names there are."""
    for one in TASKS:
        if one.name == name:
            return one
    raise unknown("task", name, (one.name for one in TASKS))
