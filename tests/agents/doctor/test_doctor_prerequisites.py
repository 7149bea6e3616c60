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


def test_a_missing_tool_names_the_frameworks_that_need_it(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    found = prerequisites.check_mmdebstrap(with_tools(), ["caffe"])
    assert (found.verdict, found.seen) == (FindingLevel.WARNING, "missing, needed by caffe")
    assert found.mend == "sudo apt-get install mmdebstrap"
    assert (
        prerequisites.check_mmdebstrap(with_tools("mmdebstrap"), ["caffe"]).verdict
        is FindingLevel.FINE
    )
    assert prerequisites.check_cxx_compiler(with_tools()).verdict is FindingLevel.WARNING
    assert prerequisites.check_cxx_compiler(with_tools("g++")).verdict is FindingLevel.FINE


def test_an_unneeded_tool_may_be_missing(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    assert prerequisites.check_c_compiler(with_tools(), []).verdict is FindingLevel.FINE


def test_a_named_compiler_that_does_not_exist_is_missing(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    named = {**with_tools("gcc"), "CC": "icc"}
    assert prerequisites.check_c_compiler(named, ["cntk"]).verdict is FindingLevel.WARNING
    assert prerequisites.check_c_compiler(with_tools("gcc"), ["cntk"]).verdict is FindingLevel.FINE


def test_root_enters_debian_trees_without_bubblewrap_and_a_user_cannot(
    with_tools: Callable[..., dict[str, str]],
) -> None:
    assert prerequisites.check_bubblewrap(with_tools(), ["caffe"], 0).verdict is FindingLevel.FINE
    assert (
        prerequisites.check_bubblewrap(with_tools(), ["caffe"], 1000).verdict
        is FindingLevel.WARNING
    )


def test_disk_space_is_compared_with_the_size_of_all_environments(tmp_path: Path) -> None:
    assert (
        prerequisites.check_disk_space(8 * 10**9, 7 * 10**9, tmp_path).verdict is FindingLevel.FINE
    )
    assert (
        prerequisites.check_disk_space(6 * 10**9, 7 * 10**9, tmp_path).verdict
        is FindingLevel.WARNING
    )
    assert prerequisites.check_disk_space(0, 7 * 10**9, tmp_path).verdict is FindingLevel.UNKNOWN


def test_requirements_are_read_from_the_frameworks_recipes() -> None:
    wants = prerequisites.read_requirements()
    assert "caffe" in wants.debian
    assert "cntk" in wants.stub_users
    assert "torch" in wants.accelerators
    assert wants.disk_bytes > 10**9
