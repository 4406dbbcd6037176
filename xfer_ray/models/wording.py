"""How a task is put into words for a text-to-text model, and how the words it gives back are read.

XNLI: "xnli: premise: It rains. hypothesis: It pours." -> "1" -> neutral
SQuAD: "question: Who ' s there ? context: It ' s U . S . troops ." -> "U . S . troops" -> U.S. troops

As in google-research/multilingual-t5 (Xue et al. 2021): labels are spelled by the task's verbalizers, and in question answering
punctuation stands alone (`text.pad`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xfer_ray.core import Task
from xfer_ray.errors import DataError
from xfer_ray.sources import Example
from xfer_ray.text import pad, unpadded


def question(task: Task, example: Example) -> str:
    """What the model reads."""
    first, second = (example.first, example.second) if task.labels else (pad(example.first), pad(example.second))
    before, _, rest = task.prompt.partition("{first}")
    if "{second}" in before:  # a prompt may name the second text first
        start, _, middle = before.partition("{second}")
        return start + second + middle + first + rest
    middle, _, after = rest.partition("{second}")
    return before + first + middle + second + after


def answer(task: Task, example: Example) -> str:
    """What the model is to write: the verbalizer of the first answer's label, or the first answer, padded."""
    if not example.answers:
        raise DataError(f"example {example.id!r} of task {task.name} has no answer, so nothing can be learned from it")
    if not task.labels:
        return pad(example.answers[0])
    if example.answers[0] not in task.labels:
        raise DataError(f"example {example.id!r} has label {example.answers[0]!r}, and task {task.name} knows {', '.join(task.labels)}")
    return verbalizers(task)[task.labels.index(example.answers[0])]


def answer_end(task: Task, example: Example) -> int:
    """The character of the question at which the first answer ends, where it is a span of the context: after it nothing is needed."""
    if task.labels or not example.starts:
        return 0
    answered = dataclasses.replace(example, second=example.second[: example.starts[0] + len(example.answers[0])])
    return len(question(task, answered)) - len(task.prompt.partition("{second}")[2].replace("{first}", pad(example.first)))


def verbalizers(task: Task) -> tuple[str, ...]:
    """The spelling of each label."""
    return task.verbalizers or task.labels


def read(task: Task, examples: Sequence[Example], written: Sequence[str]) -> list[str]:
    """The answers in what the model wrote: labels, or stretches of the context as they stand there; what is neither stays as it is."""
    if task.labels:
        label = dict(zip(verbalizers(task), task.labels, strict=True))
        return [label.get(text, text) for text in written]
    found = [unpadded(text, example.second) for example, text in zip(examples, written, strict=True)]
    return [text if stretch is None else stretch for text, stretch in zip(written, found, strict=True)]
