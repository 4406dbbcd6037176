"""The command `doctor`."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from xfer_ray.cli.options import AsJson, Mirror, use_mirror
from xfer_ray.errors import SetupError, demand
from xfer_ray.redact import redacted

if TYPE_CHECKING:
    from xfer_ray.service.finding import Finding

WIDTH, INDENT = 79, 22
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_KEY|PRIVATE", re.IGNORECASE)


def doctor(
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="A cluster to look at: HOST:PORT or auto on one of its nodes, else http://…."),
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Where results are to go; every node must reach it.")] = None,
    mirror: Mirror = None,
    hub: Annotated[bool, typer.Option("--hub", help="Sweeps will read from the Hugging Face hub: out of reach is then unfit.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="How long a node may take to answer.")] = 60.0,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for a cluster at http://…, as `submit` takes it. Repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Is this machine or cluster fit for a sweep? One line for each check; exit code 4 where one failed.

    Without --address it looks at this machine alone and starts no Ray.

    Example: xfer-ray doctor --address http://127.0.0.1:8265 --storage s3://bucket/results
    """
    from xfer_ray.service.cluster import Ask
    from xfer_ray.service.doctor import examine

    if storage is not None:
        demand(bool(storage.strip()), "storage '' is not a folder; give one, such as 'results'")
    away = (address or "").startswith("http")
    demand(away or not env, "--env is for a cluster at http://…; here, set the variable for doctor itself")
    environment = dict(_pair(entry) for entry in env or [])
    if not away:
        use_mirror(mirror)
    found = []
    for finding in examine(Ask(address, storage, mirror, hub, seconds, environment)):
        found.append(finding)
        if not as_json and finding.node in ("", "head"):
            print(shown(finding), flush=True)
    bad = [finding for finding in found if finding.state == "failed"]
    if as_json:
        print(json.dumps({"fit": not bad, "findings": [asdict(finding) for finding in found]}, indent=1))
    else:
        for finding in together([finding for finding in found if finding.node not in ("", "head")]):
            print(shown(finding))
        print(verdict(found, bad))
    if bad:
        raise typer.Exit(SetupError.exit_code)


def together(found: list[Finding]) -> list[Finding]:
    """What several nodes have in common, once, with the names of up to three of them."""
    alike: dict[Finding, list[str]] = {}
    for finding in found:
        alike.setdefault(replace(finding, node=""), []).append(finding.node)
    return [replace(finding, node=_few(nodes)) for finding, nodes in alike.items()]


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _pair(entry: str) -> tuple[str, str]:
    name, mark, value = entry.partition("=")
    demand(bool(mark) and name.isidentifier(), f"--env {entry!r} is not like NAME=VALUE, such as HF_HUB_OFFLINE=1")
    secret = redacted(entry) != entry or SECRET.search(name)
    demand(not secret, f"--env {name} sounds like a secret, which all users could read; set it on the nodes instead")
    return name, value


def shown(finding: Finding) -> str:
    """One finding as text, at most 79 columns wide where its words allow."""
    state = "FAILED" if finding.state == "failed" else finding.state
    head = f"{state:8} {finding.check:12} "
    text = f"{finding.node}: {finding.found}" if finding.node else finding.found
    lines = [_wrapped(text, head)]
    if finding.remedy:
        lines.append(_wrapped(f"remedy: {finding.remedy}" if finding.state == "failed" else finding.remedy, " " * INDENT))
    return "\n".join(lines)


def _wrapped(text: str, head: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * INDENT, break_long_words=False, break_on_hyphens=False)


def verdict(found: list[Finding], bad: list[Finding]) -> str:
    """The last line."""
    if not bad:
        return f"fit: {len(found)} checks"
    names = dict.fromkeys(finding.check for finding in bad)
    return textwrap.fill(f"not fit: {len(bad)} of {len(found)} checks failed ({', '.join(names)})", WIDTH)
