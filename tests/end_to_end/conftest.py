"""Fixtures that run `velodrome` as a user does: a child process with a home of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

FRAMEWORKS = Path(__file__).parent / "frameworks"
FAULTY = Path(__file__).parents[1] / "faulty"
# One cell of a quarter of a second.
TINY = """
name: {name}
frameworks: [numpy]
models: [autoencoder-400-200-100/ae3]
batch_sizes: {{autoencoder-400-200-100/ae3: [2]}}
threads: [1]
repeats: {repeats}
timing: {{target: 50%, min_samples: 3, min_seconds: 0.1, max_seconds: 1}}
"""


@dataclass(frozen=True)
class Command:
    """`velodrome` with its variables and the folder it runs in."""

    folder: Path
    variables: Mapping[str, str]

    def run(self, *words: str, timeout_s: float = 280) -> "subprocess.CompletedProcess[str]":
        with self.start(*words) as running:
            try:
                out, err = running.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
            return subprocess.CompletedProcess(words, running.returncode, out, err)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "velodrome.scheduler.cli", *words],
            cwd=self.folder,
            env=dict(self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,
        )

    def sweep(self, text: str, name: str = "sweep.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def tiny_sweep(self, name: str, repeats: int, file: str = "sweep.yaml") -> Path:
        return self.sweep(TINY.format(name=name, repeats=repeats), file)

    def survivors(self) -> list[psutil.Process]:
        """Return live processes that this command or its children started."""
        mark = self.variables["VELODROME_TEST_MARK"]
        return [process for process in psutil.process_iter() if _carries(process, mark)]


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that all end-to-end tests share, so that references are computed once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, shared_home: Path) -> Iterator[Command]:
    """The command with NumPy and the faulty frameworks, all in the tests' own interpreter."""
    folder = tmp_path_factory.mktemp("work")
    names = ["numpy", *(entry.name for entry in FAULTY.iterdir() if entry.is_dir())]
    interpreters = {f"VELODROME_PYTHON_{name.upper()}": sys.executable for name in names}
    variables = {
        **os.environ,
        **interpreters,
        "VELODROME_ADAPTERS": str(FAULTY),
        "VELODROME_HOME": str(shared_home),
        "VELODROME_TEST_MARK": folder.name + str(os.getpid()),
        "COLUMNS": "160",
    }
    made = Command(folder, variables)
    yield made
    assert made.survivors() == []


@pytest.fixture(scope="module")
def extended(command: Command) -> Command:
    """The command with NumPy in other precisions and on several processes: frameworks/."""
    names = [entry.name for entry in FRAMEWORKS.iterdir() if entry.is_dir()]
    interpreters = {f"VELODROME_PYTHON_{name.upper()}": sys.executable for name in names}
    more = {"VELODROME_ADAPTERS": str(FRAMEWORKS), **interpreters}
    return replace(command, variables={**command.variables, **more})


def _heed_interrupts() -> None:
    """Restore SIGINT, which a test run in the background may ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        carried = process.environ().get("VELODROME_TEST_MARK") == mark
        return carried and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
