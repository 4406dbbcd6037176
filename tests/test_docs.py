"""What the pages show works as it stands there: README's sweep files, and what a bucket needs."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from toy import Toy

ROOT = Path(__file__).resolve().parents[1]


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


def test_links_between_the_pages_lead_somewhere():
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} leads to {link}, which does not exist"
