"""Standard streams that are full, closed or no longer read: every command copes."""

import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset
import pytest

pytestmark = pytest.mark.slow

READERS = (
    "--help",
    "models",
    "models --json",
    "frameworks",
    "nodes --json",
    "plan sweep.yaml",
    "report --results R",
    "report --results R --csv",
    "report --results R --json",
    "query 'SELECT unnest(range(100000))' --results R --format csv",
    "query 'FROM tasks' --results R",
    "envs list",
)
FULL = "velodrome: standard output cannot be written (No space left on device)\n"
CLOSED = "velodrome: standard output cannot be written (Bad file descriptor)\n"


def shell(command, text: str, before: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a shell line in which `velodrome` is the command."""
    called = f'velodrome() {{ {shlex.quote(sys.executable)} -m velodrome.scheduler.cli "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{called}; set -o pipefail; {before} {text}"],
        cwd=command.folder,
        env=dict(command.variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows(command, results: str) -> int:
    return pyarrow.dataset.dataset(command.folder / results / "tasks").to_table().num_rows


@pytest.fixture(scope="module")
def swept(command):
    sweep = command.tiny_sweep("shown", 1)
    sweep.write_text(sweep.read_text() + "exclusive: false\n")  # tests beside it need not wait
    done = command.run("run", "sweep.yaml", "--results", "R")
    assert done.returncode == 0, done.stderr
    return command


@pytest.mark.full
@pytest.mark.parametrize("reader", READERS)
def test_a_reading_command_reports_a_full_disk_in_a_line_and_a_closed_pipe_with_status_0(
    swept, reader: str
) -> None:
    full = shell(swept, f"velodrome {reader} >/dev/full")
    assert (full.returncode, full.stderr) == (1, FULL)
    unread = shell(swept, f"velodrome {reader} | head -c 1 >/dev/null")
    assert (unread.returncode, unread.stderr) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_closed_streams_are_reported_like_full_ones(swept, closed: str) -> None:
    done = shell(swept, f"velodrome query 'FROM tasks' --results R {closed}")
    assert (done.returncode, done.stderr) == (1, CLOSED)


@pytest.mark.parametrize(
    ("redirected", "stderr"),
    [
        pytest.param("2>&1 | head -2 >/dev/null", "", marks=pytest.mark.full),
        (">/dev/full", FULL.replace("\n", "; the command continues\n")),
        pytest.param("<&- >&- 2>&-", "", marks=pytest.mark.full),
    ],
)
def test_a_sweep_continues_without_an_output(
    swept, tmp_path: Path, redirected: str, stderr: str
) -> None:
    done = shell(swept, f"velodrome run sweep.yaml --results {tmp_path}/R {redirected}")
    assert (done.returncode, done.stderr) == (0, stderr)
    assert rows(swept, f"{tmp_path}/R") == 1


@pytest.mark.full
@pytest.mark.parametrize("redirected", ["| true", ">/dev/full 2>&1", "--json >&- 2>/dev/null"])
def test_a_measurement_continues_without_an_output(swept, tmp_path: Path, redirected: str) -> None:
    words = "measure numpy autoencoder-400-200-100/ae3 --batch-size 2 --threads 1 --max-seconds 1"
    done = shell(swept, f"velodrome {words} --results {tmp_path}/R {redirected}")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(swept, f"{tmp_path}/R") == 1


@pytest.mark.full
@pytest.mark.parametrize("owner", ["its session", "nobody"])
def test_a_closed_terminal_ends_a_sweep_only_by_its_signal(
    swept, tmp_path: Path, owner: str
) -> None:
    hears_of_it = owner == "its session"
    terminal, inner = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "velodrome.scheduler", "run", "sweep.yaml", f"--results={tmp_path}"],
        cwd=swept.folder,
        env=dict(swept.variables),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        preexec_fn=_take_terminal if hears_of_it else None,
    )
    os.close(inner)
    seen = b""
    while b"starting" not in seen and b"sweep" not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    status = running.wait(60)
    assert status == (128 + signal.SIGHUP if hears_of_it else 0)
    assert hears_of_it or rows(swept, str(tmp_path)) == 1


@pytest.mark.full
def test_a_dead_tee_does_not_end_a_nightly_run(swept) -> None:
    done = shell(
        swept,
        "velodrome nightly sweep.yaml --results N --site S | { head -c 30 >/dev/null; exit 0; }",
    )
    assert done.returncode == 0, done.stderr
    assert rows(swept, "N") == 1
    assert (swept.folder / "S" / "index.html").exists()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
