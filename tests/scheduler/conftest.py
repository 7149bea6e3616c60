"""A results folder of a test's own, and the store in it."""

from pathlib import Path

import pytest

from velodrome.scheduler.results.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)
