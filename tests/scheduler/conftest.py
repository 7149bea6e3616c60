"""A results folder of a test's own, and the store in it."""

import sys
from pathlib import Path

import pytest

from velodrome.scheduler.results.store import Store

sys.path.append(str(Path(__file__).parent))  # there is no package of tests


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)
