"""`-` in place of a sweep file: `plan`, `run` and `nightly` read it from standard input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = """
name: typed
frameworks: [numpy]
models: [lenet]
threads: [1]
labels: {pool: none}
"""


def velodrome(folder: Path, *words: str, given: bytes | None) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", *words],
        input=given,
        stdin=None if given is not None else subprocess.DEVNULL,
        capture_output=True,
        cwd=folder,
        env=os.environ | {"VELODROME_PYTHON_NUMPY": sys.executable},
        check=False,
    )
    streams = (stream.decode() for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *streams)


def test_a_plan_is_that_of_the_same_text_in_a_file(tmp_path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    typed = velodrome(tmp_path, "plan", "-", "--json", given=SWEEP.encode())
    of_file = velodrome(tmp_path, "plan", "sweep.yaml", "--json", given=None)
    assert json.loads(typed.stdout) == json.loads(of_file.stdout) != []


def test_a_sweep_from_standard_input_runs_and_resumes(tmp_path) -> None:
    first = velodrome(tmp_path, "run", "-", "--json", given=SWEEP.encode())
    assert [row["status"] for row in json.loads(first.stdout)] == ["unplaceable"], first.stderr
    again = velodrome(tmp_path, "run", "--resume", "last", "--json", given=None)
    assert json.loads(again.stdout) == json.loads(first.stdout)


@pytest.mark.full
def test_a_nightly_run_from_standard_input_is_found_by_its_name(tmp_path) -> None:
    nameless = SWEEP.replace("name: typed\n", "")
    refused = velodrome(tmp_path, "nightly", "-", given=nameless.encode())
    assert refused.returncode == 2
    assert "standard input: it has no name" in refused.stderr
    velodrome(tmp_path, "nightly", "-", given=SWEEP.encode())
    assert "of typed" in (tmp_path / "site" / "summary.txt").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "standard input:1:1: the file is empty"),
        (b"frameworks: [nunpy]\nmodels: [lenet]\n", "standard input:1:14: no such framework"),
        (b"name: \xff\n", "standard input:1:7: byte 0xff is not UTF-8"),
        (b"#" * 300_000, "standard input: the file is larger than 256 KiB"),
    ],
)
def test_an_error_in_standard_input_has_its_place(tmp_path, given: bytes, message: str) -> None:
    done = velodrome(tmp_path, "plan", "-", given=given)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_closed_standard_input_is_reported_without_a_traceback(tmp_path) -> None:
    words = [sys.executable, "-m", "velodrome.scheduler.cli", "plan", "-"]
    line = f"{' '.join(words)} <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("velodrome: standard input:1:1: the file is empty")


def test_a_plan_from_standard_input_says_how_to_run_it(tmp_path) -> None:
    done = velodrome(tmp_path, "plan", "/dev/stdin", given=SWEEP.encode())
    assert "Name a file, or - for standard input." in done.stderr
