"""What can go wrong, as sentences for the user. `exit_code` is what the command line returns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class XferRayError(Exception):
    """An error with a sentence for the user; `exit_code` is what the command line returns."""

    exit_code = 1


class DeclarationError(XferRayError, ValueError):
    """Misuse: a wrong sweep, or a question that needs an option."""

    exit_code = 2


class DataError(XferRayError, ValueError):
    """Data or results that cannot be used: nothing to show, damage, two answers for one cell."""

    exit_code = 3


class SetupError(XferRayError):
    """The environment: a missing package, hub, checkpoint, device, or permission."""

    exit_code = 4


class StorageError(XferRayError):
    """The storage cannot be read or written."""

    exit_code = 6


class UnfitError(Exception):
    """This node cannot compute what the sweep asks for; another node may."""


def unknown(kind: str, found: str, known: Iterable[str]) -> DeclarationError:
    """The error for a name nobody knows, with the nearest name.

    unknown("task", "pawx", ["pawsx", "xnli"]) -> no task 'pawx'; did you mean 'pawsx'? Possible: pawsx, xnli
    """
    names = list(known)
    close = difflib.get_close_matches(found, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return DeclarationError(f"no {kind} {found!r}{hint} Possible: {', '.join(names) or 'none'}")


def demand(holds: bool, sentence: str) -> None:
    """Refuse a declaration with one sentence unless it holds."""
    if not holds:
        raise DeclarationError(sentence)


def is_count(value: object, least: int = 1) -> bool:
    """Whether this is an integer, True and False left out, of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def one_each(kind: str, values: Sequence[object]) -> None:
    """Refuse a declaration in which something is missing, or is there twice."""
    demand(len(values) > 0, f"{kind} are empty; give at least one")
    twice = [str(v) for i, v in enumerate(values) if v in values[:i]]
    demand(not twice, f"{kind} hold {', '.join(twice)} more than once")
