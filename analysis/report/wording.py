"""How a report says its numbers and its answers. Fractions become values x 100, here called points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from analysis.formats import HOLE
from analysis.report.facts import Answer

MINUS = "\N{MINUS SIGN}"
MANY = 6  # names in a sentence
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def number(fraction: float, digits: int = 1) -> str:
    """0.7041 -> 70.4; a hole is --."""
    return HOLE if math.isnan(fraction) else f"{100 * fraction:.{digits}f}".replace("-", MINUS)


def signed(fraction: float) -> str:
    """0.0132 -> +1.3; what rounds to nothing has no sign."""
    if math.isnan(fraction):
        return HOLE
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def interval(low: float, high: float, say: Callable[[float], str] = signed) -> str:
    """0.002, 0.024 -> +0.2 to +2.4; empty where it is not known."""
    return "" if math.isnan(low) or math.isnan(high) else f"{say(low)} to {say(high)}"


def p_value(p: float) -> str:
    """0.0312 -> 0.031; very small ones are bounded."""
    return HOLE if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float) -> str:
    """0.1234 -> 12.3 %; more digits where it would look like nothing."""
    if math.isnan(share):
        return HOLE
    return f"{100 * share:.{2 if 0 < share < 0.001 else 1}f} %"


def duration(seconds: float) -> str:
    """5400 -> 1.5 h; 90 -> 1.5 min; 8 -> 8.0 s."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def count(n: int, one: str, several: str = "") -> str:
    """2, "seed" -> 2 seeds."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def named(names: Sequence[str]) -> str:
    """Names as a sentence has them; of many the first ones and how many more."""
    if len(names) > MANY:
        return f"{', '.join(names[:MANY])} and {len(names) - MANY} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def printable(text: str) -> str:
    """Without control characters, which neither a page nor a figure can hold; joiners stay, for scripts of India and Persia need them."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in JOINERS else "?" for c in text)


def clipped(text: str, most: int) -> str:
    """The beginning of a text, on one line."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


# ------------------------------------------------------------------------------ the answer


def headline(answer: Answer) -> str:
    """Which source, in one short sentence."""
    if not answer.best:
        return "No answer yet"
    if answer.alike:
        return "No source differs"
    best = named(answer.leading)
    if math.isnan(answer.gain):
        return f"{best} {_verb(answer, 'scores', 'score')} highest"
    if answer.gain == 0:
        return f"{named((answer.over, *answer.leading))} are equal"
    if answer.gain < 0:
        return f"Stay with {answer.over}"
    if answer.first not in ("", *answer.leading):
        return f"{best} {_verb(answer, 'leads', 'lead')} the other languages"
    if answer.sure:
        return f"Fine-tune on {best.replace(' and ', ' or ')}"
    return f"{best} {_verb(answer, 'leads', 'lead')}" + ("" if math.isnan(answer.p) else ", but not surely")


def by_how_much(answer: Answer) -> str:
    """By how much, with its interval, in one sentence."""
    if not answer.best:
        return answer.why
    over_all = f"Averaged over {'the only target' if answer.targets == 1 else f'all {answer.targets} targets'}"
    best = named(answer.leading)
    reach = "all sources reach" if answer.alike else f"{best} {_verb(answer, 'reaches', 'reach')}"
    if math.isnan(answer.gain):
        return f"{over_all}, {reach} {number(answer.value)}; no source is its baseline, so there is no advantage to tell."
    if answer.alike:
        return f"{over_all}, {reach} {number(answer.value)}."
    known = interval(answer.low, answer.high)
    how_sure = f" (95 % interval {known})" if known else ""
    if answer.gain == 0:
        return f"{over_all}, no other source is better than {answer.over}; {best} {_verb(answer, 'equals', 'equal')} it{how_sure}."
    if answer.gain < 0:
        nearest = f"the nearest, {best}, {_verb(answer, 'is', 'are')} at {signed(answer.gain)} points{how_sure}"
        return f"{over_all}, no other source is better than {answer.over}; {nearest}."
    lead = f"{number(answer.gain)} points better than {answer.over}{how_sure}"
    return f"{over_all}, {best} {_verb(answer, 'is', 'are equal, and')} {lead}."


def _verb(answer: Answer, one: str, several: str) -> str:
    return several if answer.equal else one


def how_sure(answer: Answer) -> list[str]:
    """How sure that is, and what it would take to be surer, one sentence each."""
    if not answer.best or math.isnan(answer.gain):
        return []
    if answer.alike:
        return [answer.why] if answer.why else []
    said = [answer.why] if math.isnan(answer.low) else [_tested(answer), _rivals(answer), _needed(answer), answer.why]
    if answer.like_for_like:
        rank = f"{named(answer.like_for_like)} {'ranks' if len(answer.like_for_like) == 1 else 'rank'} first"
        said.append(
            f"On the cells that are zero-shot for every source alike, {rank}: the average above counts "
            "each source's own language, the source effects do not."
        )
    if answer.unranked:
        said.append(f"Not ranked, for scores are missing (see Coverage): {named(answer.unranked)}.")
    return [sentence for sentence in said if sentence]


def _tested(answer: Answer) -> str:
    if math.isnan(answer.p):
        return ""
    verdict = "is significant" if answer.sure else "is within what chance gives"
    p = p_value(answer.p) if answer.p < 0.001 else f"= {p_value(answer.p)}"
    each = "" if answer.sure else "; the interval is for this source by itself, the test for the best of them"
    return f"The difference {verdict} (p {p}, corrected for {count(answer.compared, 'source')}{each})."


def _rivals(answer: Answer) -> str:
    if not answer.first:
        return ""
    who = "It" if answer.first == answer.best else answer.first
    rivals = f"{named(answer.rivals)} cannot be told apart from it" if answer.rivals else "every other source is surely behind it"
    if math.isnan(answer.chance):
        return f"{who} has the highest average; {rivals}."
    often = "over 99 %" if answer.chance > 0.99 else f"{100 * answer.chance:.0f} %"
    return f"{who} has the highest average in {often} of the resamples; {rivals}."


def _needed(answer: Answer) -> str:
    found = f"A difference of {number(answer.detectable)} points would be found four times out of five; a smaller one needs "
    needs = (
        ""
        if math.isnan(answer.detectable) or number(answer.detectable) == "0.0"
        else found + ("more seeds." if answer.runs < 5 else "more seeds or more test examples.")
    )
    alone = (
        "One seed: all of this is conditional on these very models, and says nothing of how another seed would fare; "
        "the option --seeds 0-4 of run adds some."
    )
    return " ".join(filter(None, (needs, alone if answer.conditional else "")))
