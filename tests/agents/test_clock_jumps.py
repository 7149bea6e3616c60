"""The wall clock is set while a task runs: no duration may be taken from it."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("jumping_clock.c")


@pytest.fixture
def jumping(tmp_path: Path) -> dict[str, str]:
    """The variables of a host with such a clock."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("the clock is stood in for by a library of C, and there is no compiler")
    library = tmp_path / "jumping_clock.so"
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)]
    subprocess.run(words, check=True)
    home = str(tmp_path / "home")
    variables = {"VELODROME_PYTHON_NUMPY": sys.executable, "VELODROME_HOME": home}
    return {**os.environ, **variables, "LD_PRELOAD": str(library)}


def test_the_fake_clock_jumps(jumping: dict[str, str]) -> None:
    script = (
        "import time; found = set(); end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end: found.add(round(time.time() - %f, -3)); time.sleep(0.01)\n"
        "print(len(found))" % time.time()
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], env=jumping, capture_output=True, text=True
    )
    assert int(ran.stdout) >= 2, ran.stderr


@pytest.mark.slow
def test_the_duration_of_a_task_ignores_jumps_of_the_clock(jumping: dict[str, str]) -> None:
    words = ["numpy", "lenet", "--batch-size", "2", "--threads", "1", "--json"]
    timing = ["--target", "0.5", "--min-samples", "3", "--min-seconds", "1", "--max-seconds", "1"]
    command = [sys.executable, "-m", "velodrome.scheduler.cli", "measure", *words, *timing]
    began_s = time.monotonic()
    ran = subprocess.run(command, env=jumping, capture_output=True, text=True)
    took_s = time.monotonic() - began_s
    row = json.loads(ran.stdout)
    assert row["status"] in ("ok", "unstable"), ran.stderr
    started, finished = (
        datetime.fromisoformat(row[f"{what}_at"]) for what in ("started", "finished")
    )
    assert 2.0 <= (finished - started).total_seconds() <= took_s
    times = [value for name, value in row.items() if name.endswith("_ns") and value is not None]
    assert times and all(0 <= value <= 1e9 * took_s for value in times)
