"""The batch size `auto` on this node: real workers, each under a real memory limit."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.batch_search.kept_sizes import FOLDER
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import Note, execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import AUTO, Limits, Task

pytestmark = [pytest.mark.serial, pytest.mark.slow]  # it holds cores
FAULTY = Path(__file__).parents[1] / "faulty"
NODE = take_inventory("this")
QUICK = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=2.0)
MODEL = "autoencoder-400-200-100/ae3"
MIB = 2**20
# 270 MiB for a try: an interpreter with NumPy takes up to 90, each example 8. So 20 fit at least.
LIMIT = 300 * MIB
LEAST, MOST = 20, 28
TASK = Task(
    "heavy",
    "float64",
    MODEL,
    0,
    timing=QUICK,
    limits=Limits(deadline_s=120, memory_bytes=LIMIT),
    batch_size_rule=AUTO,
)


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faulty ones too, each in the interpreter of the tests, which has NumPy."""
    monkeypatch.setenv("VELODROME_ADAPTERS", str(FAULTY))
    for name in ("numpy", *(folder.name for folder in FAULTY.iterdir())):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)


class Notes:
    """The notes that an agent reports while no worker measures."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, event: object) -> None:
        if isinstance(event, Note):
            self.texts.append(event.text)

    @property
    def tries(self) -> list[str]:
        return [text for text in self.texts if text.startswith("batch size ")]


def run(task: Task, home: Path, on_event: Callable[[object], None]) -> Measurement:
    store = EnvironmentStore(home / "envs")
    return execute(task, node=NODE, repeat=0, attempt=1, environments=store, on_event=on_event)


def kept(home: Path) -> list[dict[str, object]]:
    return [json.loads(file.read_text()) for file in (home / FOLDER).glob("*.json")]


def workers() -> list[psutil.Process]:
    """The workers that this process has started, through their supervisors."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "velodrome.adapters.worker" in child.cmdline():
                found.append(child)
    return found


class Killer(Notes):
    """Kills the worker of the search's third try from outside, as an administrator might."""

    def __init__(self) -> None:
        super().__init__()
        self.killed: list[int] = []

    def __call__(self, event: object) -> None:
        super().__call__(event)
        if len(self.tries) == 2 and not self.killed:
            self.killed.append(0)
            threading.Thread(target=self._kill_next).start()

    def _kill_next(self) -> None:
        until_s = time.monotonic() + 10.0
        while time.monotonic() < until_s:
            for worker in workers():
                with suppress(psutil.Error):
                    worker.send_signal(signal.SIGKILL)
                    self.killed[0] = worker.pid
                    return
            time.sleep(0.005)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the tests of this module, so that references are computed once."""
    return tmp_path_factory.mktemp("home")


def forget(home: Path) -> None:
    for file in (home / FOLDER).glob("*"):
        file.unlink()


def test_the_largest_size_that_fits_is_measured_and_kept(home: Path) -> None:
    forget(home)
    notes = Notes()
    ended = run(TASK, home, notes)
    assert ended.status.has_number, ended.reason
    assert ended.verified is not None
    size = ended.task.batch_size
    assert LEAST <= size <= MOST
    assert ended.task.batch_size_rule == AUTO
    assert ended.task.key == TASK.key
    assert f"--batch-size {size} " in ended.rerun
    note = next(note for note in ended.notes if note.startswith("batch size auto"))
    assert f": {size} is the largest that fits; " in note
    assert "90% of the task's limit of 0.29 GiB" in note
    assert len(notes.tries) > 3
    assert [(each["batch_size"], each["about"]) for each in kept(home)] == [
        (size, f"{TASK.label}, {ended.environment_hash}")
    ]

    again = Notes()
    repeated = run(TASK, home, again)
    assert again.tries == []
    assert repeated.task == ended.task
    assert note in repeated.notes


def test_a_size_that_another_node_of_the_type_found_is_taken_without_a_search(home: Path) -> None:
    forget(home)
    notes = Notes()
    ended = run(replace(TASK, batch_size=6), home, notes)
    assert ended.status.has_number, ended.reason
    assert (ended.task.batch_size, notes.tries, kept(home)) == (6, [], [])
    assert any("found on another node of this type" in note for note in ended.notes)


@pytest.mark.parametrize(("given", "taken"), [(2, {2}), (LEAST, {*range(1, LEAST)})])
def test_a_size_of_another_node_is_tried_where_less_memory_is_available(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: int, taken: set[int]
) -> None:
    """150 MiB for a try: less than LEAST examples of 8 MiB."""
    forget(home)
    less = psutil.virtual_memory()._replace(available=int(150 * MIB / 0.9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: less)
    notes = Notes()
    ended = run(replace(TASK, batch_size=given), home, notes)
    assert notes.tries[0].startswith(f"batch size {given} of ")
    assert notes.tries[0].endswith(": fits") == (given in taken)
    assert ended.status.has_number, ended.reason
    assert ended.task.batch_size in taken
    assert kept(home) == []


def test_another_limit_is_another_search(home: Path) -> None:
    notes = Notes()
    smaller = replace(TASK, limits=Limits(deadline_s=120, memory_bytes=LIMIT - 100 * MIB))
    ended = run(smaller, home, notes)
    assert ended.status.has_number, ended.reason
    assert 0 < ended.task.batch_size < LEAST
    assert notes.tries
    assert ended.task.key == TASK.key


def test_a_worker_that_is_killed_during_the_search_does_not_make_the_size_smaller(
    home: Path,
) -> None:
    forget(home)
    killer = Killer()
    ended = run(TASK, home, killer)
    assert killer.killed[0]
    assert killer.tries[2].endswith(": fits")
    assert ended.status.has_number, ended.reason
    assert LEAST <= ended.task.batch_size <= MOST


class Stop(BaseException):
    """An interrupt like KeyboardInterrupt, at a moment that a test chooses."""


def test_an_interrupted_search_keeps_nothing_and_leaves_no_worker(home: Path) -> None:
    forget(home)

    def interrupt(event: object) -> None:
        if isinstance(event, Note) and event.text.startswith("batch size "):
            raise Stop

    with pytest.raises(Stop):
        run(TASK, home, interrupt)
    assert kept(home) == []
    assert workers() == []


def test_where_not_even_one_example_fits_the_row_says_so(home: Path) -> None:
    tiny = replace(TASK, limits=Limits(deadline_s=120, memory_bytes=20 * MIB))
    ended = run(tiny, home, Notes())
    assert ended.status is Status.OUT_OF_MEMORY
    assert ended.reason.startswith("not even a batch of 1: used 0.0")
    assert "the limit is 0.02 GiB" in ended.reason
    assert ended.task.batch_size == 0
    assert "--batch-size auto " in ended.rerun


def test_a_batch_whose_calls_do_not_fit_the_time_is_not_measured(home: Path) -> None:
    brief = replace(
        TASK,
        framework="sleepy",  # 0.4 s a gradient
        model="gpt2-tiny",  # whose own batch size is 2
        timing=QUICK._replace(max_seconds=0.9),
        limits=Limits(deadline_s=120),
    )
    ended = run(brief, home, Notes())
    assert ended.status is Status.TIMED_OUT
    assert ended.reason.startswith("not even a batch of 1: a call takes ")
    assert "only 0.3 s leave time" in ended.reason


def test_what_no_size_can_mend_ends_the_search_at_once(home: Path) -> None:
    notes = Notes()
    ended = run(replace(TASK, dtype="float16"), home, notes)
    assert ended.status is Status.UNSUPPORTED
    assert "float16" in ended.reason
    assert notes.tries == []
