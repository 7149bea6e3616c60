"""Files that start nightly runs: each passes its own validator and our command line."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from velodrome.scheduler.cli import app

FOLDER = Path(__file__).parents[2] / "deploy" / "nightly"
SETTINGS = dict(
    line.split("=", 1)
    for line in (FOLDER / "nightly.env").read_text().splitlines()
    if "=" in line and not line.startswith("#")
)


def parse_command(words: list[str]) -> str:
    """Return the subcommand that our command line parses; it raises for an unknown option."""
    group = typer.main.get_command(app)
    name, command, rest = group.resolve_command(typer.Context(group), words)
    command.make_context(name, rest)
    return name


def expand(text: str) -> list[str]:
    """Expand text as a shell does, with the settings of nightly.env."""
    return shlex.split(
        re.sub(r"\$\{?([A-Z_]+)\}?", lambda found: SETTINGS[found[1]], text.replace('"', ""))
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    names = ("velodrome-nightly.service", "velodrome-nightly.timer")
    for name in names:
        text = (FOLDER / name).read_text()
        # systemd-analyze checks that the program exists.
        text = text.replace("/var/lib/velodrome/venv/bin/velodrome", sys.executable)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
    )
    ours = [line for line in done.stderr.splitlines() if "velodrome" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_unit_starts_a_nightly_run_with_a_valid_command_line() -> None:
    text = (FOLDER / "velodrome-nightly.service").read_text()
    words = expand(re.search(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)[1])
    assert parse_command(words) == "nightly"


def test_the_cron_line_has_five_fields_a_user_and_a_valid_command() -> None:
    (line,) = [
        line
        for line in (FOLDER / "velodrome.cron").read_text().splitlines()
        if re.match(r"[\d*]", line)
    ]
    *fields, user, command = line.split(None, 6)
    bounds = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    for field, (low, high) in zip(fields, bounds, strict=True):
        assert field == "*" or low <= int(field) <= high
    assert user == "velodrome"
    assert "%" not in command  # cron's line end
    subprocess.run(["sh", "-n", "-c", command], check=True)
    assert parse_command(expand(command.split("/bin/velodrome ")[1])) == "nightly"


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycronjob.yaml"])
def test_the_kubernetes_job_is_a_nightly_run_without_retries(name: str) -> None:
    manifest = yaml.safe_load((FOLDER / name).read_text())
    job = manifest["spec"].get("jobTemplate", manifest["spec"])
    program, *words = shlex.split(job["entrypoint"])
    assert program == "velodrome"
    assert parse_command(words) == "nightly"
    assert (job["backoffLimit"], job["submitterConfig"]["backoffLimit"]) == (0, 0)
    head = job["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_the_scheduled_kubernetes_job_equals_the_manual_one() -> None:
    once, nightly = (
        yaml.safe_load((FOLDER / name).read_text()) for name in ("rayjob.yaml", "raycronjob.yaml")
    )
    assert (once["kind"], nightly["kind"]) == ("RayJob", "RayCronJob")
    assert nightly["spec"]["jobTemplate"] == once["spec"]
