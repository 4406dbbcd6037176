"""Reading a sweep file: Python that declares `SWEEP`, and the options that choose among its trials."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from xfer_ray import metrics
from xfer_ray.core import Sweep, Task, Trial
from xfer_ray.errors import DeclarationError, XferRayError, unknown
from xfer_ray.recipe import Pretraining
from xfer_ray.sources import parse_source

MOST_SEEDS = 10_000
_SEEDS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def read(path: Path) -> tuple[Sweep, ModuleType]:
    """The sweep that a file declares, and its module, which workers need for functions of its own."""
    module = _module(path)
    sweep = getattr(module, "SWEEP", None)
    if not isinstance(sweep, Sweep):
        made = any(isinstance(value, Pretraining) for value in vars(module).values())
        found = f"what it declares to be pre-trained is made by `xfer-ray pretrain {path}`" if made else f"found {type(sweep).__name__}"
        raise DeclarationError(f"{path} declares no SWEEP = Sweep(name, trials); {found}")
    for name in dict.fromkeys(metric for trial in sweep.trials for metric in trial.task.metrics):
        metrics.metric(name)  # refuses a name that it does not know
    return sweep, module


def pretrainings(path: Path) -> tuple[dict[str, Pretraining], ModuleType]:
    """What a file declares to be pre-trained, by name or by the name of the model of its sweep that needs it; and its module."""
    module = _module(path)
    found = {name: value for name, value in vars(module).items() if isinstance(value, Pretraining)}
    sweep = getattr(module, "SWEEP", None)
    for trial in sweep.trials if isinstance(sweep, Sweep) else ():
        made = trial.model.checkpoint
        if isinstance(made, Pretraining) and made not in found.values():
            found[trial.model.name] = made
    if not found:
        raise DeclarationError(
            f"{path} declares nothing to pre-train: no PRETRAINING = Pretraining(...), and no model of a SWEEP needs one"
        )
    return found, module


def task(path: Path, name: str = "") -> tuple[Task, ModuleType]:
    """The task that a file declares, by its name where there are several; and the module."""
    module = _module(path)
    found = {value.name: value for value in vars(module).values() if isinstance(value, Task)}
    if not found:
        raise DeclarationError(f"{path} declares no Task")
    if name and name not in found:
        raise unknown(f"task in {path}", name, found)
    if not name and len(found) > 1:
        raise DeclarationError(f"{path} declares the tasks {', '.join(found)}; choose one, as in {path}:{next(iter(found))}")
    return found[name or next(iter(found))], module


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        folders = dict.fromkeys((path.parent, Path("sweeps")))
        raise unknown(
            "sweep file", str(path), (str(p) for folder in folders for p in sorted(folder.glob("*.py")) if p.name != "__init__.py")
        )
    return _execute(path)


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"xfer_ray_sweep_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{path} is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up while it is executed
    sys.path.insert(0, str(path.parent.resolve()))  # for modules beside it, also when a trial imports them later
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for what the command says
            spec.loader.exec_module(module)
    except XferRayError as error:
        raise type(error)(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        line = _line(error, path)
        raise DeclarationError(f"{path}{line}: {type(error).__name__}: {error}") from error
    return module


def _line(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    number, trace = None, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            number = trace.tb_lineno
        trace = trace.tb_next
    return f":{number}" if number else ""


def choose(sweep: Sweep, *, seeds: str | None = None, only: str | None = None) -> tuple[Sweep, tuple[Trial, ...]]:
    """The sweep with `--seeds` applied, and of its trials those that `--only` names.

    `seeds` ("0-4" or "0,2") replaces the declared ones; `only` ("source=de-MT-en,seed=0") leaves the plan as it is.
    """
    if seeds is not None:
        firsts = {(t.task.name, t.model.name, t.source): t for t in reversed(sweep.trials)}
        ordered = [t for t in sweep.trials if firsts[(t.task.name, t.model.name, t.source)] is t]
        sweep = replace(sweep, trials=tuple(replace(t, seed=seed) for t in ordered for seed in parse_seeds(seeds)))
    asked = parse_only(only, sweep)
    return sweep, tuple(t for t in sweep.trials if _chosen(t, asked))


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that "0-4", "3" or "0,2,5-7" names, in order."""
    if not _SEEDS.fullmatch(text):
        raise DeclarationError(f"--seeds {text!r} is not like '0-4', '3' or '0,2,5-7'")
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) - int(first) >= MOST_SEEDS:
            raise DeclarationError(f"--seeds {text!r} names more than {MOST_SEEDS} seeds")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) < len(seeds) or not seeds:
        raise DeclarationError(f"--seeds {text!r} names a seed twice or none")
    return tuple(seeds)


def parse_only(text: str | None, sweep: Sweep) -> dict[str, set[str]]:
    """What `--only` asks for: "task=xnli,source=de-MT-en,source=ru-MT-en" -> {"task": {"xnli"}, "source": {...}}."""
    asked: dict[str, set[str]] = {}
    for part in filter(None, (text or "").split(",")):
        field, equals, value = part.partition("=")
        if not equals or field not in ("task", "model", "source", "seed"):
            raise DeclarationError(f"--only {part!r} is not like task=…, model=…, source=… or seed=…")
        known = {_field(trial, field): None for trial in sweep.trials}
        if field == "source" and "+" in value:
            value = str(parse_source(value))  # in whatever order it is written
        if value not in known:
            raise unknown(f"{field} in sweep {sweep.name}", value, known)
        asked.setdefault(field, set()).add(value)
    return asked


def _chosen(trial: Trial, asked: dict[str, set[str]]) -> bool:
    return all(_field(trial, field) in values for field, values in asked.items())


def _field(trial: Trial, field: str) -> str:
    return {"task": trial.task.name, "model": trial.model.name, "source": str(trial.source), "seed": str(trial.seed)}[field]
