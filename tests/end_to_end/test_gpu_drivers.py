"""Every command beside a GPU driver that hangs, one that is broken, and none at all.

What cannot run is refused at once: nothing is fetched or built for it.
"""

import re
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

SWEEP = "name: gpus\nframeworks: [torch]\nmodels: [lenet]\ndevices: [gpu]\n"
HUNG, BROKEN, ABSENT = "hung", "broken", "absent"
FAILS = {HUNG: "nvmlInitWithFlags=hangs", BROKEN: "nvmlInitWithFlags=18", ABSENT: ""}
# The fault and its remedy, as printed by every command that uses GPUs.
SAID = {
    HUNG: ("does not answer within 1 s", "VELODROME_GPU_DEADLINE_S"),
    BROKEN: ("(NVML 18)", "modprobe nvidia"),
    ABSENT: (),
}
# With the exit status if it is determined here: the doctor's depends on other findings too.
ABOUT_GPUS = {
    "nodes": 0,
    "nodes --json": 0,
    "doctor": None,
    "plan sweep.yaml": 1,
    "plan sweep.yaml --explain --json": 1,
    "measure torch lenet --device gpu": 1,
    "measure torch lenet --device gpu --json": 1,
    "run sweep.yaml --results results": 1,
}
OTHERS = {"nightly sweep.yaml --results nights": None, "envs list": 0, "frameworks": 0}
NO_BUILD = "envs build torch --accelerator gpu"


def command_with_driver(state: str, command, fake_driver: Path, folder: Path, deadline_s: int):
    """Return `velodrome` with a home of its own in which nothing is built."""
    (folder / "sweep.yaml").write_text(SWEEP)
    variables = {
        **command.variables,
        "VELODROME_HOME": str(folder / "home"),
        "VELODROME_GPU_DEADLINE_S": str(deadline_s),
        "LD_LIBRARY_PATH": str(folder if state == ABSENT else fake_driver),
        "FAKE_NVML": "NVIDIA L40S:2",
        "FAKE_NVML_FAILS": FAILS[state],
        "COLUMNS": "1000",
    }
    return replace(command, folder=folder, variables=variables)


@pytest.mark.parametrize(
    "state", [HUNG, *(pytest.param(state, marks=pytest.mark.full) for state in (BROKEN, ABSENT))]
)
def test_every_command_names_the_driver_fault_with_its_remedy_and_builds_nothing(
    state: str, command, fake_driver: Path, tmp_path: Path
) -> None:
    # All at once, on few cores: one that is slow to answer must not look like one that hangs.
    user = command_with_driver(
        state, command, fake_driver, tmp_path, deadline_s=1 if state == HUNG else 100
    )
    expected = {**ABOUT_GPUS, **OTHERS, **({} if state == ABSENT else {NO_BUILD: 4})}
    with ExitStack() as stack:
        started = {words: stack.enter_context(user.start(*words.split())) for words in expected}
        ended = {words: (*one.communicate(timeout=200), one) for words, one in started.items()}
    for words, (out, err, process) in ended.items():
        assert "Traceback" not in err, words
        if expected[words] is not None:
            assert process.returncode == expected[words], (words, err)
        if words not in OTHERS:
            output = " ".join((out + err).split())  # a table folds long text
            assert all(text in output for text in SAID[state]), (words, out, err)
    assert "no NVIDIA driver" in ended["doctor"][0] if state == ABSENT else True
    built = [entry for entry in tmp_path.glob("home/envs/*") if not entry.name.startswith(".")]
    assert built == []
    (row,) = re.findall(r'"reason": "(.*?)"', ended["measure torch lenet --device gpu --json"][0])
    assert row.startswith("1 GPU, and ")


def test_every_command_obeys_signals_while_a_driver_hangs(
    command, fake_driver: Path, tmp_path: Path
) -> None:
    user = command_with_driver(HUNG, command, fake_driver, tmp_path, deadline_s=300)
    typed = [
        "nodes",
        "doctor",
        "measure torch lenet --device gpu",
        "run sweep.yaml",
        "plan sweep.yaml",
    ]
    with ExitStack() as stack:
        started = [stack.enter_context(user.start(*words.split())) for words in typed]
        children = [_wait_for_hung_child(process.pid) for process in started]
        for turn, process in enumerate(started):
            process.send_signal((signal.SIGINT, signal.SIGTERM)[turn % 2])
        for words, process in zip(typed, started, strict=True):
            _, err = process.communicate(timeout=20)
            assert process.returncode != 0, words
            assert "Traceback" not in err, (words, err)
    _, left = psutil.wait_procs(children, 5)
    assert left == []


def _wait_for_hung_child(pid: int) -> psutil.Process:
    """Wait for the child process that hangs in the driver: it blocks SIGTERM then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            status = Path(f"/proc/{child.pid}/status").read_text()
            blocked = re.search(r"SigBlk:\s*(\w+)", status)
            if blocked and int(blocked[1], 16) & 1 << (signal.SIGTERM - 1):
                return child
        time.sleep(0.05)
    raise AssertionError("nobody asks the driver")
