"""What a declaration is made of, as JSON, and the digest that names it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xfer_ray.errors import DeclarationError, demand

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def declaration(value: object) -> Json:
    """What a value declares, as JSON: dataclasses by field, functions by name, corpora by spelling.

    A field at its default is left out, so that a field added later disowns no result; a default, once released, never changes.
    """
    if hasattr(type(value), "parse"):  # a corpus
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        chosen = [f for f in dataclasses.fields(value) if f.metadata.get("identity", True) and not _at_default(value, f)]
        return {"kind": _named(type(value)), **{f.name: declaration(getattr(value, f.name)) for f in chosen}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): declaration(value[key]) for key in value}
    if isinstance(value, Sequence):
        return [declaration(item) for item in value]
    if callable(value) and hasattr(value, "__qualname__"):
        return _named(value)
    raise DeclarationError(
        f"{type(value).__name__} {value!r} cannot be part of a declaration; use numbers, strings, tuples, dataclasses or named functions"
    )


def _named(code: Callable[..., object]) -> str:
    """The name of a function or class; of one outside this package also a hash of what it is made of.

    So editing what a sweep file defines makes new trials, and a new release of this package does not; nor does another sweep file
    that imports it from this one.
    """
    name: str = code.__qualname__
    demand("<" not in name, f"{name} has no name of its own; define it at the top level of the sweep file")
    demand(
        not hasattr(code, "__self__"), f"{name} is a method of an object, whose state has no spelling; use a function or a frozen dataclass"
    )
    if code.__module__.partition(".")[0] == __package__:
        return name
    source = _source(code)
    return f"{name}#{hashlib.sha256(source.encode()).hexdigest()[:12]}" if source else f"{code.__module__}.{name}"


@functools.cache
def _source(code: Callable[..., object]) -> str:
    """The source, comments apart, of a function or class and of all that it names at the top level of its own file."""
    try:
        tree = ast.parse(Path(inspect.getsourcefile(code) or "").read_text(encoding="utf-8"))
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return ""
    defined: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in _defines(node):
            defined.setdefault(name, []).append(node)
    found: dict[str, str] = {}
    waiting = [code.__qualname__.partition(".")[0]]
    while waiting:
        name = waiting.pop()
        if name in defined and name not in found:
            found[name] = "\n".join(map(ast.unparse, defined[name]))
            waiting += [node.id for part in defined[name] for node in ast.walk(part) if isinstance(node, ast.Name)]
    return "\n".join(found[name] for name in sorted(found))


def _defines(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines, also within an `if`, a `with` or a loop."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    parts = list(ast.walk(node))
    functions = [part.name for part in parts if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    stored = [part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    return list(dict.fromkeys([*functions, *stored]))


def _at_default(value: object, item: dataclasses.Field[object]) -> bool:
    default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
    return default is not dataclasses.MISSING and getattr(value, item.name) == default


def canonical(value: Json) -> str:
    """JSON with sorted keys and no spaces: equal values give equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Json) -> str:
    """The first 12 hex digits of sha256 over the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]
