"""The warning that one cell was timed by several versions of a framework."""

from pathlib import Path

import pytest
from made_measurements import make_measurement, make_times

from velodrome.scheduler.cli import app
from velodrome.scheduler.reports.mixed_builds import describe_builds
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

SWEEP = "20261130-160000-aaaa"


def stored(folder: Path, *runs: tuple[str, str, str]) -> Store:
    """Store one run of lenet each, in a framework of a version on a host."""
    store = Store(folder)
    with store.hold_sweep(SWEEP):
        for repeat, (framework, version, host) in enumerate(runs):
            made = make_measurement(
                framework=framework,
                framework_version=version,
                hostname=host,
                node_id=host,
                repeat=repeat,
                **make_times(1.0, 2.0),
            )
            store.put(SWEEP, made)
        store.compact(SWEEP)
    return store


def test_the_versions_of_a_task_are_named_with_their_hosts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored(
        tmp_path,
        ("torch", "2.13.0", "new"),
        ("torch", "2.10.0", "old"),
        ("torch", "2.10.0", "older"),
        ("jax", "0.12.0.1", "old"),
        ("jax", "0.12.0.1", "new"),
    )
    text = "1 task was run by different versions: torch on cpu by 2.10.0 (old, older), 2.13.0 (new)"
    assert describe_builds(task_rows(store.read("tasks", SWEEP))) == text
    app(["report", "--results", str(tmp_path), "--markdown"], standalone_mode=False)
    assert text in capsys.readouterr().out


def test_equal_versions_need_no_warning(tmp_path: Path) -> None:
    store = stored(tmp_path, ("torch", "2.13.0", "new"), ("torch", "2.13.0", "old"))
    assert describe_builds(task_rows(store.read("tasks", SWEEP))) == ""
