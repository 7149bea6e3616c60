"""One fault at a time while a sweep runs on two equal hosts, and the time until it continues."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.dataset
import pytest
from fake_hardware import Host
from namespace_fleet import NamespaceFleet
from namespace_hosts import command_of

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(600)]

SWEEP = """
name: faults
frameworks: [numpy]
models: [autoencoder-400-200-100/ae1, autoencoder-400-200-100/ae2, autoencoder-400-200-100/ae3]
threads: [1]
where: each-type
repeats: 2
timing: {target: 1%, min_samples: 10, min_seconds: 1.0, max_seconds: 1.0}
"""
# Half a minute of work is left when its head dies: a sweep that needs no more of a head just ends.
LONG_SWEEP = SWEEP.replace("repeats: 2", "repeats: 3").replace("1.0", "4")
RUNS, LONG_RUNS = 6, 9
NOTICED_WITHIN_S = 10.0
ENDED = re.compile(r"^\[(\d+)/\d+\] [~✓]")


@dataclass
class Driver:
    """A running `velodrome run`, and the time of each line that it wrote."""

    running: "subprocess.Popen[str]"
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for stream in (self.running.stdout, self.running.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def wait_for_line(self, pattern: str, since_s: float = 0.0, within_s: float = 120.0) -> float:
        """Return the time of the first line after `since_s` that contains the text."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for at_s, line in list(self.lines):
                if at_s >= since_s and re.search(pattern, line):
                    return at_s
            time.sleep(0.02)
        pytest.fail(f"no line matched {pattern!r}:\n{self.output}")

    @property
    def output(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def wait_for_exit(self, within_s: float = 200.0) -> int:
        return self.running.wait(within_s)

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            self.lines.append((time.monotonic(), line.rstrip()))


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    made = new_fleet(VELODROME_PYTHON_NUMPY=sys.executable)
    made.start_head()
    made.add_nodes([Host("one"), Host("two")])
    return made


@pytest.fixture
def results(fleet: NamespaceFleet, request: pytest.FixtureRequest) -> Path:
    return fleet.folder / request.node.name[:40]


@pytest.fixture(autouse=True)
def whole_again(fleet: NamespaceFleet) -> Iterator[None]:
    """A test that fails half-way leaves no broken fleet to the next."""
    yield
    names = ("one", "two")
    if fleet.runs("head") and all(map(fleet.runs, names)):
        return
    for name in filter(fleet.runs, names):
        fleet.kill(name)
    if not fleet.runs("head"):
        fleet.start_head()
    fleet.add_nodes([Host(name) for name in names])


def run(fleet: NamespaceFleet, results: Path, *words: str, text: str = SWEEP) -> Driver:
    sweep = fleet.folder / "faults.yaml"
    sweep.write_text(text)
    words = words or (str(sweep),)
    started = fleet.velodrome("run", *words, "--address", fleet.address, "--results", str(results))
    return Driver(started)


def list_processes(fleet: NamespaceFleet, name: str, what: str) -> list[psutil.Process]:
    return [one for one in fleet.processes(name) if what in command_of(one)]


def wait_for_young_worker(driver: Driver, fleet: NamespaceFleet, name: str) -> None:
    """Wait until a run has ended and a worker has just started on the host."""
    driver.wait_for_line(r"^\[1/")
    deadline = time.monotonic() + 60
    while not any(map(is_young, list_processes(fleet, name, "velodrome.adapters.worker"))):
        assert time.monotonic() < deadline, driver.output
        time.sleep(0.02)


def is_young(process: psutil.Process) -> bool:
    try:
        return time.time() - process.create_time() < 1.0
    except psutil.NoSuchProcess:
        return False


def rows(results: Path) -> list[dict]:
    return pyarrow.dataset.dataset(results / "tasks", partitioning="hive").to_table().to_pylist()


def check_rows(results: Path, driver: Driver, *, lost: int, runs: int = RUNS) -> None:
    found = rows(results)
    final = [(row["task_id"], row["repeat"]) for row in found if row["status"] != "lost"]
    assert len(final) == len(set(final)) == runs, driver.output
    assert sum(row["status"] == "lost" for row in found) == lost, driver.output


def restart_host(fleet: NamespaceFleet, name: str) -> None:
    """Restart the host for the next test."""
    fleet.boot([Host(name)])
    fleet.await_nodes([name])


def test_a_dead_node_is_noticed_at_once_and_its_task_runs_elsewhere(
    fleet: NamespaceFleet, results: Path
) -> None:
    driver = run(fleet, results)
    wait_for_young_worker(driver, fleet, "one")
    at_s = time.monotonic()
    fleet.kill("one")
    noticed_s = driver.wait_for_line("one left", at_s) - at_s
    elsewhere_s = driver.wait_for_line(r"^\[\d+/\d+\] .* on two", at_s) - at_s
    restart_host(fleet, "one")
    assert driver.wait_for_exit() in (0, 1), driver.output
    print(f"killed: noticed after {noticed_s:.2f} s, the next run ended after {elsewhere_s:.1f} s")
    assert noticed_s <= NOTICED_WITHIN_S
    check_rows(results, driver, lost=1)


def test_a_silently_disconnected_node_is_noticed_and_its_task_runs_elsewhere(
    fleet: NamespaceFleet, results: Path
) -> None:
    driver = run(fleet, results)
    wait_for_young_worker(driver, fleet, "one")
    at_s = time.monotonic()
    fleet.cut("one")
    noticed_s = driver.wait_for_line("one left", at_s) - at_s
    assert driver.wait_for_exit() in (0, 1), driver.output
    print(f"cut off: noticed after {noticed_s:.2f} s")
    assert noticed_s <= NOTICED_WITHIN_S
    check_rows(results, driver, lost=1)
    fleet.heal("one")
    fleet.kill("one")
    restart_host(fleet, "one")


def test_a_killed_worker_gives_a_row_and_no_retry(fleet: NamespaceFleet, results: Path) -> None:
    driver = run(fleet, results)
    wait_for_young_worker(driver, fleet, "one")
    list_processes(fleet, "one", "velodrome.adapters.worker")[0].kill()
    assert driver.wait_for_exit() == 1, driver.output
    check_rows(results, driver, lost=0)
    crashed = [row for row in rows(results) if row["status"] == "crashed"]
    assert len(crashed) == 1
    assert "SIGKILL" in crashed[0]["reason"]


def test_a_killed_agent_takes_its_worker_along_and_the_task_runs_again(
    fleet: NamespaceFleet, results: Path
) -> None:
    driver = run(fleet, results)
    wait_for_young_worker(driver, fleet, "one")
    worker = list_processes(fleet, "one", "velodrome.adapters.worker")[0]
    agent = next(one for one in list_processes(fleet, "one", "ray::execute_attempt"))
    agent.kill()
    worker.wait(2)  # psutil.TimeoutExpired: it has survived
    assert driver.wait_for_exit() in (0, 1), driver.output
    check_rows(results, driver, lost=1)


def test_a_killed_driver_leaves_no_worker_and_a_resumed_driver_finishes_the_sweep(
    fleet: NamespaceFleet, results: Path
) -> None:
    driver = run(fleet, results)
    wait_for_young_worker(driver, fleet, "one")
    workers = [
        worker
        for name in ("one", "two")
        for worker in list_processes(fleet, name, "velodrome.adapters.worker")
    ]
    driver.running.kill()
    for worker in workers:
        worker.wait(10)
    resumed = run(fleet, results, "--resume", "last")
    assert resumed.wait_for_exit() in (0, 1), resumed.output
    check_rows(results, resumed, lost=0)


def test_when_the_head_dies_the_command_names_the_resume_command(
    fleet: NamespaceFleet, results: Path
) -> None:
    driver = run(fleet, results, text=LONG_SWEEP)
    wait_for_young_worker(driver, fleet, "one")
    at_s = time.monotonic()
    fleet.kill_head()
    assert driver.wait_for_exit() == 3, driver.output
    print(f"head killed: the command ended after {time.monotonic() - at_s:.0f} s")
    assert "velodrome run --resume" in driver.output
    for name in ("one", "two"):
        fleet.kill(name)
    fleet.start_head()
    fleet.add_nodes([Host("one"), Host("two")])
    resumed = run(fleet, results, "--resume", "last")
    assert resumed.wait_for_exit() in (0, 1), resumed.output
    check_rows(results, resumed, lost=0, runs=LONG_RUNS)


def test_nodes_in_use_are_reported_and_waited_for(fleet: NamespaceFleet, results: Path) -> None:
    others = fleet.session()
    others.run_script(
        """
        @ray.remote(num_cpus=1)
        def work(seconds):
            import time
            time.sleep(seconds)

        held = [work.remote(25) for _ in range(2)]
        answer = len(held)
        """
    )
    driver = run(fleet, results)
    driver.wait_for_line("is in use by others on this cluster; waiting for it")
    assert driver.wait_for_exit() in (0, 1), driver.output
    others.close()
    check_rows(results, driver, lost=0)


def test_rays_messages_about_dying_nodes_are_not_printed(
    fleet: NamespaceFleet, results: Path
) -> None:
    driver = run(fleet, results)
    wait_for_young_worker(driver, fleet, "two")
    fleet.kill_raylet("two")
    driver.wait_for_line("two left")
    assert driver.wait_for_exit() in (0, 1), driver.output
    # As Ray puts it in front of what a node says; the report may name a raylet as interference.
    assert not re.search(r"^\s*\(raylet", driver.output, re.MULTILINE)
    check_rows(results, driver, lost=1)
    fleet.kill("two")
    restart_host(fleet, "two")
