"""Is this question fit for extractive question answering: has it an answer, and does the answer stand where it should?"""

from __future__ import annotations

import unicodedata

from xfer_ray.sources import Example


def unfit(example: Example) -> str:
    """What makes a question useless, or "": nothing to ask, nowhere to look, or nothing to find."""
    if not example.first.strip():
        return "its question is blank"
    if not example.second.strip():
        return "its context is blank" if example.second else "its context is empty"
    if not example.answers:
        return "it has no answer, as the unanswerable questions of SQuAD 2 have none; only questions with an answer can be used"
    if len(example.starts) != len(example.answers):
        return f"it has {len(example.answers)} answers and {len(example.starts)} starts; give one start for each answer"
    blank = next((number for number, text in enumerate(example.answers, 1) if not text.strip()), 0)
    return f"answer {blank} of {len(example.answers)} is blank" if blank else ""


def misaligned(example: Example) -> str:
    """Which answer does not stand where its start says, and what would fit; "" where all do.

    Starts are in characters (code points). Nothing is repaired here.
    """
    context = example.second
    for text, start in zip(example.answers, example.starts, strict=True):
        if start < 0 or context[start : start + len(text)] != text:
            stands = repr(context[start : start + len(text)]) if 0 <= start < len(context) else "nothing"
            return f"answer {text!r} is not at character {start} of its context, where {stands} stands; {_what_fits(context, text, start)}"
    return ""


def _what_fits(context: str, text: str, start: int) -> str:
    for unit, encoding, width in (("bytes of UTF-8", "utf-8", 1), ("units of UTF-16", "utf-16-le", 2)):
        data, wanted = context.encode(encoding), text.encode(encoding)
        if start >= 0 and data[width * start : width * start + len(wanted)] == wanted:
            return f"{start} counts {unit}, and in characters it is {len(data[: width * start].decode(encoding))}"
    places = [place for place in range(len(context)) if context.startswith(text, place)]
    if places:
        nearest = sorted(places, key=lambda place: abs(place - start))[:3]
        return f"it is at {' and '.join(map(str, sorted(nearest)))}"
    for form in ("NFC", "NFKC"):
        if unicodedata.normalize(form, text) in unicodedata.normalize(form, context):
            return f"the answer is {_normal(text)} and its context {_normal(context)}: normalize both to {form}, and count again"
    return "its context does not hold it"


def _normal(text: str) -> str:
    """How a text is normalized, as far as that can be told."""
    held = [form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, text)]
    return " and ".join(held) or "neither NFC nor NFD"
