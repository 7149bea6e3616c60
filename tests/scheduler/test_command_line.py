"""The command line: help, examples, version, and the list of sweep files."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from velodrome.scheduler.cli import app
from velodrome.scheduler.commands.sweep_list import first_sentence, sweeps

SOUND = "# What it is for: one cell. More of it.\nframeworks: [torch]\nmodels: [lenet]\n"
MOST_SHORT_HELP = 64  # characters, which a terminal of 80 columns shows whole


def commands() -> Iterator[tuple[str, object]]:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield name, command
        yield from ((f"{name} {sub}", one) for sub, one in getattr(command, "commands", {}).items())


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_has_help(name: str, command) -> None:
    first = command.get_short_help_str(limit=200)
    assert first.endswith(".")
    assert len(first) <= MOST_SHORT_HELP
    assert [one.name for one in command.params if not (one.help or getattr(one, "hidden", 0))] == []


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_example_in_help_is_a_valid_command(name: str, command) -> None:
    if getattr(command, "commands", {}):
        return
    lines = re.findall(r"^  velodrome (.+)$", command.epilog or "", re.MULTILINE)
    assert lines
    for line in lines:
        assert line.startswith(name)
        command.make_context(name, shlex.split(line)[len(name.split()) :])


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['velodrome', '--help']\n"
        "from velodrome.scheduler import cli\n"
        "try: cli.main()\n"
        "finally: print(sorted({'ray', 'pyarrow', 'numpy', 'rich', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


def test_arrow_imports_no_pandas_in_a_command(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['velodrome', 'query', 'select count(*) from tasks']\n"
        "from velodrome.scheduler import cli\n"
        "try: cli.main()\n"
        "finally: print('pyarrow' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.endswith("True False\n"), done.stdout + done.stderr


def test_version_prints_the_version_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", "--version"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"velodrome \d+\.\d+\.\d+\n", done.stdout)


def test_sweeps_lists_the_files_of_a_folder_and_counts_their_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.yaml").write_text(SOUND + "threads: [1, 2]\nrepeats: 5\n")
    (tmp_path / "notes.txt").write_text("no sweep")
    assert sweeps([tmp_path], as_json=True) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["frameworks"], row["models"]) == (["torch"], ["lenet"])
    assert (row["cells"], row["runs"]) == (2, 10)
    assert row["about"] == "What it is for: one cell"


def test_sweeps_names_a_broken_file_with_line_and_column_and_lists_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text("framework: [torch]\n")
    (tmp_path / "b.yaml").write_text(SOUND)
    assert sweeps([tmp_path], as_json=False) == 2
    text = capsys.readouterr().out
    assert "a.yaml:1:1: no such key 'framework'. Did you mean 'frameworks'?" in text
    assert "What it is for: one cell" in text
    assert text.splitlines()[-1].endswith(f"plan {tmp_path / 'b.yaml'}")


def test_sweeps_says_so_when_a_folder_has_no_sweep_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweeps([tmp_path], as_json=False) == 0
    assert f"no sweep file (*.yaml) in {tmp_path}" in capsys.readouterr().out.replace("\n", "")


def test_every_shipped_sweep_says_what_it_is_for() -> None:
    for file in (Path(__file__).parents[2] / "sweeps").glob("*.yaml"):
        assert first_sentence(file.read_text()), file
