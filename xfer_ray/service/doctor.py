"""Is this machine, or a cluster, fit for a sweep? Checks from cheap to dear; each gives a finding, whatever the others found."""

from __future__ import annotations

from collections.abc import Iterator

from xfer_ray.service import cluster, machine, places, probe, remote
from xfer_ray.service.cluster import Ask
from xfer_ray.service.finding import Finding


def examine(ask: Ask) -> Iterator[Finding]:
    """All findings, as they are made: this machine, what it reads and writes, the cluster, its nodes.

    A cluster behind a dashboard is looked at by a job on its head, for this machine may be only the one that submits.
    """
    yield machine.python()
    yield machine.packages()
    yield from machine.extras()
    facts = probe.facts({})
    yield from machine.size(facts)
    yield from machine.disks(facts)
    yield machine.gpus(facts)
    if ask.address and ask.address.startswith(("http://", "https://")):
        yield from remote.findings(ask)
        return
    yield from places.sources(ask.mirror, hub=ask.hub)
    if ask.storage:
        yield from places.storage(ask.storage)
    if ask.address and ask.address != "local":
        yield from cluster.findings(ask)
