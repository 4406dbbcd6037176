"""What `doctor` says: one finding for each check, on this machine or on a node of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from xfer_ray.redact import redacted

OK, NOTE, FAILED, NOT_MADE = "ok", "note", "failed", "not made"


@dataclass(frozen=True)
class Finding:
    """What a check found. `remedy` says what would mend a failure, `node` where it was found; "" is this machine."""

    check: str
    state: str
    found: str
    remedy: str = ""
    node: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, OK, redacted(found))


def note(check: str, found: str, remedy: str = "") -> Finding:
    """Worth knowing, and no obstacle."""
    return Finding(check, NOTE, redacted(found), redacted(remedy))


def failed(check: str, found: str, remedy: str) -> Finding:
    """A sweep would not run."""
    return Finding(check, FAILED, redacted(found), redacted(remedy))


def not_made(check: str, because: str) -> Finding:
    """A check that another failure stands in the way of."""
    return Finding(check, NOT_MADE, f"not looked at, since {because}")
