"""Room and tools, in folders of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from velodrome.agents.doctor import prerequisites
from velodrome.agents.doctor.finding import FindingLevel


@pytest.fixture
def with_tools(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """An environment whose PATH holds these programs and no others."""

    def make(*names: str) -> dict[str, str]:
        for name in names:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        return {"PATH": str(tmp_path)}

    return make


def test_a_missing_tool_says_which_frameworks_go_without(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    found = prerequisites.mmdebstrap(with_tools(), ["caffe"])
    assert (found.verdict, found.seen) == (FindingLevel.WARNING, "missing: goes without: caffe")
    assert found.mend == "sudo apt-get install mmdebstrap"
    assert (
        prerequisites.mmdebstrap(with_tools("mmdebstrap"), ["caffe"]).verdict is FindingLevel.FINE
    )
    assert prerequisites.cxx_compiler(with_tools()).verdict is FindingLevel.WARNING
    assert prerequisites.cxx_compiler(with_tools("g++")).verdict is FindingLevel.FINE


def test_a_tool_that_nothing_needs_may_be_missing(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    assert prerequisites.c_compiler(with_tools(), []).verdict is FindingLevel.FINE


def test_a_compiler_that_is_named_and_is_not_there_is_missing(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    named = {**with_tools("gcc"), "CC": "icc"}
    assert prerequisites.c_compiler(named, ["cntk"]).verdict is FindingLevel.WARNING
    assert prerequisites.c_compiler(with_tools("gcc"), ["cntk"]).verdict is FindingLevel.FINE


def test_root_enters_trees_without_bubblewrap_and_a_user_does_not(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    assert prerequisites.bubblewrap(with_tools(), ["caffe"], 0).verdict is FindingLevel.FINE
    assert prerequisites.bubblewrap(with_tools(), ["caffe"], 1000).verdict is FindingLevel.WARNING


def test_room_is_measured_by_what_all_environments_take(tmp_path: Path) -> None:
    assert prerequisites.disk_space(8 * 10**9, 7 * 10**9, tmp_path).verdict is FindingLevel.FINE
    assert prerequisites.disk_space(6 * 10**9, 7 * 10**9, tmp_path).verdict is FindingLevel.WARNING
    assert prerequisites.disk_space(0, 7 * 10**9, tmp_path).verdict is FindingLevel.UNKNOWN


def test_what_frameworks_want_is_read_from_their_own_recipes() -> None:
    wants = prerequisites.read_requirements()
    assert "caffe" in wants.debian
    assert "cntk" in wants.stand_ins
    assert "torch" in wants.accelerators
    assert wants.disk_bytes > 10**9
