"""Tasks that hosts compute together: proven, and all of it measured again if one of them fails."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow.dataset
import pytest
from fake_hardware import Host
from namespace_fleet import NamespaceFleet
from namespace_hosts import Refused, command_of

from velodrome.agents.environments.store import default_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.framework,
    pytest.mark.timeout(900),
]

SWEEP = """
name: across
frameworks: [{frameworks}]
variants: {{{variants}}}
models: [{model}]
batch_sizes: {{{model}: [{batch_size}]}}
threads: [1]
nodes: [2]
where: {where}
repeats: 1
timing: {{target: 1%, min_samples: 3, min_seconds: {seconds}, max_seconds: {seconds}}}
limits: {{deadline: 10m{limit}}}
"""
NAMES = ("one", "two")
PLANTED = Path(__file__).with_name("frameworks")
GONE_S = 2.0
NOTICED_S = 10.0


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    """Two hosts; environments are those of this machine, to build none again."""
    made = new_fleet(
        VELODROME_HOME=str(default_root().parent),
        VELODROME_ADAPTERS=str(PLANTED),
        VELODROME_PYTHON_HUNGRY=sys.executable,
    )
    made.start_head()
    made.add_nodes([Host(name) for name in NAMES])
    return made


@pytest.fixture(autouse=True)
def whole_again(fleet: NamespaceFleet) -> Iterator[None]:
    """A test that fails half-way leaves no broken fleet to the next."""
    yield
    if not all(map(fleet.runs, NAMES)):
        for name in filter(fleet.runs, NAMES):
            fleet.kill(name)
        fleet.add_nodes([Host(name) for name in NAMES])


class Run:
    """A running `velodrome run` of one sweep."""

    def __init__(
        self,
        fleet: NamespaceFleet,
        name: str,
        variants: dict[str, str],
        seconds: float,
        model: str = "lenet",
        batch_size: int = 16,
        where: str = "each-type",
        limit: str = "",
    ) -> None:
        sweep = fleet.folder / f"{name}.yaml"
        sweep.write_text(
            SWEEP.format(
                frameworks=", ".join(variants),
                variants=", ".join(f"{name}: [{each}]" for name, each in variants.items()),
                seconds=seconds,
                model=model,
                batch_size=batch_size,
                where=where,
                limit=limit,
            )
        )
        self.results = fleet.folder / name
        words = ("--address", fleet.address, "--results", str(self.results))
        self._running = fleet.velodrome("run", str(sweep), *words)
        self.output = ""
        for stream in (self._running.stdout, self._running.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def finish(self) -> list[dict]:
        """Wait for its end; return the rows, by attempt."""
        self._running.wait(400)
        found = pyarrow.dataset.dataset(self.results / "tasks", partitioning="hive").to_table()
        return sorted(found.to_pylist(), key=lambda row: row["attempt"])

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            self.output += line


def list_workers(fleet: NamespaceFleet, name: str) -> list[psutil.Process]:
    return [
        each for each in fleet.processes(name) if "velodrome.adapters.worker" in command_of(each)
    ]


def wait_for(happened: Callable[[], object], run: Run, within_s: float) -> float:
    """Return how many seconds it took."""
    began_s = time.monotonic()
    while not happened():
        assert time.monotonic() - began_s < within_s, run.output
        time.sleep(0.05)
    return time.monotonic() - began_s


def wait_for_timing(fleet: NamespaceFleet, run: Run) -> psutil.Process:
    """Return a process of the host that follows while both compute, of which it leads none."""
    busy_s = 6.0  # of processor time: more than importing torch takes
    found: list[psutil.Process] = []

    def computes() -> bool:
        found[:] = [
            each
            for each in list_workers(fleet, "two") + list_workers(fleet, "one")
            if "supervisor" not in command_of(each) and sum(each.cpu_times()[:2]) > busy_s
        ]
        return len(found) >= 2

    wait_for(computes, run, 200)
    following = [each for each in found if is_follower(each)]
    assert len(following) == 1, [command_of(each) for each in found]
    return following[0]


def is_follower(process: psutil.Process) -> bool:
    request = next(word for word in process.cmdline() if word.endswith("request.json"))
    return '"action": "follow"' in Path(request).read_text()


def test_two_hosts_agree_with_the_reference_of_the_whole_batch(fleet: NamespaceFleet) -> None:
    run = Run(fleet, "proven", {"torch": "eager", "jax": "jit"}, 0.2)
    rows = {row["framework"]: row for row in run.finish()}
    assert {row["status"] for row in rows.values()} <= {"ok", "unstable"}, run.output
    assert set(rows) == {"torch", "jax"}
    for row in rows.values():
        assert (row["nodes"], row["processes"], row["batch_size"]) == (2, 1, 16)
        assert row["gradient_error"] < 5e-5
        assert any(note.startswith("on 2 nodes, with ") for note in row["notes"])
    assert not [name for name in NAMES if list_workers(fleet, name)]


def test_a_process_that_is_killed_on_the_other_host_ends_all(fleet: NamespaceFleet) -> None:
    run = Run(fleet, "killed", {"torch": "eager"}, 60)
    victim = wait_for_timing(fleet, run)
    victim.send_signal(signal.SIGKILL)
    gone_s = wait_for(lambda: not any(list_workers(fleet, name) for name in NAMES), run, 30)
    (row,) = run.finish()
    assert row["status"] == "crashed", run.output
    assert "rank 1 of 2 at " in row["reason"]
    assert "SIGKILL" in row["reason"]
    assert gone_s < GONE_S + NOTICED_S


def test_a_host_whose_process_is_out_of_memory_is_named(fleet: NamespaceFleet) -> None:
    run = Run(fleet, "hungry", {"hungry": "float64"}, 5, limit=", memory: 1GiB")
    (row,) = run.finish()
    assert row["status"] == "out_of_memory", run.output
    (other,) = row["partner_hostnames"]
    assert row["reason"].startswith(f"{other}: used 1.")
    assert "the limit is 1.00 GiB" in row["reason"]
    assert row["peak_rss_bytes"] > 0.9 * 2**30
    assert not [name for name in NAMES if list_workers(fleet, name)]


def test_a_host_that_loses_power_is_noticed_and_the_task_runs_again(fleet: NamespaceFleet) -> None:
    run = Run(fleet, "power", {"torch": "eager"}, 6)
    victim = wait_for_timing(fleet, run)
    name = next(name for name in NAMES if victim.pid in {p.pid for p in fleet.processes(name)})
    other = next(each for each in NAMES if each != name)
    fleet.power_off(name)
    noticed_s = wait_for(lambda: not list_workers(fleet, other), run, 60)
    assert noticed_s < NOTICED_S + GONE_S
    fleet.boot([Host(name)])
    fleet.await_nodes([name])
    lost, again = run.finish()
    assert lost["status"] == "lost", run.output
    assert {lost["hostname"], *lost["partner_hostnames"]} == set(NAMES)
    assert again["status"] in ("ok", "unstable"), run.output
    assert (again["attempt"], again["nodes"]) == (2, 2)


def test_a_slow_link_between_two_of_four_hosts_is_named_and_no_other(fleet: NamespaceFleet) -> None:
    more = ("three", "four")
    fleet.add_nodes([Host(name) for name in more])
    try:
        try:
            fleet.slow_link("one", "three", "4mbit")
        except Refused as error:
            pytest.skip(f"this kernel limits no rates: {error}")
        run = Run(fleet, "pairs", {"torch": "eager"}, 0.2, "allreduce-256kib", 2, "each-pair")
        rows = run.finish()
    finally:
        for name in more:
            fleet.kill(name)
    pairs = [{row["hostname"], *row["partner_hostnames"]} for row in rows]
    assert len(pairs) == 6 == len(set(map(frozenset, pairs))), run.output
    asked = fleet.velodrome("report", "--results", str(run.results), "--outliers", "--json")
    named = json.loads(asked.communicate(timeout=60)[0])
    # Other tests use the same cores meanwhile, and a sound link may seem a little slower or faster.
    slow = [set(row["hostname"].split(" + ")) for row in named if row["median_ratio"] > 2]
    assert slow == [{"one", "three"}], named
