"""The hosts that fleets of tests are made of: apart while they live, and gone when killed."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from driver_session import Session
from fake_hardware import Host
from namespace_fleet import NamespaceFleet
from namespace_hosts import NAMES

pytestmark = [pytest.mark.slow, pytest.mark.full]

FIRST = Host("first", 1, "Maker Alpha 9000", "NVIDIA A100-SXM4-80GB:2", {"pool": "lab"})
SECOND = Host("second", 1, "Maker Beta 1")
NOTICED_S = 10.0  # what the design promises

INVENTORY = """
import dataclasses
from velodrome.agents.inventory import take_inventory

@ray.remote(num_cpus=1)
def look():
    node = take_inventory()
    return dataclasses.asdict(node) | {"node_type": node.node_type, "physical": node.physical}

answer = ray.get([look.options(scheduling_strategy=on(node)).remote() for node in nodes])
"""
LASTING = """
import time
from pathlib import Path

@ray.remote(max_retries=0)
def last(path):
    Path(path).touch()
    time.sleep(600)

waited_for = last.options(scheduling_strategy=on(node)).remote(path)
while not Path(path).exists():
    time.sleep(0.05)
"""
WAITING = """
try:
    answer = ray.get(waited_for)
except ray.exceptions.RayError as error:
    answer = type(error).__name__
"""


def take_inventories(session: Session, *nodes: str) -> list[dict]:
    return session.run_script(INVENTORY, nodes=nodes)


def wait_for_a_task_on(node: str, session: Session, path: Path) -> None:
    """Start a task that the driver waits for; its outcome is the session's answer."""
    session.run_script(LASTING, node=node, path=str(path))
    session.begin(WAITING)


def list_marked(mark: str) -> list[psutil.Process]:
    """Find processes with the mark in their environment."""
    return [process for process in psutil.process_iter() if has_mark(process, mark)]


def has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("VELODROME_TEST_MARK") == mark
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    made = new_fleet()
    made.start_head()
    made.add_nodes([FIRST, SECOND])
    return made


@pytest.fixture(scope="module")
def session(fleet: NamespaceFleet) -> Session:
    return fleet.session()


@pytest.fixture(scope="module")
def inventories(fleet: NamespaceFleet, session: Session) -> list[dict]:
    return take_inventories(session, fleet.ip("first"), fleet.ip("second"))


def test_the_agent_sees_each_host_as_a_separate_machine(inventories: list[dict]) -> None:
    first, second = inventories
    assert (first["hostname"], second["hostname"]) == ("first", "second")
    assert (first["cpu_model"], second["cpu_model"]) == (FIRST.cpu_model, SECOND.cpu_model)
    assert (first["physical"], second["physical"]) == (1, 1)
    assert [gpu["name"] for gpu in first["gpus"]] == ["NVIDIA A100-SXM4-80GB"] * 2
    assert second["gpus"] == []
    assert first["node_id"] != second["node_id"]
    assert first["node_type"] != second["node_type"]


def test_ray_finds_the_same_hardware_and_the_labels(fleet: NamespaceFleet) -> None:
    found = {node["NodeManagerAddress"]: node for node in fleet.nodes()}
    first, second = found[fleet.ip("first")], found[fleet.ip("second")]
    assert (first["Resources"]["CPU"], first["Resources"]["GPU"]) == (1, 2)
    assert first["Labels"]["ray.io/accelerator-type"] == "A100"
    assert first["Labels"]["pool"] == "lab"
    assert "GPU" not in second["Resources"]
    assert "CPU" not in found[fleet.ip("head")]["Resources"]
    assert {node["NodeManagerHostname"] for node in found.values()} == {"head", "first", "second"}


def test_a_killed_node_is_noticed_by_ray_and_by_the_waiting_driver(
    fleet: NamespaceFleet, session: Session, tmp_path: Path
) -> None:
    wait_for_a_task_on(fleet.ip("second"), session, tmp_path / "started")
    fleet.kill("second")
    assert session.answer(within_s=NOTICED_S) == "NodeDiedError"
    assert fleet.await_loss("second") < NOTICED_S


def test_a_disconnected_node_is_noticed_while_its_processes_survive(
    fleet: NamespaceFleet, session: Session, tmp_path: Path
) -> None:
    wait_for_a_task_on(fleet.ip("first"), session, tmp_path / "started")
    fleet.cut("first")
    assert fleet.await_loss("first") < NOTICED_S
    assert "raylet" in {process.name() for process in fleet.processes("first")}
    assert session.answer(within_s=NOTICED_S) == "NodeDiedError"


def test_a_killed_host_comes_back_as_the_same_one(
    fleet: NamespaceFleet, session: Session, inventories: list[dict]
) -> None:
    fleet.add_nodes([SECOND])
    (again,) = take_inventories(session, fleet.ip("second"))
    assert again["node_id"] == inventories[1]["node_id"]


def list_mounts(*names: str) -> list[str]:
    """List the mounts at the places where a fleet mounts something; other tests mount elsewhere."""
    places = (*names, " /proc ", " /proc/cpuinfo ", " /dev/shm ")
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if any(place in line for place in places)]


def test_a_stopped_fleet_leaves_nothing() -> None:
    mounts = list_mounts()
    folder = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
    fleet = NamespaceFleet(folder, {"VELODROME_TEST_MARK": folder.name})
    assert list_mounts(fleet.mark) != mounts
    fleet.boot([Host("lonely", cpu_model="Maker Gamma")])  # it looks for its head
    deadline = time.monotonic() + NOTICED_S
    while not fleet.processes("lonely"):  # what boots it enters its namespaces first
        assert time.monotonic() < deadline
    assert list_marked(folder.name)
    fleet.stop()
    shutil.rmtree(folder)
    assert list_marked(folder.name) == []
    assert not [path for path in NAMES.iterdir() if path.name.startswith(fleet.mark)]
    assert list_mounts(fleet.mark, folder.name) == mounts
