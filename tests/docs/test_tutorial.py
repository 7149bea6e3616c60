"""docs/tutorial.md in a copy of the checkout: every command works, with the output shown."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.framework, pytest.mark.full, pytest.mark.serial]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
STEP = re.compile(r"^```sh\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
STEPS = STEP.findall(PAGE.read_text(encoding="utf-8"))
LONGEST_S = 800.0
OF_THIS_MACHINE = {"Intel", "Xeon", "Processor"}
MARK = "@@ end of step"
PORT = "6399"  # on the page; the test takes a free one


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page needs of a checkout: the three folders, importable, and what is read."""
    folder = tmp_path_factory.mktemp("checkout")
    package = folder / "src" / "velodrome"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "velodrome" / "__init__.py", package)
    for name in ("adapters", "agents", "scheduler"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (package / name).symlink_to(folder / name)
    for name in ("deploy", "sweeps"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def printed(checkout: Path) -> Iterator[Sequence[str]]:
    """The output of each step, all of them run by one shell."""
    script = "exec 2>&1\n" + "".join(f"{commands}echo '{MARK}'\n" for commands, _ in STEPS)
    variables = {"PYTHONPATH": str(checkout / "src"), "COLUMNS": "120", "TERM": "dumb"}
    with subprocess.Popen(
        ["bash", "-c", script.replace(PORT, str(free_port()))],
        cwd=checkout,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            text, _ = shell.communicate(timeout=LONGEST_S)
        finally:
            # Of a tutorial that did not come to its end: `ray start --block` stops its node.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
        outputs = text.split(f"{MARK}\n")
        assert len(outputs) == len(STEPS) + 1, text
        yield outputs[:-1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def words(line: str) -> list[str]:
    """Return what does not vary from run to run: words without figures, marks and units."""
    found = re.findall(r"[A-Za-z_][\w./-]{2,}", line)
    return [word for word in found if not re.search(r"\d", word) and word not in OF_THIS_MACHINE]


@pytest.mark.parametrize("index", range(len(STEPS)))
def test_a_step_prints_what_the_page_shows(printed: Sequence[str], index: int) -> None:
    shown = STEPS[index][1]
    lines = [set(words(line)) for line in printed[index].splitlines()]
    missing = [
        line
        for line in shown.splitlines()
        if line.strip() != "..." and not any(set(words(line)) <= found for found in lines)
    ]
    assert missing == [], printed[index]
    assert "Traceback" not in printed[index]


def test_the_tutorial_shows_the_output_of_most_steps() -> None:
    assert sum(bool(shown) for _, shown in STEPS) > len(STEPS) / 2
