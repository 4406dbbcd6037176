"""What the tests share: the real data beside the checkout, and a hub that is switched off."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SHARED = Path(__file__).resolve().parents[2] / "shared"


def _beside(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, SHARED / name))
    if not folder.is_dir():
        pytest.skip(f"the real data is absent: no folder {folder}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Data sets and a tokenizer laid out like the hub."""
    return _beside("XFER_RAY_TEST_MIRROR", "mirror")


@pytest.fixture(scope="session")
def paper() -> Path:
    """The printed tables of Turc et al. 2021 as CSV."""
    return _beside("XFER_RAY_TEST_PAPER", "paper")


@pytest.fixture(scope="session")
def squad_mt_pt() -> Path:
    """Questions of SQuAD's training set, machine-translated to Portuguese by others, answers and contexts apart."""
    return _beside("XFER_RAY_TEST_SQUAD_MT_PT", "squad-mt-pt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", metavar="FILE", help="write what became of the tests of faults into FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(number, injected): a fault of tests/chaos/catalogue.py, and how the test brings it about")
    config.addinivalue_line("markers", "slow: takes a while; `make test-slow` runs it")
    if config.getoption("--fault-table"):
        from chaos.table import Witness

        config.pluginmanager.register(Witness(Path(config.getoption("--fault-table"))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties += [("fault", mark.args[0]) for mark in item.iter_markers("fault")]
