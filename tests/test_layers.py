"""Who may import whom, and what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(p for folder in ("xfer_ray", "analysis", "sweeps") for p in (ROOT / folder).rglob("*.py"))

# Each room, from the top of the house down, and the rooms it may look into. All of them stand on the ground.
GROUND = ("errors", "redact", "identity", "recipe", "sources", "core", "contract", "text")  # each of these may look at those before it
MAY_IMPORT = {
    "cli": {"run", "search", "probe", "scoring", "service", "access", "pretrain", "translate", "card", "translation", "corpora", "plan", "sweepfile", "revisions", "sweep", "checking", "importing", "rescore", "compact", "records", "results", "storage", "tasks", "desk", "progress", "audit", "analysis", "planfile"},
    "run": {"sweep", "keeping", "making", "notice", "plan", "adoption", "pretrained", "progress", "trial", "desk", "records", "results", "storage", "planfile"},
    "search": {"results", "compact", "planfile"},
    "translate": {"card", "sweep", "shard", "translation", "corpora", "models", "tasks", "data", "revisions", "storage", "desk"},
    "card": {"shard", "translation", "corpora", "models"},
    "making": {"models", "notice", "folders", "keeping", "pretrained", "results", "attempt", "desk"},
    "sweep": {"notice", "access", "making", "progress", "trial", "desk", "shard", "records", "results", "storage", "compact"},
    "shard": {"translation", "corpora", "models"},
    "corpora": {"translation", "results", "storage"},
    "audit": {"data", "translation", "results", "analysis", "planfile"},
    "revisions": {"tasks", "models", "results", "planfile"},
    "sweepfile": {"metrics"},
    "trial": {"attempt", "desk", "models", "notice", "data", "scoring", "keeping", "pretrained", "tokenized", "commit", "results"},
    "attempt": {"desk", "notice", "scoring", "records"},
    "desk": {"notice", "results"},
    "scoring": {"metrics", "results"},
    "keeping": {"folders", "results"},
    "data": set(),
    "notice": set(),
    "spot": set(),
    "access": set(),
    "service": {"access", "storage", "sweep"},
    "folders": {"storage"},
    "pretrain": {"models", "making", "notice", "pretrained", "sweep", "sweepfile", "storage", "desk", "results", "run"},
    "pretrained": {"folders", "models", "storage"},
    "tokenized": {"folders", "models", "storage"},
    "progress": {"records", "results"},
    "plan": {"records", "results", "planfile", "compact"},
    "probe": {"plan", "trial", "data", "pretrained", "storage"},
    "adoption": {"commit", "results", "planfile"},
    "checking": {"compact", "results", "planfile"},
    "rescore": {"metrics", "results"},
    "importing": {"commit", "results", "storage", "planfile", "compact"},
    "commit": {"results"},
    "records": {"results"},
    "compact": {"results"},
    "planfile": {"results"},
    "results": {"storage"},
    "storage": set(),
    "metrics": set(),
    "tasks": {"miniature"},
    "models": {"miniature"},
    "translation": {"miniature"},
    "miniature": set(),
    "analysis": {"search", "results", "planfile", "compact"},
    "sweeps": {"tasks", "models"},
}  # fmt: skip
DOORS = {
    "ray": {"sweep", "service"},
    "torch": {"models", "translation"},
    "transformers": {"models", "translation"},
    "ctranslate2": {"translation"},
    "sentencex": {"translation"},
    "langcodes": {"translation", "analysis"},
    "urielplus": {"analysis"},
    "matplotlib": {"analysis"},
    "optuna": {"sweep"},
    "scipy": {"analysis"},
    "jinja2": {"analysis"},
    "edlib": {"translation"},
    "wandb": {"sweep"},
    "tokenizers": {"models"},
    "safetensors": {"models"},
    "datasets": {"tasks"},
    "obstore": {"storage"},
    "pyarrow": {"results", "compact", "checking"},
    "fastparquet": {"checking"},
}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] != "xfer_ray" else parts[1]


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, also inside functions and under TYPE_CHECKING."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    inside = [name.split(".") for name in names]
    nouns = {"Corpus", "Example", "Examples", "Model", "Pretraining", "Recipe", "Score", "Sweep", "Task", "Trial", "grid", "__version__"}
    found = set()
    for parts in inside:
        if parts[0] in ("analysis", "sweeps"):
            found.add(parts[0])
        elif parts[0] == "xfer_ray":
            found.add("core" if parts[1] in nouns else parts[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path):
    here = room(path)
    if here == "__init__":
        return
    names = imported(path)
    may = GROUND[: GROUND.index(here)] if here in GROUND else MAY_IMPORT[here].union(GROUND)
    assert rooms_of(names) - {here} <= set(may)
    for package in {name.split(".")[0] for name in names} & set(DOORS):
        assert here in DOORS[package], f"{package} has one door: {DOORS[package]}"


HEAVY = ("torch", "transformers", "datasets", "ray", "pandas", "pyarrow", "numpy", "fastparquet", "obstore")
LIGHT = ["xfer_ray", "xfer_ray.core", "xfer_ray.tasks", "xfer_ray.models", "xfer_ray.cli", "xfer_ray.sweepfile"]
LIGHT += [f"sweeps.{path.stem}" for path in (ROOT / "sweeps").glob("*.py") if path.stem != "__init__"]


def test_importing_declarations_loads_no_heavy_package():
    program = (
        f"import sys, importlib\nfor name in {LIGHT}:\n    importlib.import_module(name)\nprint([n for n in {HEAVY} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_without_heavy_packages():
    program = f"import sys\nfrom xfer_ray.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
