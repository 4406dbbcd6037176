"""What became of an answer on its way to another language: a row of the audit table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fate:
    """What became of one gold answer of an example of the origin, or of an example whose answer is a label.

    `reason` is why it is not kept: "empty" (a text was translated to nothing) or "distance" (its answer was not found again).
    `faults` names the suspicious texts, such as "second:looping". The rest tells how the answer was found: method "exact" or
    "closest", edit distance, equally good places, the character where it begins (-1: nowhere), the length of the translated answer in
    characters and its bucket, that answer, and the stretch of the context that takes its place.
    """

    id: str
    gold: int
    kept: bool
    reason: str = ""
    faults: str = ""
    method: str = ""
    distance: int = -1
    ties: int = 0
    start: int = -1
    length: int = 0
    bucket: str = ""
    translated: str = ""
    answer: str = ""
