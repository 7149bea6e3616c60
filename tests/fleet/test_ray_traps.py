"""Behaviour of Ray that would spoil a benchmark, and Velodrome's answers to it.

Each trap is asked of a real Ray: where one of these fails after an upgrade, Ray has changed, and
what was built around the trap is to be looked at again.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from driver_session import Session
from namespace_fleet import NamespaceFleet

pytestmark = [pytest.mark.slow, pytest.mark.full]

CONNECT = "import ray; ray.init(log_to_driver=False)"
REFUSED_S = 50.0  # Ray tries for 30 s by itself
GONE_S = 2.0  # what the design promises

OUTCOME = """
import os, signal, subprocess, sys, time
from pathlib import Path

def outcome(reference, within_s=20.0):
    try:
        return ray.get(reference, timeout=within_s)
    except ray.exceptions.RayError as error:
        return type(error).__name__

def wait_for(path):
    deadline = time.monotonic() + 20
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return Path(path).exists()
"""


def has_word(process: psutil.Process, word: str) -> bool:
    try:
        return word in process.cmdline()
    except psutil.Error:
        return False


def wait_until_empty(
    listed: Callable[[], list[psutil.Process]], within_s: float
) -> list[psutil.Process]:
    """Poll until the list is empty or the time is over, and return it."""
    deadline = time.monotonic() + within_s
    while (found := listed()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    made = new_fleet()
    made.start_head()
    made.add_node("node", cores=1, gpus="NVIDIA A100-SXM4-80GB:2")
    return made


@pytest.fixture(scope="module")
def strangers(fleet: NamespaceFleet) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Start drivers with a wrong token and with none, which wait while other tests run."""
    forged = fleet.folder / "forged"
    forged.write_text("f" * 64)
    connect = (sys.executable, "-c", CONNECT)
    with_other = {"RAY_AUTH_TOKEN_PATH": str(forged)}
    without = {"RAY_AUTH_MODE": "disabled"}
    yield {
        "other token": fleet.driver(*connect, variables=with_other),
        "no token": fleet.driver(*connect, variables=without),
    }


@pytest.fixture(scope="module")
def session(fleet: NamespaceFleet, strangers: object) -> Session:
    made = fleet.session()
    made.run_script(OUTCOME)
    return made


def test_ray_retries_a_task_unless_retries_are_forbidden(session: Session, tmp_path: Path) -> None:
    script = """
    @ray.remote
    def start_and_die(path):
        with open(path, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    forbidden = outcome(start_and_die.options(max_retries=0).remote(path))
    answer = [forbidden, len(Path(path).read_text())]
    unasked = start_and_die.remote(path + "again")
    wait_for(path + "again")
    deadline = time.monotonic() + 20
    while len(Path(path + "again").read_text()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    answer.append(len(Path(path + "again").read_text()))
    ray.cancel(unasked, force=True)
    """
    forbidden, once, unasked = session.run_script(script, path=str(tmp_path / "starts"))
    assert (forbidden, once) == ("WorkerCrashedError", 1)
    assert unasked > 1


def test_a_task_that_fits_nowhere_hangs_silently_unless_bound_to_a_node(
    fleet: NamespaceFleet, session: Session
) -> None:
    script = """
    @ray.remote(num_cpus=64)
    def never(): ...

    bound = outcome(never.options(scheduling_strategy=on(node)).remote())
    unbound = never.remote()
    ready, _ = ray.wait([unbound], timeout=2)
    ray.cancel(unbound)
    answer = [bound, len(ready)]
    """
    assert session.run_script(script, node=fleet.ip("node")) == ["TaskUnschedulableError", 0]


def test_a_task_bound_to_a_dead_node_fails_at_once(session: Session) -> None:
    script = """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote
    def anything(): ...

    gone = NodeAffinitySchedulingStrategy("ab" * 28, soft=False)
    answer = outcome(anything.options(scheduling_strategy=gone).remote(), 5.0)
    """
    assert session.run_script(script) == "TaskUnschedulableError"


def test_a_forced_cancellation_ends_a_task_but_does_not_always_report_it(
    session: Session, tmp_path: Path
) -> None:
    """Ray kills the task's children first: sometimes the task returns a result of that.

    So nothing that follows a cancellation is a result.
    """
    script = """
    @ray.remote(max_retries=0)
    def run_a_child(path):
        child = subprocess.Popen(["sleep", "600"])
        Path(path).touch()
        return child.wait()

    running = run_a_child.remote(path)
    wait_for(path)
    ray.cancel(running, force=True)
    answer = outcome(running)
    """
    answer = session.run_script(script, path=str(tmp_path / "started"))
    assert answer in ("TaskCancelledError", "WorkerCrashedError", -9)


def test_a_gentle_cancellation_ends_only_a_task_that_polls(
    session: Session, tmp_path: Path
) -> None:
    script = """
    @ray.remote(max_retries=0)
    def block(path):
        child = subprocess.Popen(["sleep", "600"])
        Path(path).touch()
        child.wait()

    @ray.remote(max_retries=0)
    def poll(path):
        Path(path).touch()
        while not Path(path + "-stop").exists():
            time.sleep(0.05)

    # A task is cancelled once: the answers to two cancellations race in Ray, and where the second
    # is the later one the driver is aborted ("not pending"). One that meets Ray's own code in the
    # worker is lost now and then: then another task is cancelled.
    for number in range(6):
        own = path + "polling" + str(number)
        polling = poll.remote(own)
        wait_for(own)
        time.sleep(0.2)  # until it polls
        ray.cancel(polling)
        polled = outcome(polling, 5.0)
        if polled != "GetTimeoutError":
            break
        Path(own + "-stop").touch()  # others need its core
        outcome(polling)
    blocking = block.remote(path + "blocking")
    wait_for(path + "blocking")
    ray.cancel(blocking)
    blocked = outcome(blocking, 2.0)
    ray.cancel(blocking, force=True)
    outcome(blocking)
    answer = [polled, blocked]
    """
    polled, blocked = session.run_script(script, path=str(tmp_path / "started-"))
    assert "TaskCancelledError" in polled
    assert blocked == "GetTimeoutError"


def test_streamed_values_arrive_even_if_the_worker_was_killed(session: Session) -> None:
    script = """
    @ray.remote(max_retries=0, num_returns="streaming")
    def stream():
        yield "first"
        yield "second"
        time.sleep(0.5)  # until they are on their way: what is yielded is sent a moment later
        os.kill(os.getpid(), signal.SIGKILL)
        yield "never"

    answer = [outcome(item) for item in stream.remote()]
    """
    assert session.run_script(script) == ["first", "second", "WorkerCrashedError"]


# A child of a task; its own child starts a new session and reports.
FAMILY = """
import os, sys, time
if os.fork():
    time.sleep(600)
os.setsid()
open(sys.argv[1], "w").close()
time.sleep(600)
"""
WITHOUT_KEEPER = """
@ray.remote(max_retries=0)
def start(command, path):
    subprocess.Popen(command, start_new_session=True)
    wait_for(path)
    os.kill(os.getpid(), signal.SIGKILL)

command = [sys.executable, "-S", "-c", family, path]
answer = outcome(start.options(scheduling_strategy=on(node)).remote(command, path))
"""
UNDER_KEEPER = WITHOUT_KEEPER.replace(
    "subprocess.Popen(command, start_new_session=True)",
    "from velodrome.agents.isolation.supervised import run_supervised; "
    "family = run_supervised(command, os.environ, Path(path + '.log')); family.__enter__()",
)


def count_orphans(fleet: NamespaceFleet, session: Session, script: str, path: Path) -> int:
    """Count the task's child processes that outlive its worker, then end them."""
    values = {"node": fleet.ip("node"), "family": FAMILY, "path": str(path)}
    assert session.run_script(script, **values) == "WorkerCrashedError"
    assert path.exists()
    left = wait_until_empty(
        lambda: [one for one in fleet.processes("node") if has_word(one, str(path))], GONE_S
    )
    for process in left:
        process.kill()
    return len(left)


def test_a_process_outside_a_killed_workers_session_survives_it(
    fleet: NamespaceFleet, session: Session, tmp_path: Path
) -> None:
    assert count_orphans(fleet, session, WITHOUT_KEEPER, tmp_path / "up") > 0


def test_no_supervised_process_survives_a_killed_worker(
    fleet: NamespaceFleet, session: Session, tmp_path: Path
) -> None:
    assert count_orphans(fleet, session, UNDER_KEEPER, tmp_path / "up") == 0


def test_ray_numbers_gpus_and_the_driver_counts_them(
    fleet: NamespaceFleet, session: Session
) -> None:
    """So an agent names GPUs by UUID and ignores Ray's CUDA_VISIBLE_DEVICES."""
    script = """
    @ray.remote(num_gpus=1, num_cpus=0)
    def look():
        from velodrome.agents.inventory import take_inventory
        return [os.environ["CUDA_VISIBLE_DEVICES"], [gpu.index for gpu in take_inventory().gpus]]

    answer = ray.get(look.remote())
    """
    visible, listed = session.run_script(script)
    assert visible in ("0", "1")
    assert listed == [0, 1]


def test_a_node_has_the_gpus_that_its_ray_was_given(fleet: NamespaceFleet) -> None:
    """Not those that Ray shows the one task, and not all that the driver counts."""
    given = {"CUDA_VISIBLE_DEVICES": "1,2"}
    fleet.add_node(
        "job", cores=1, gpus="NVIDIA L40S:3", variables=given, ray_words=("--num-gpus=1",)
    )
    shown = fleet.velodrome("nodes", "--address", fleet.address, "--json")
    by_host = {node["hostname"]: node for node in json.loads(shown.communicate(timeout=90)[0])}
    fleet.kill("job")
    assert [gpu["index"] for gpu in by_host["job"]["gpus"]] == [1]
    assert "2 of 3 GPUs belong" in by_host["job"]["gpu_note"]
    assert "1 of 2 GPUs belongs to this allotment (Ray counts 1)" in by_host["job"]["gpu_note"]
    assert by_host["node"]["gpu_note"] == ""


def test_a_task_without_cpus_runs_on_a_fully_used_node(
    fleet: NamespaceFleet, session: Session, tmp_path: Path
) -> None:
    script = """
    @ray.remote(max_retries=0)
    def own(path):
        Path(path).touch()
        while True:
            time.sleep(0.05)

    @ray.remote
    def visit():
        return True

    owner = own.options(num_cpus=1, num_gpus=2, scheduling_strategy=on(node)).remote(path)
    wait_for(path)
    weightless = outcome(visit.options(num_cpus=0, scheduling_strategy=on(node)).remote())
    weighty = visit.options(num_cpus=1, scheduling_strategy=on(node)).remote()
    ready, _ = ray.wait([weighty], timeout=1)
    ray.cancel(owner, force=True)  # a gentle one is lost now and then
    answer = [weightless, len(ready), outcome(weighty)]
    """
    answer = session.run_script(script, node=fleet.ip("node"), path=str(tmp_path / "owned"))
    assert answer == [True, 0, True]  # the other one as soon as the node is free


def test_a_node_without_a_label_matches_a_label_that_must_differ(
    fleet: NamespaceFleet, session: Session
) -> None:
    script = """
    @ray.remote(num_cpus=0, label_selector={"ray.io/accelerator-type": "!A100"})
    def where():
        return ray.util.get_node_ip_address()

    answer = ray.get(where.remote())
    """
    assert session.run_script(script) == fleet.ip("head")


@pytest.mark.parametrize("stranger", ["other token", "no token"])
def test_a_driver_without_the_token_is_refused(
    strangers: dict[str, "subprocess.Popen[str]"], stranger: str
) -> None:
    _, err = strangers[stranger].communicate(timeout=REFUSED_S)
    assert strangers[stranger].returncode == 1
    assert "InvalidAuthToken" in err
