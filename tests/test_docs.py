"""What the pages show works as it stands there: README's sweep files, and what a bucket needs."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import typer
from toy import Toy

from xfer_ray import cli
from xfer_ray.models import MODELS
from xfer_ray.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")])


def blocks(page: str) -> list[str]:
    """The indented blocks of a page, without their indentation."""
    found = re.findall(r"(?m)(?:^    .*\n(?:\n(?=    ))?)+", (ROOT / page).read_text())
    return [re.sub(r"(?m)^    ", "", block) for block in found]


@pytest.fixture
def sweeps() -> list[str]:
    return [block for block in blocks("README.md") if "SWEEP = Sweep(" in block]


def test_the_sweep_of_readme_is_planned_as_it_stands_there(sweeps, tmp_path):
    toy = Toy(tmp_path)
    (tmp_path / "mine.py").write_text(sweeps[0])
    plan = toy.command("plan", "mine.py", "--json")
    assert plan.returncode == 0, plan.stderr
    trials = json.loads(plan.stdout)["trials"]
    assert {trial["model"] for trial in trials} == {"mbert", "mbert-short"}
    assert len(trials) == 2 * 3 * len({trial["source"] for trial in trials})


def test_readmes_own_data_runs_as_it_stands_there(sweeps, tmp_path):
    toy = Toy(tmp_path)
    (tmp_path / "reviews.py").write_text(sweeps[1])
    (tmp_path / "reviews").mkdir()
    for corpus in ("en-O", "de-MT-en", "fi-O"):
        for split in ("train", "test"):
            (tmp_path / "reviews" / f"{corpus}.{split}.tsv").write_text("good\tNo complaints.\nbad\tNever again.\ngood\tLovely.\n")
    run = toy.command("run", "reviews.py", "--only", "model=majority", "--in-process")
    assert run.returncode == 0, run.stderr
    assert "reviews: 9 of 9 trials done" in run.stderr
    tables = toy.command("tables", "results/reviews", "--model", "majority", "--values", "ability", "--format", "csv")
    assert "en-O,ability,3,66.666" in tables.stdout, tables.stdout + tables.stderr
    planned = json.loads(toy.command("plan", "reviews.py", "--json").stdout)
    assert planned["counts"]["to_run"] == 9, "mBERT's"


def test_the_pages_show_the_policy_and_the_rule_that_prepare_aws_makes():
    spec = importlib.util.spec_from_file_location("prepare_aws", ROOT / "deploy" / "prepare_aws.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    policy, rule = (next(b for b in blocks("docs/storage.md") if sign in b) for sign in ('"Version"', "put-bucket-lifecycle"))
    assert json.loads(policy)["Statement"] == made.bucket_policy("my-results")
    assert json.loads(rule.partition("'")[2].rpartition("'")[0]) == made.LIFECYCLE
    others = "".join(path.read_text() for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"])
    assert others.count("DaysAfterInitiation") == 1, "one page tells the rule"


def anchors(page: Path) -> set[str]:
    """What a link may name within a page: its headings in small letters, without punctuation, joined by hyphens."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_the_pages_lead_somewhere():
    for page in PAGES:
        for link, place in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
            target = (page.parent / link) if link else page
            assert target.exists(), f"{page.name} leads to {link}, which does not exist"
            assert not place or place in anchors(target), f"{page.name} leads to #{place} of {target.name}, which has no such heading"


SLURMS = {"--partition", "--account", "--nodes", "--cpus-per-task", "--gpus-per-node", "--time", "--requeue", "--open-mode", "--signal"}
OF_OTHERS = SLURMS | {"--metrics-export-port", "--num-cpus", "--skip", "--quick"}  # Ray's, and those of programs in tests and benchmarks
COMMANDS = typer.main.get_command(cli.app)


def commands(page: Path) -> list[list[str]]:
    """The words after each `xfer-ray` of a page that stands in a block or between back ticks, comments and what follows a pipe apart."""
    text = page.read_text(encoding="utf-8")
    shown = [*re.findall(r"(?m)^ {4}(?:\$ )?(xfer-ray .*)$", text), *re.findall(r"`(xfer-ray [^`]*)`", text)]
    return [re.split(r"\s#|[|>&;]", line)[0].split()[1:] for line in shown]


def options(words: list[str]) -> tuple[set[str], list[str]]:
    """What a command takes, and the words that follow its name."""
    command = COMMANDS
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return {name for taken in command.params for name in (*taken.opts, *taken.secondary_opts)} | {"--help"}, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_and_option_that_a_page_shows_exists(page):
    for words in commands(page):
        taken, rest = options(words)
        asked = [word.partition("=")[0].strip(".,)…") for word in rest if word.startswith("-")]
        assert set(asked) <= taken, f"{page.name}: xfer-ray {' '.join(words)}"


def every_option(command) -> set[str]:
    """What any command takes."""
    below = [every_option(one) for one in getattr(command, "commands", {}).values()]
    return set().union(*below, *({*taken.opts, *taken.secondary_opts} for taken in command.params))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_option_that_a_page_names_by_itself_exists(page):
    named = {span.split()[0].partition("=")[0] for span in re.findall(r"`(--[a-z][^`]*)`", page.read_text(encoding="utf-8"))}
    assert named <= every_option(COMMANDS) | OF_OTHERS


def test_the_page_of_licenses_names_every_task_checkpoint_and_translator():
    text = " ".join((ROOT / "docs/licences.md").read_text(encoding="utf-8").split())
    rows = [line for line in (ROOT / "docs/licences.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for task in TASKS:
        assert any(f"`{task.name}`" in row and (task.licence in row or not task.revisions) for row in rows), task.name
        assert all(f"`{repository}`" in text for repository in task.revisions), task.name
    for model in MODELS:
        assert any(f"`{model.name}`" in row for row in rows), model.name
        made = not isinstance(model.checkpoint, str) or model.checkpoint.startswith("./") or not model.checkpoint
        assert made or f"`{model.checkpoint}`" in text, model.checkpoint
    for family in re.findall(r"(?m)^\| `([\w-]+/[\w.-]+)` \|", (ROOT / "docs/translation.md").read_text(encoding="utf-8")):
        assert family in text, family
