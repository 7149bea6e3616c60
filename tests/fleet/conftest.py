"""A fleet of hosts made of namespaces, for tests that need more than one machine."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # there is no package of tests

from fake_hardware import compiler
from namespace_fleet import NamespaceFleet
from namespace_hosts import missing


@pytest.fixture(scope="module")
def new_fleet() -> Iterator[Callable[..., NamespaceFleet]]:
    """Make fleets by new_fleet(VARIABLE=value), and stop them after the module."""
    reason = missing()
    if not compiler():
        reason = "GPUs are stood in for by a library of C, and there is no compiler"
    if reason:
        pytest.skip(reason)
    fleets: list[NamespaceFleet] = []

    def make_fleet(kind: type[NamespaceFleet] = NamespaceFleet, **variables: str) -> NamespaceFleet:
        fleet = kind(Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp")), variables)
        fleets.append(fleet)
        return fleet

    yield make_fleet
    for fleet in fleets:
        fleet.stop()
        shutil.rmtree(fleet.folder, ignore_errors=True)
