"""The simulated fleet of the benchmarks, for tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SIMULATION = Path(__file__).parents[3] / "benchmarks" / "simulation.py"


@pytest.fixture(scope="session")
def simulation() -> ModuleType:
    """A module of no package: loaded by its path, once."""
    spec = importlib.util.spec_from_file_location("simulation", SIMULATION)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulation"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
