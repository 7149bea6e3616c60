"""Signals at any moment: the command ends cleanly and says so in one line."""

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.dataset
import pytest

pytestmark = pytest.mark.slow

ASKED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# Of each command and signal; ten of each take a quarter of an hour.
MOMENTS = int(os.environ.get("VELODROME_TEST_MOMENTS", "1"))
QUICK = (
    "models",
    "frameworks",
    "nodes",
    "doctor",
    "plan sweep.yaml",
    "report --results R",
    "query 'SELECT count(*) FROM tasks' --results R",
    "compare 'last repeat=0' 'last repeat=1' --results R",
    "envs list",
    "envs check numpy",
    "measure numpy autoencoder-400-200-100/ae3 --batch-size 2 --threads 1",
)
LINE = re.compile(r"velodrome: interrupted(; finished runs are kept\. Resume with: (.+))?\n")


def start(command, words: Sequence[str], ignored: Sequence[int] = ()) -> "subprocess.Popen[str]":
    """Wait until the process handles signals, which a starting interpreter does not."""

    def set_handlers() -> None:
        for number in ASKED:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    running = subprocess.Popen(
        [sys.executable, "-m", "velodrome.scheduler", *words],
        cwd=command.folder,
        env=dict(command.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=set_handlers,
    )
    wanted = [number for number in ASKED if number not in ignored]
    while running.poll() is None and not all(
        number in list_handled_signals(running.pid) for number in wanted
    ):
        time.sleep(0.002)
    return running


def list_handled_signals(pid: int) -> set[int]:
    """Return the signals that a process has a handler for."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return set()
    mask = int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE).group(1), 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def interrupt(running, number: int, after_s: float, again_after_s: float = -1.0) -> tuple[int, str]:
    """Return the status and stderr after one or two signals."""
    try:
        running.wait(after_s)
    except subprocess.TimeoutExpired:
        running.send_signal(number)
    if again_after_s >= 0:
        try:
            running.wait(again_after_s)
        except subprocess.TimeoutExpired:
            running.send_signal(number)
    _, err = running.communicate(timeout=30)
    return running.returncode, err


def count_rows(command) -> int:
    if not (command.folder / "R" / "tasks").exists():
        return 0
    return pyarrow.dataset.dataset(command.folder / "R" / "tasks").to_table().num_rows


@pytest.fixture(scope="module")
def swept(command):
    """Run a sweep of one row, so that readers have something to read."""
    command.tiny_sweep("asked", 8)
    running = start(command, ["run", "sweep.yaml", "--results", "R"])
    while count_rows(command) < 1 and running.poll() is None:
        time.sleep(0.05)
    status, err = interrupt(running, signal.SIGTERM, 0.0)
    assert status == 143
    assert LINE.fullmatch(err)
    return command, shlex.split(LINE.fullmatch(err).group(2))[1:]


@pytest.mark.full
def test_a_terminated_command_says_so_in_a_line_at_any_moment(swept) -> None:
    command, _ = swept
    moments = random.Random(20161104)
    for text in QUICK:
        for number in ASKED * MOMENTS:
            running = start(command, shlex.split(text))
            after_s = moments.uniform(0.0, 1.2)
            status, err = interrupt(running, number, after_s, moments.choice([-1.0, 0.0, 0.1]))
            if status != 128 + number:  # it was quicker
                assert status in (0, 1, 2), (text, number, after_s, status, err)
                assert "Traceback" not in err
                continue
            assert err == "velodrome: interrupted\n", (text, number, after_s, err)
    assert command.survivors() == []


@pytest.mark.parametrize("what", ["run", pytest.param("nightly", marks=pytest.mark.full)])
def test_a_repeatedly_terminated_sweep_loses_no_row(swept, what: str) -> None:
    command, again = swept
    words = again if what == "run" else ["nightly", "sweep.yaml", "--results", "R"]
    moments = random.Random(20161105)
    for number in ASKED * (2 * MOMENTS if what == "run" else MOMENTS):
        before = count_rows(command)
        running = start(command, words)
        after_s = moments.uniform(0.0, 7.0)
        status, err = interrupt(running, number, after_s, moments.choice([-1.0, 0.0, 0.3]))
        assert status == 128 + number, (number, after_s, err)
        assert LINE.fullmatch(err), (number, after_s, err)
        assert count_rows(command) >= before
        assert command.survivors() == []
        if resume := LINE.fullmatch(err).group(2):
            assert shlex.split(resume)[1:3] == ["run", "--resume"]


@pytest.mark.full
def test_signals_ignored_at_the_start_stay_ignored(swept) -> None:
    """nohup, cron and a parent's `trap '' TERM` ignore signals so."""
    command, _ = swept
    words = ["run", "sweep.yaml", "--results", "R2", "--only", "batch_size=2", "--budget", "9s"]
    running = start(command, words, ignored=ASKED)
    while running.poll() is None:
        for number in ASKED:
            running.send_signal(number)
        time.sleep(0.01)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert err == ""
    assert "all runs ended as expected" in out


def test_a_command_that_never_checks_for_signals_ends_too(tmp_path: Path) -> None:
    """A thread inside a C library sees no Python exception."""
    script = tmp_path / "stuck.py"
    script.write_text(
        "import hashlib\n"
        "from velodrome.scheduler import interrupts\n"
        "from velodrome.scheduler.entry import enter\n"
        "interrupts.GRACE_S = 0.3\n"
        "def stuck(standalone_mode):\n"
        "    print('stuck', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
        "enter(lambda: stuck)\n"
    )
    running = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout.readline() == "stuck\n"
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=20)
    assert running.returncode == 143
    assert err == "velodrome: interrupted\n"


def test_an_interrupt_swallowed_by_a_destructor_is_raised_again(tmp_path: Path) -> None:
    script = tmp_path / "swallowing.py"
    script.write_text(
        "import time\n"
        "from velodrome.scheduler.entry import enter\n"
        "class Slow:\n"
        "    def __del__(self):\n"
        "        print('in it', flush=True)\n"
        "        time.sleep(20)\n"
        "def swallow(standalone_mode):\n"
        "    Slow()\n"
        "    time.sleep(20)\n"
        "enter(lambda: swallow)\n"
    )
    running = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout.readline() == "in it\n"
    start_s = time.monotonic()
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (143, "velodrome: interrupted\n")
    assert time.monotonic() - start_s < 5
