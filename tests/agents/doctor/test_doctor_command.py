"""The order of findings, the exit status, and the real command on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.agents.doctor.finding import Subject
from velodrome.agents.doctor.runner import sort_by_level
from velodrome.scheduler.commands.doctor import exit_status

COMMAND = [sys.executable, "-m", "velodrome.scheduler.cli", "doctor", "--json"]


SUBJECT = Subject("this", "it matters")


def test_only_a_warning_gives_status_1_and_warnings_come_first() -> None:
    fine, unknown, warning = SUBJECT.fine("a"), SUBJECT.unknown("b"), SUBJECT.warning("c", "mend")
    assert exit_status((fine, unknown)) == 0
    assert exit_status((fine, warning, unknown)) == 1
    assert sort_by_level((fine, warning, unknown)) == (warning, unknown, fine)


@pytest.mark.slow
def test_the_doctor_reports_a_held_core_in_its_rows_and_exit_status(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    environment = os.environ | {"VELODROME_LOCKS": str(locks), "VELODROME_HOME": str(tmp_path)}
    hold = (
        "import sys; from pathlib import Path; from velodrome.agents.cores import lock_files; "
        "lock_files.try_lock(Path(sys.argv[1])); print(flush=True); input()"
    )
    holder_command = [sys.executable, "-c", hold, str(locks / "core-0.lock")]
    pipe = subprocess.PIPE
    with subprocess.Popen(holder_command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
        holder.communicate("\n")
    rows = json.loads(done.stdout)
    assert done.returncode == 1
    assert all(list(row) == ["check", "verdict", "seen", "why", "mend"] for row in rows)
    assert [row["verdict"] for row in rows] == sorted(
        (row["verdict"] for row in rows), key=["warning", "unknown", "fine"].index
    )
    assert len({row["check"] for row in rows}) == len(rows)
    assert all(bool(row["mend"]) == (row["verdict"] == "warning") for row in rows)
    (held,) = [row for row in rows if row["check"] == "locked cores"]
    assert held["verdict"] == "warning"
    assert f"core-0: pid {holder.pid} " in held["seen"]
    assert not (tmp_path / "envs").exists()
