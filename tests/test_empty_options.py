"""Run: pytest tests/test_empty_options.py. An option without a name in it, as a script with an unset variable gives, is never a default."""

import committed
import pytest
import typer
from typer.testing import CliRunner

from xfer_ray.cli import app
from xfer_ray.errors import XferRayError

ARGUMENTS = {
    "tables": "RESULTS",
    "report": "RESULTS",
    "recommend": "RESULTS",
    "correlates": "RESULTS",
    "reproduce": "--printed",
    "import": "FILE",
}
OPTIONS = [
    (name, option.opts[0])
    for name in ARGUMENTS
    for option in typer.main.get_command(app).commands[name].params
    if option.param_type_name == "option" and not option.is_bool_flag
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    file = folder / "theirs.csv"
    file.write_text("task,model,source,seed,target,metric,score\nx,m,en,0,en,accuracy,0.9\n")
    return {"RESULTS": str(folder / committed.sweep_in(folder).sweep), "FILE": str(file), "--printed": "--printed"}


def test_every_command_that_says_what_results_mean_is_looked_at():
    assert {name for name, _ in OPTIONS} == set(ARGUMENTS)
    assert {("report", "--figures"), ("recommend", "--targets"), ("import", "--name"), ("tables", "--layout")} <= set(OPTIONS)


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_empty_option_is_refused_in_one_sentence_and_writes_nothing(places, tmp_path, monkeypatch, name, option, value):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, [name, places[ARGUMENTS[name]], option, value])
    code = told.exception.exit_code if isinstance(told.exception, XferRayError) else told.exit_code
    assert code == 2, told.output
    assert "'" in str(told.exception) or "Invalid value" in told.output, "what was found is shown"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_empty_argument_is_refused_too(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, [name, ""]).exception
    assert isinstance(told, XferRayError)
    assert ("scores come in a file that ends in .csv or .parquet" if name == "import" else "storage '' is neither") in str(told)
    assert not list(tmp_path.iterdir())
