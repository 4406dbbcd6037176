"""How a task is put into words for a text-to-text model, and how the words it gives back are read.

XNLI: "xnli: premise: It rains. hypothesis: It pours." -> "1" -> neutral
SQuAD: "question: Who ' s there ? context: It ' s U . S . troops ." -> "U . S . troops" -> U.S. troops

As in google-research/multilingual-t5 (Xue et al. 2021): labels are spelled by the task's verbalizers, and in question answering
punctuation stands alone (`text.pad`).
"""

from __future__ import annotations

from collections.abc import Sequence

from xfer_ray.core import Example, Task
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
    if not task.labels:
        return pad(example.answers[0])
    return verbalizers(task)[task.labels.index(example.answers[0])]


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
