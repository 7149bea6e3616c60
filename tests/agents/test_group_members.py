"""Two agents of a group: two addresses of this node, and two of its cores, stand for two nodes."""

import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from velodrome.adapters.protocol import Listening, Phase, Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import GroupLink, execute
from velodrome.agents.group_members import MemberEnd, follow
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import EndOrigin, Measurement, Status
from velodrome.agents.references import obtain_reference
from velodrome.agents.task import Limits, Task

TESTS = Path(__file__).parents[1]
PLANTED = [TESTS / "end_to_end" / "frameworks", TESTS / "fleet" / "frameworks"]
NODE = take_inventory("this")
TIMING = Timing(target=0.9, min_samples=3, min_seconds=0.5, max_seconds=0.5)
TASK = Task(
    "shared", "float64", "lenet", 8, timing=TIMING, phases=("gradient",), nodes=2, exclusive=False
)
ADDRESSES = ("127.0.0.1", "127.0.0.2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.serial,  # it holds two cores
    pytest.mark.skipif(len(NODE.cores) < 2, reason="two cores are needed"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept for all tests here, so that the reference is computed once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELODROME_ADAPTERS", os.pathsep.join(map(str, PLANTED)))
    for name in ("numpy", "shared", "hungry"):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)


class Group:
    """A task on both addresses. heard: what the member's agent has told."""

    def __init__(self, task: Task, home: Path) -> None:
        self._task, self._store = task, EnvironmentStore(home / "envs")
        self.heard: list[object] = []
        self.ends: list[MemberEnd] = []
        self._listens = threading.Event()

    def run(self) -> Measurement:
        """Lead the task, while the member follows; return its measurement."""
        # Of this one node, it would wait for the core that the member holds.
        obtain_reference(self._task, NODE, self._store, lambda text: None)
        member = threading.Thread(target=self._follow)
        member.start()
        assert self._listens.wait(60), self.ends
        peers = next(event.addresses for event in self.heard if isinstance(event, Listening))
        measurement = execute(
            self._task,
            node=NODE,
            repeat=0,
            attempt=1,
            environments=self._store,
            on_event=lambda event: None,
            link=GroupLink(ADDRESSES[0], peers, "a token"),
        )
        member.join(30)
        assert not member.is_alive()
        return measurement

    def _follow(self) -> None:
        self.ends.append(
            follow(
                self._task,
                node=NODE,
                environments=self._store,
                on_event=self._hear,
                address=ADDRESSES[1],
                token="a token",
            )
        )

    def _hear(self, event: object) -> None:
        self.heard.append(event)
        if isinstance(event, Listening):
            self._listens.set()


def test_a_member_tells_the_phases_of_the_leader_and_what_it_used_in_them(home: Path) -> None:
    group = Group(TASK, home)
    assert group.run().status.has_number
    (end,) = group.ends
    assert (end.status, end.reason) == (Status.OK, "")
    begun = [event.name for event in group.heard if isinstance(event, Phase)]
    assert begun == ["import", "build", "build", "verify", "warmup", "gradient", "prove", "prove"]
    assert end.used
    (means,) = end.used.means
    assert means.phase == "gradient"
    assert means.cpu_percent is not None
    assert 5 < means.cpu_percent < 150
    assert end.used.peak_rss_bytes
    assert end.used.peak_rss_bytes > 10**7


def test_lack_of_memory_of_a_member_is_its_own_end_and_the_leader_has_lost_it(home: Path) -> None:
    limits = Limits(deadline_s=120, memory_bytes=2**29)
    group = Group(replace(TASK, framework="hungry", limits=limits), home)
    led = group.run()
    (end,) = group.ends
    assert (end.status, end.origin) == (Status.OUT_OF_MEMORY, EndOrigin.OWN)
    assert "the limit is 0.50 GiB" in end.reason
    assert (led.status, led.origin) == (Status.LOST, EndOrigin.PEER), led.reason


def test_the_end_of_a_killed_process_is_its_own_and_that_of_its_peer_is_not(home: Path) -> None:
    for action, killed in (("follow", 1), ("measure", 0)):
        group = Group(
            replace(TASK, timing=TIMING._replace(min_seconds=30.0, max_seconds=30.0)), home
        )
        threading.Thread(target=kill_in_phase, args=(group, action)).start()
        led = group.run()
        (end,) = group.ends
        own, other = (end, led) if killed else (led, end)
        assert (own.status, own.origin) == (Status.CRASHED, EndOrigin.OWN), own.reason
        assert "killed by SIGKILL" in own.reason
        assert own.reason.endswith(" in phase gradient")
        # Its peer has lost it, or gets an error in its collective operation, whichever is first.
        assert other.origin > EndOrigin.OWN, other.reason


def kill_in_phase(group: Group, action: str) -> None:
    """Kill the worker of this action in the phase gradient."""
    deadline_s = time.monotonic() + 60
    while not any(isinstance(each, Phase) and each.name == "gradient" for each in group.heard):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    found = [
        process
        for process in psutil.Process().children(recursive=True)
        if f'"action": "{action}"' in read_request(process)
    ]
    found[-1].kill()  # the worker, which its supervisor started


def read_request(process: psutil.Process) -> str:
    """Return the text of a worker's request; empty for other processes."""
    with suppress(psutil.NoSuchProcess):
        words = process.cmdline()
        if "velodrome.adapters.worker" in words:
            return next(Path(word).read_text() for word in words if word.endswith("request.json"))
    return ""
