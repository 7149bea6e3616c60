"""Adapters that lie through their worker: each ends as a row with a reason and without a time."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.isolation.pipe_lines import MOST_LINES
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Limits, Task

FAULTY = Path(__file__).parents[2] / "faulty"
TIMING = Timing(target=0.1, min_samples=3, min_seconds=1.0, max_seconds=1.0)
TASK = Task("liar", "nan", "canary", 4, timing=TIMING, limits=Limits(deadline_s=60))
BROKEN = "the worker broke the protocol: "
ENDS = {
    "nan": (Status.DISAGREED, "its proof is invalid: the gradient of"),
    "bare": (Status.DISAGREED, "its proof is invalid: no gradient of"),
    "narrow": (Status.CRASHED, BROKEN + "low_ns of `timed` of forward is"),
    "again": (Status.CRASHED, BROKEN + "`verified` came instead of `phase warmup`"),
    "skips": (Status.CRASHED, BROKEN + "`phase update` came instead of `phase warmup`"),
    "slow_clock": (Status.DISAGREED, "clocked_by_agent of forward failed: samples of forward last"),
    "fast_clock": (Status.CRASHED, BROKEN + "its clock is not the node's: "),
    "endless": (Status.CRASHED, f"{BROKEN}its events are more than {MOST_LINES}"),
}

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELODROME_ADAPTERS", str(FAULTY))
    for name in ("numpy", "liar"):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def run(task: Task, home: Path) -> Measurement:
    return execute(
        task,
        node=take_inventory("this"),
        repeat=0,
        attempt=1,
        environments=EnvironmentStore(home / "envs"),
        on_event=lambda event: None,
    )


@pytest.mark.parametrize(
    "variant",
    ["nan", "slow_clock"]
    + [
        pytest.param(variant, marks=pytest.mark.full)
        for variant in sorted(ENDS.keys() - {"nan", "slow_clock"})
    ],
)
def test_a_lie_is_named_and_leaves_no_time(home: Path, variant: str) -> None:
    ended = run(replace(TASK, variant=variant), home)
    status, reason = ENDS[variant]
    assert ended.reason.startswith(reason)
    assert ended.status is status
    assert (ended.forward, ended.gradient) == (None, None)
    assert (ended.verified is not None) == (variant == "slow_clock")  # its proof was sound


def test_endless_events_do_not_outlast_the_deadline(home: Path) -> None:
    began_s = time.monotonic()
    ended = run(replace(TASK, variant="endless", limits=Limits(deadline_s=4)), home)
    assert ended.status in (Status.CRASHED, Status.TIMED_OUT)
    assert time.monotonic() - began_s < 4 + 6


def test_a_valid_row_lists_the_check_by_the_agents_clock(home: Path) -> None:
    ended = run(replace(TASK, framework="numpy", variant="float64"), home)
    own = [check for check in ended.checks if check.name == "clocked_by_agent"]
    assert [check.phase for check in own] == ["forward", "gradient"]
    assert {check.outcome for check in own} == {"passed"}
    assert {figure.name for figure in own[0].figures} == {"window_s", "samples_s", "share"}
