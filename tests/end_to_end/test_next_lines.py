"""The `next:` lines of commands: each works as it stands in a fresh shell."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from velodrome.scheduler.cli import app
from velodrome.scheduler.results.store import Store

pytestmark = pytest.mark.slow

SCRIPT = Path(sys.executable).parent / "velodrome"
RESULTS = "it's R"  # which a shell has to be told of
COMMANDS = (
    f'nightly sweep.yaml --results "{RESULTS}"',
    'plan sweep.yaml --only "threads=1 model=autoencoder-400-200-100/ae3"',
    'plan "a sweep.yaml"',
    f'report --results "{RESULTS}"',
    f'report --results "{RESULTS}" --html page.html',
    "measure numpy autoencoder-400-200-100/ae3 --batch-size 2 --threads 1 --max-seconds 1"
    ' --results "another R"',
    "nodes",
    "models",
    "frameworks",
    "doctor",
    "envs list",
    "envs build numpy",
    "envs prune",
)
# Next lines that download or measure for minutes: parsing them is enough, and it is for a second
# line of a command.
LONG = ("measure torch", "envs build torch", "sweeps/quick.yaml", "envs build", "envs check")


def shell(command, text: str) -> "subprocess.CompletedProcess[str]":
    """Run text in a fresh shell that has Velodrome's variables and no others of ours."""
    known = {name: value for name, value in command.variables.items() if "VELODROME" in name}
    return subprocess.run(
        ["bash", "-c", text],
        cwd=command.folder,
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **known},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def next_lines(text: str) -> list[str]:
    return re.findall(r"(?:next|[Rr]esume with): (.*velodrome.*)", text)


def check_parses(words: list[str], folder: Path) -> None:
    """Assert that the command line parses and its sweep file exists, in the folder or here."""
    command = typer.main.get_command(app)
    while getattr(command, "commands", None):
        command, words = command.commands[words[0]], words[1:]
    given = command.make_context("", list(words)).params
    sweep = given.get("sweep")
    if isinstance(sweep, Path):
        assert sweep.is_file() or (folder / sweep).is_file(), sweep


@pytest.mark.full
def test_every_next_line_works_in_a_fresh_shell(command) -> None:
    for file in ("sweep.yaml", "a sweep.yaml"):
        command.tiny_sweep("next", 1, file)
    seen: dict[str, str] = {}
    for words in COMMANDS:
        done = shell(command, f"{shlex.quote(str(SCRIPT))} {words}")
        lines = next_lines(done.stdout + done.stderr)
        assert lines, (words, done.stdout, done.stderr)
        seen |= dict.fromkeys(lines, words)
    run: set[str] = set()
    for line, by in seen.items():
        typed = shlex.split(line)
        assert typed[0] == str(SCRIPT), (by, line)
        if any(part in line for part in LONG) or typed[1] in run:
            check_parses(typed[1:], command.folder)
            continue
        run.add(typed[1])
        done = shell(command, line)
        assert done.returncode in (0, 1), (by, line, done.stderr)
        assert "Traceback" not in done.stderr


def test_next_lines_use_the_short_name_if_velodrome_is_on_the_path(command) -> None:
    folder = shlex.quote(str(SCRIPT.parent))
    done = shell(command, f"PATH={folder}:$PATH; velodrome models")
    assert next_lines(done.stdout) == ["velodrome measure torch lenet"]


@pytest.mark.full
def test_a_report_of_an_interrupted_sweep_says_how_to_resume(command) -> None:
    """Every form of the report warns of missing runs."""
    command.tiny_sweep("next", 2)
    results = command.folder / "cut"
    whole = command.run("run", "sweep.yaml", "--results", "cut")
    assert whole.returncode == 0, whole.stderr
    sweep_id = Store.for_reading(results).resolve("last")
    (file,) = (results / "tasks").rglob("*.parquet")
    pq.write_table(pq.read_table(file).slice(0, 1), file)
    warning = "This sweep is not complete: 1 of 2 runs is missing"
    for form in ("", "--markdown", "--csv", "--json", "--utilization", "--outliers", "--ceilings"):
        done = command.run("report", "--results", "cut", *form.split())
        output = done.stderr if form in ("--csv", "--json") else done.stdout
        assert warning in output, (form, done.stdout, done.stderr)
    (again,) = next_lines(done.stdout)[:1]
    assert f"run --resume {sweep_id}" in again
    resumed = shell(command, again)
    assert resumed.returncode == 0, resumed.stderr
    assert warning not in command.run("report", "--results", "cut").stdout
