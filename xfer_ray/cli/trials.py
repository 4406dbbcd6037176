"""Which trial a name means, and what that trial has logged, from the files of its sweep."""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import TYPE_CHECKING

from xfer_ray.errors import DataError, DeclarationError, demand, unknown

if TYPE_CHECKING:
    from xfer_ray.results import Results

SHOWN = 8  # candidates that a refusal names
TRIAL = re.compile(r"[^/]+\.s\d+-[0-9a-f]{12}")


def log(name: str, where: str, *, or_none: bool) -> str | None:
    """The log of a trial, or of the only one whose name begins so, in a storage or in the results of one sweep.

    With `or_none`, None where no trial's name begins so, since it may be a job's.
    """
    from xfer_ray import records

    places = _places(where)
    if not TRIAL.fullmatch(name):
        begun = sorted({trial for place in places for trial in _known(place) if trial.startswith(name)})
        if not begun and or_none:
            return None
        demand(len(begun) <= 1, f"{name!r} begins the names of {len(begun)} trials; give more of it: {_some(begun)}")
        name = begun[0] if begun else name
    for place in places:
        if place.storage.exists(place.log(name)):
            return place.storage.read(place.log(name)).decode(errors="replace")
    known = {trial for place in places for trial in _known(place)}
    if name in known:
        running = any(records.read_running(place, name) for place in places)
        raise DataError(f"trial {name} has no log yet: it {'is running, and writes one when it ends' if running else 'has not begun'}")
    if not known:
        raise DeclarationError(f"{where} holds no results; give the storage of the sweep with --storage")
    raise unknown("trial", name, difflib.get_close_matches(name, known, n=3) or sorted(known)[:3])


def none_called(name: str, where: str) -> str:
    """A clause about a name that is no trial's: which trials there are, the nearest first."""
    known = sorted({trial for place in _places(where) for trial in _known(place)})
    nearest = difflib.get_close_matches(name, known, n=SHOWN)
    there = f"there are {_some([*nearest, *(trial for trial in known if trial not in nearest)])}" if known else "there are none"
    return f"no trial in {where} begins with {name!r} ({there})"


def _some(trials: list[str]) -> str:
    return f"{', '.join(trials[:SHOWN])}{', …' * (len(trials) > SHOWN)}"


def _places(where: str) -> list[Results]:
    """The sweeps of a storage, or the one whose results these are."""
    from xfer_ray import planfile, results
    from xfer_ray.storage import open_storage

    parent, _, name = where.rstrip("/").rpartition("/")
    inside = results.Results(open_storage(parent or "."), name)
    if name and planfile.has_plan(inside):
        return [inside]
    storage = open_storage(where)
    return [results.Results(storage, sweep) for sweep in storage.folders()]


def _known(place: Results) -> set[str]:
    """The trials that a sweep plans, or has a log of."""
    from xfer_ray import planfile, results

    known = results.stems(place, "logs", ".log")
    with contextlib.suppress(DataError):  # a damaged plan, or none
        known |= {planned.trial for planned in planfile.read_plan(place).trials}
    return known
