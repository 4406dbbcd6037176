"""Run: pytest tests/test_report_page.py. The page of a report: self-contained, safe with hostile text, and shown by a browser."""

import dataclasses
import html
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import reported
from reported import TOY
from typer.testing import CliRunner

from analysis.report import gather, page
from xfer_ray import cli, commit, records, results
from xfer_ray.errors import SetupError, StorageError
from xfer_ray.storage import open_storage

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

EVIL = "\"><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>{{ 7*7 }} \\textbf{x} =1+1 \x1b[31m"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    found = reported.sweep_in(tmp_path_factory.mktemp("toy"), TOY)
    gathered = gather.read(found)
    return SimpleNamespace(results=found, report=gathered, html=page.render(gathered))


# ------------------------------------------------------------------------------ a page that is only a page


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def tags(page_html: str):
    parser = Tags()
    parser.feed(page_html)
    return parser.found


def demand_self_contained(page_html: str) -> None:
    """Nothing is run, and nothing is fetched: no script, no handler, no address but those of the page itself."""
    for tag, attributes in tags(page_html):
        assert tag not in ("script", "iframe", "img", "link", "object", "embed", "form", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            assert name != "src"
            assert name not in ("href", "xlink:href") or value.startswith("#"), value
            assert "url(" not in (value or "") or "url(#" in value
    style = re.search(r"<style>(.*?)</style>", page_html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_needs_nothing_else(toy):
    demand_self_contained(toy.html)
    outside = re.sub(r"<(p|td|dd|li|pre)\b.*?</\1>", "", toy.html, flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\"'\s<]+", outside)) == {"http://www.w3.org/2000/svg"}


def test_tables_have_headings_and_figures_words(toy):
    assert all(re.search(r'<th scope="col"', one) for one in re.findall(r"<table.*?</table>", toy.html, re.DOTALL))
    drawn = re.findall(r"<svg.*?</svg>", toy.html, re.DOTALL)
    assert len(drawn) == 4  # ranking, advantage, relative ability, curves
    assert all(re.search(r'role="img"', one) and re.search(r"<title [^>]*>[^<]+</title>\s*<desc [^>]*>[^<]+</desc>", one) for one in drawn)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Markup in every text field, and in the name of a model, as a sweep.json of somebody else may have it."""
    model = '"><img src=x onerror="document.title=\'owned\'">$x^2$'
    world = dataclasses.replace(TOY, models=(model,), texts=dict.fromkeys(TOY.targets, [(EVIL, EVIL)] * 60), licence=EVIL, seeds=(0,))
    swept = results.Results(open_storage(str(tmp_path_factory.mktemp("hostile"))), "mine")
    for trial in reported.trials(world)[:-1]:
        answers = [dataclasses.replace(p, prediction=p.prediction + EVIL, illegal=EVIL) for p in reported.predictions(world, trial)]
        said = {"host": EVIL, "device": EVIL, "versions": EVIL, "checkpoint": EVIL, "data_revision": EVIL}
        commit.commit(swept, reported.scores(world, trial, answers, "mine", **said), answers)
    for target in world.targets:
        commit.put_examples(swept, "toy", target, reported.examples(world, target))
    records.put_failure(swept, reported.trials(world)[-1].trial, EVIL, EVIL, EVIL)
    reported.plan(swept, world)
    return page.render(gather.read(swept))


def test_hostile_text_stays_text(hostile):
    demand_self_contained(hostile)
    assert "&lt;script&gt;document.title=" in hostile
    assert "{{ 7*7 }}" in html.unescape(hostile)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", hostile)
    assert r"\textbackslash{}" not in hostile or r"\textbf{x}" in html.unescape(hostile)


@pytest.mark.slow  # 15 x 15 cells of two models are drawn
def test_the_page_of_a_large_sweep_stays_small(tmp_path):
    world = reported.xnli(40, texts={target: [("word " * 120, "word " * 120)] * 40 for target in reported.xnli().targets})
    made = page.render(gather.read(reported.sweep_in(tmp_path, world)))
    assert len(made.encode()) < 5_000_000


# ------------------------------------------------------------------------------ the command


def test_the_command_writes_the_page_and_its_figures(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["report", toy.results.url.removeprefix("file://"), "--figures", "figures"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "wrote mine-report.html\nwrote 8 figures into figures\n"
    assert (tmp_path / "mine-report.html").read_text() == toy.html
    names = sorted(file.name for file in (tmp_path / "figures").iterdir())
    assert names[:2] == ["toy.tiny.advantage.png", "toy.tiny.advantage.svg"]
    assert len(names) == 8


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_one_sentence_says_what_to_install(toy, monkeypatch, package):
    for name in (package, f"{package}.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SetupError, match=re.escape(f"{package}, which is not installed; `pip install 'xfer-ray[report]'` gives it")):
        page.render(toy.report)


# ------------------------------------------------------------------------------ in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--virtual-time-budget=3000")
MEASURE = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe><p id="told"></p><script>
document.querySelector("iframe").onload = event => {{
  const inside = event.target.contentDocument, root = inside.documentElement
  const style = getComputedStyle.bind(event.target.contentWindow)
  const small = [...inside.querySelectorAll("main *")].filter(e => e.scrollWidth > e.clientWidth + 1 && style(e).overflowX == "visible"
    && style(e).display != "inline" && !e.closest("svg"))
  document.getElementById("told").textContent = [root.scrollWidth, style(inside.body).backgroundColor, inside.title, small.length].join("|")
}}</script>"""


def without_policy(page_html: str) -> str:
    """The page without the policy that would stop any script, those of these tests too."""
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page_html)


def shown(page_html: str, folder, width: int, *flags: str) -> list[str]:
    """What a browser makes of a page at a width: how wide it is, its background, its title, and how many boxes overflow unseen.

    The page is put into a frame of that width, without its policy, so that a script that had slipped in would run.
    """
    file = folder / "measure.html"
    file.write_text(MEASURE.format(width=width, page=html.escape(without_policy(page_html))), encoding="utf-8")
    command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return html.unescape(re.search(r'<p id="told">([^<]*)</p>', dump)[1]).split("|")


@browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(toy, tmp_path, width):
    opened = toy.html.replace("<details", "<details open")
    wide, background, _, overflowing = shown(opened, tmp_path, width)
    assert (wide, background, overflowing) == (str(width), "rgb(255, 255, 255)", "0")


@browser
def test_the_page_is_dark_where_the_reader_wants_it(toy, tmp_path):
    assert shown(toy.html, tmp_path, 390, "--blink-settings=preferredColorScheme=0")[1] == "rgb(20, 23, 28)"


FOLLOW = """<p id="told"></p><script>
  location.hash = document.querySelector(".matrix a").getAttribute("href")
  setTimeout(() => {
    const cell = document.querySelector(":target")
    document.getElementById("told").textContent = [cell.closest("details").open, Math.round(cell.getBoundingClientRect().top) < 100].join(" ")
  }, 500)</script>"""


@browser
def test_a_cell_leads_to_its_examples_though_they_are_folded(toy, tmp_path):
    file = tmp_path / "follow.html"
    file.write_text(without_policy(toy.html) + FOLLOW, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.search(r'<p id="told">([^<]*)</p>', dump)[1] == "true true"


@browser
def test_nothing_hostile_runs_in_a_browser(hostile, tmp_path):
    assert "owned" not in shown(hostile.replace("<details", "<details open"), tmp_path, 390)[2]


def test_names_that_look_alike_without_their_letters_have_files_of_their_own():
    names = ["\u6a21\u578b", "\u6d4b\u8bd5", "a b", "a/b", "a_b"]
    assert len({page.anchor("toy", name) for name in names}) == 5
    assert page.anchor("toy", "tiny", "de-MT-en") == "toy.tiny.de-MT-en"


def test_a_page_is_named_by_its_folder_and_replaces_the_one_before_whole(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy.results.url.removeprefix("file://"), tmp_path / "in" / "mine")
    plan = tmp_path / "in" / "mine" / "sweep.json"
    plan.write_text(plan.read_text().replace('"sweep": "mine"', '"sweep": "../elsewhere"', 1))
    (tmp_path / "mine-report.html").write_text("before")
    done = CliRunner().invoke(cli.app, ["report", "in/mine"])
    assert done.stdout == "wrote mine-report.html\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in", "mine-report.html"]
    onto = CliRunner().invoke(cli.app, ["report", "in/mine", "--output", "in"])
    assert isinstance(onto.exception, StorageError)
    assert "cannot write in: Is a directory" in str(onto.exception)
