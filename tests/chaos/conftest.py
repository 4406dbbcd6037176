"""What the tests of faults share: the scores of a sweep that nothing disturbed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from chaos.disturbed import processes_in, stepwise


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> pd.Series:
    """What every disturbed sweep must end with."""
    toy = stepwise(tmp_path_factory.mktemp("undisturbed") / "sweep")
    done = toy.run("--in-process")
    assert done.returncode == 0, done.stderr
    return toy.scores()


@pytest.fixture(autouse=True)
def ended(tmp_path: Path) -> Iterator[None]:
    """Nothing that a test started outlives it, however it ended."""
    yield
    for process in processes_in(tmp_path):
        os.kill(process, signal.SIGKILL)
