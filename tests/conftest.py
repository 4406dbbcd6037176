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
