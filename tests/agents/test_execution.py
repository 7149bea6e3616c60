"""One task on this node: each of its possible ends, with the reason and the evidence."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from velodrome.adapters.protocol import Finished, Hello, Phase, Timing
from velodrome.agents.cores.assignment import ResourceRequest
from velodrome.agents.cores.core_locks import lock_resources
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import Note, execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.isolation import orphans
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Limits, Task

pytestmark = pytest.mark.serial  # it holds cores and counts who waits for them
FAULTY = Path(__file__).parents[1] / "faulty"
NODE = take_inventory("this")
QUICK = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=2.0)
TASK = Task("numpy", "float64", "lenet", 2, timing=QUICK, limits=Limits(deadline_s=120))


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faulty ones too, each in the interpreter of the tests, which has NumPy."""
    monkeypatch.setenv("VELODROME_ADAPTERS", str(FAULTY))
    for name in ("numpy", *(folder.name for folder in FAULTY.iterdir())):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept for all tests here, so that the reference is computed once."""
    return tmp_path_factory.mktemp("home")


def run(
    task: Task, home: Path, on_event: Callable[[object], None] = lambda event: None
) -> Measurement:
    store = EnvironmentStore(home / "envs")
    return execute(task, node=NODE, repeat=1, attempt=2, environments=store, on_event=on_event)


def faulty(framework: str, **limits: float) -> Task:
    return replace(TASK, framework=framework, limits=Limits(**{"deadline_s": 120, **limits}))


def test_a_task_whose_model_has_none_of_its_phases_is_unsupported_and_times_nothing(
    home: Path,
) -> None:
    task = replace(TASK, model="lstm", phases=("load",))
    found = run(task, home)
    assert (found.status, found.times) == (Status.UNSUPPORTED, {})
    assert found.reason.startswith("lstm has no load: its examples are sequences of many lengths")


@pytest.mark.slow
def test_a_row_names_the_kernels_that_ran_and_the_shell_does_not_choose_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    first = run(TASK, home)
    assert [one.split()[0] for one in first.kernels] == ["openblas"]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    again = run(TASK, home)
    assert again.kernels == first.kernels
    assert not any("OPENBLAS_CORETYPE=Nehalem" in note for note in again.notes)


@pytest.mark.slow
def test_kernels_that_the_user_names_run_and_the_row_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sse4_2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs an x86 CPU")
    monkeypatch.setenv("VELODROME_OPENBLAS_CORETYPE", "Nehalem")
    ended = run(TASK, home)
    assert ended.status.has_number, ended.reason
    assert [one.split()[-1] for one in ended.kernels] == ["NEHALEM"]
    assert "OPENBLAS_CORETYPE=Nehalem, set by VELODROME_OPENBLAS_CORETYPE" in ended.notes


def test_a_successful_task_has_numbers_samples_and_readings(home: Path) -> None:
    events: list[object] = []
    long_enough_to_be_sampled = QUICK._replace(min_seconds=0.4)
    ended = run(replace(TASK, timing=long_enough_to_be_sampled), home, events.append)
    assert ended.status.has_number, ended.reason  # a noisy machine makes it unstable
    assert (ended.repeat, ended.attempt, ended.node_id) == (1, 2, "this")
    assert ended.forward is not None
    assert ended.gradient is not None
    assert 0 < ended.forward.median_ns < ended.gradient.median_ns
    timed = [sample for sample in ended.samples if sample.phase == "gradient"]
    assert len(timed) == ended.gradient.samples
    assert [sample.index for sample in timed] == list(range(len(timed)))
    assert ended.verified is not None
    assert ended.gradient_error is not None
    assert ended.gradient_error < 1e-9
    assert ended.framework_version[0].isdigit()
    assert ended.environment_hash
    assert ended.peak_rss_bytes is not None
    assert ended.peak_rss_bytes > 10**7
    assert {reading.phase for reading in ended.readings} >= {"forward", "gradient"}
    assert ended.provision_ns is not None
    assert 0 < ended.provision_ns < 10e9
    assert ended.started_at < ended.finished_at
    assert [type(event) for event in events[-1:]] == [Finished]


@pytest.mark.slow
def test_the_reference_is_computed_once(home: Path, tmp_path: Path) -> None:
    fresh: list[str] = []
    run(TASK, tmp_path, lambda event: fresh.append(event.text) if isinstance(event, Note) else None)
    again: list[str] = []
    run(TASK, tmp_path, lambda event: again.append(event.text) if isinstance(event, Note) else None)
    assert "computing the float64 reference of lenet b2" in fresh
    assert again == []
    kept = list((tmp_path / "references").iterdir())
    assert [file.suffix for file in sorted(kept)] == [".lock", ".npz", ".sha256"]


@pytest.mark.slow
def test_a_task_that_misses_its_target_is_unstable(home: Path) -> None:
    timing = Timing(target=1e-9, min_samples=5, min_seconds=0.0, max_seconds=0.2)
    ended = run(replace(TASK, timing=timing), home)
    assert ended.status is Status.UNSTABLE
    # Too wide; on a busy machine the samples may say why before their width does.
    reasons = (
        "1e-07 % after 0.2 s",
        "within 0.2 s",
        "bimodal samples",
        "low-frequency noise",
        "the speed changed",
    )
    assert any(reason in ended.reason for reason in reasons)
    assert "gradient" in ended.reason
    assert ended.gradient is not None and not ended.gradient.stable


def test_a_segfault_is_crashed_with_the_signal_and_the_phase(home: Path) -> None:
    ended = run(faulty("segfaults"), home)
    assert ended.status is Status.CRASHED
    assert ended.reason == "killed by SIGSEGV (segmentation fault) in phase verify"
    assert "about to fault" in ended.log_tail
    assert ended.build_ns is not None
    assert ended.forward is None
    assert ended.rerun == (
        "velodrome measure segfaults lenet --variant float64 --batch-size 2 --device cpu "
        "--threads 1 --target 0.9 --min-samples 3 --min-seconds 0 --max-seconds 2 --deadline 120s"
    )


@pytest.mark.slow
def test_a_hang_is_timed_out_with_the_phase(home: Path) -> None:
    began = time.monotonic()
    ended = run(faulty("hangs", deadline_s=4.0), home)
    assert ended.status is Status.TIMED_OUT
    assert ended.reason == "not finished after 4 s: in phase warmup"
    assert ended.log_tail.endswith("hanging")
    assert ended.verified is not None
    assert time.monotonic() - began < 8.0


@pytest.mark.slow
def test_too_much_memory_is_out_of_memory_with_the_peak(home: Path) -> None:
    ended = run(faulty("exhausts_memory", memory_bytes=400 * 2**20), home)
    assert ended.status is Status.OUT_OF_MEMORY
    assert ended.reason.startswith("used 0.")
    assert ended.reason.endswith(" GiB, the limit is 0.39 GiB: in phase build")
    assert ended.peak_rss_bytes is not None


@pytest.mark.slow
def test_a_gigabyte_of_output_spoils_neither_the_number_nor_the_disk(home: Path) -> None:
    ended = run(faulty("floods_stdout"), home)
    assert ended.status.has_number, ended.reason
    assert len(ended.log_tail) <= 8192
    assert ended.log_tail.endswith("the flood is over\nand a red end")


def test_a_framework_that_cannot_be_imported_is_environment_failed(home: Path) -> None:
    ended = run(faulty("missing_import"), home)
    assert ended.status is Status.ENVIRONMENT_FAILED
    assert "no_such_framework" in ended.reason
    assert "Traceback" in ended.log_tail
    assert ended.log_tail.count("Traceback") == 1


def test_orphaned_processes_are_killed_and_noted(home: Path) -> None:
    ended = run(faulty("forks"), home)
    assert ended.status.has_number, ended.reason
    assert "3 processes outlived the worker and were killed" in ended.notes


def test_a_file_that_is_no_interpreter_is_environment_failed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELODROME_PYTHON_FORKS", "/no/such/python")
    ended = run(faulty("forks"), home)
    assert ended.status is Status.ENVIRONMENT_FAILED
    assert "VELODROME_PYTHON_FORKS names /no/such/python" in ended.reason


def test_a_framework_that_this_node_does_not_have_is_named(home: Path) -> None:
    ended = run(faulty("hang"), home)
    assert ended.status is Status.ENVIRONMENT_FAILED
    assert "Did you mean 'hangs'?" in ended.reason


def test_a_task_that_never_fits_is_unplaceable(home: Path) -> None:
    ended = run(replace(TASK, threads=NODE.logical + 1), home)
    assert ended.status is Status.UNPLACEABLE
    assert "threads, and" in ended.reason


def test_an_unplaceable_task_is_refused_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The framework's interpreter does not exist, so that starting it would fail."""
    monkeypatch.setenv("VELODROME_PYTHON_NUMPY", "/not/there")
    hopeless = {
        "1 GPU, and": replace(TASK, device="gpu", gpu_count=1),
        "threads, and": replace(TASK, threads=NODE.logical + 1),
        "GiB of memory, and": replace(TASK, limits=Limits(memory_bytes=2 * NODE.ram_bytes)),
    }
    for reason, task in hopeless.items():
        ended = run(task, tmp_path / "home")
        assert (ended.status, reason in ended.reason) == (Status.UNPLACEABLE, True), ended.reason
    monkeypatch.setenv("VELODROME_LOCKS", "/proc/locks-of-cores")
    ended = run(TASK, tmp_path / "home")
    assert (ended.status, "cannot be locked" in ended.reason) == (Status.UNPLACEABLE, True)
    assert not (tmp_path / "home").exists()


def test_a_variant_that_the_adapter_refuses_is_unsupported(home: Path) -> None:
    ended = run(replace(TASK, variant="float16"), home)
    assert ended.status is Status.UNSUPPORTED
    assert "float16" in ended.reason


@pytest.mark.slow
def test_a_task_whose_supervisor_is_stopped_has_a_row_that_says_so(home: Path) -> None:
    stopped: list[int] = []

    def stop(event: object) -> None:
        if isinstance(event, Phase) and event.name == "forward" and not stopped:
            guards = [
                one for one in psutil.Process().children() if "supervisor" in str(one.cmdline())
            ]
            supervisors = [supervisor for guard in guards for supervisor in guard.children()]
            stopped.extend(one.pid for one in (*supervisors, *guards))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

    ended = run(TASK, home, stop)
    assert stopped
    assert ended.status in (Status.OK, Status.UNSTABLE)
    assert "another process stopped its supervisor, which was then continued" in ended.notes
    assert not any(map(psutil.pid_exists, stopped))
    with lock_resources(NODE, ResourceRequest(threads=1), deadline_s=0, on_wait=print):
        pass


@pytest.mark.slow
def test_a_worker_that_a_signal_stops_is_ended_and_says_so(home: Path) -> None:
    stopped: list[int] = []

    def stop(event: object) -> None:
        if isinstance(event, Hello):
            stopped.append(event.pid)
        if isinstance(event, Phase) and event.name == "forward":
            os.kill(stopped[0], signal.SIGSTOP)

    began_s = time.monotonic()
    ended = run(TASK, home, stop)
    assert ended.status is Status.CRASHED
    assert ended.reason.startswith("a signal stopped the worker, which was killed after 2 s: ")
    assert not psutil.pid_exists(stopped[0])
    assert time.monotonic() - began_s < 30  # its deadline is 120 s


@pytest.mark.slow
def test_a_task_that_waits_for_cores_names_the_holder_and_gives_up_in_time(home: Path) -> None:
    run(TASK, home)  # so that the reference is there
    notes: list[str] = []
    holding = lock_resources(NODE, ResourceRequest(threads=1), deadline_s=0, on_wait=notes.append)
    with holding:
        ended = execute(
            TASK,
            node=NODE,
            repeat=0,
            attempt=1,
            environments=EnvironmentStore(home / "envs"),
            on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
            locks_deadline_s=0.3,
        )
    assert notes == [note for note in notes if f"held by pid {os.getpid()} (" in note] != []
    assert ended.status is Status.UNPLACEABLE
    assert "not free in time" in ended.reason
    assert ended.waited_ns == 300_000_000


def test_waiting_for_other_tasks_is_recorded_apart_from_a_tasks_own_time(home: Path) -> None:
    run(TASK, home)  # so that the reference is there
    with ExitStack() as holding:
        holding.enter_context(
            lock_resources(
                NODE, ResourceRequest(threads=1), deadline_s=0, on_wait=lambda text: None
            )
        )
        threading.Timer(0.5, holding.close).start()
        ended = run(TASK, home)
    assert ended.status.has_number
    assert ended.waited_ns is not None
    assert 0.2e9 < ended.waited_ns < 1e9 * (ended.finished_at - ended.started_at)


def test_a_full_disk_is_a_result_and_not_an_exception(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(TASK, home)
    monkeypatch.setattr("tempfile.tempdir", "/proc/no-files-here")
    ended = run(TASK, home)
    assert ended.status is Status.CRASHED
    assert ended.reason.startswith("the worker could not be started: its files cannot be created")


class Stop(BaseException):
    """An interrupt like KeyboardInterrupt, at a moment that a test chooses."""


def test_an_interrupt_kills_the_worker_and_is_raised_again(home: Path) -> None:
    hello: list[Hello] = []

    def interrupt(event: object) -> None:
        if isinstance(event, Hello):
            hello.append(event)
        if isinstance(event, Phase) and event.name == "verify":
            raise Stop

    with pytest.raises(Stop):
        run(faulty("forks"), home, interrupt)
    assert not Path(f"/proc/{hello[0].pid}").exists()


AGENT = """
import sys
from pathlib import Path
from velodrome.adapters.protocol import Hello, Phase, Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.task import Task
task = Task("forks", "float64", "lenet", 2, timing=Timing(max_seconds=60.0, min_seconds=50.0))
def tell(event):
    if isinstance(event, Hello): print(event.pid, flush=True)
    if isinstance(event, Phase) and event.name == "verify": print("verify", flush=True)
execute(task, node=take_inventory(), repeat=0, attempt=1,
        environments=EnvironmentStore(Path(sys.argv[1])), on_event=tell)
"""


@pytest.mark.slow
def test_no_process_of_a_task_survives_the_sigkill_of_its_agent(home: Path) -> None:
    run(TASK, home)
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(home / "envs")], stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout is not None
    worker = int(agent.stdout.readline())
    assert agent.stdout.readline() == "verify\n"
    variables = Path(f"/proc/{worker}/environ").read_text().split("\0")
    token = next(v for v in variables if v.startswith(orphans.VARIABLE)).partition("=")[2]
    assert len(orphans.find_tree(token)) == 4
    agent.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    while orphans.find_tree(token) and time.monotonic() < killed + 10:
        time.sleep(0.01)
    assert time.monotonic() - killed < 2.0
    agent.wait(10)
    agent.stdout.close()
    with lock_resources(
        NODE, ResourceRequest(threads=1), deadline_s=5.0, on_wait=lambda story: None
    ):
        pass
