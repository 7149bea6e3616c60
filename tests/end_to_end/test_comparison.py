"""A comparison of two versions, the newer of which does more work in every call."""

import json
import sys

import pytest

from velodrome.scheduler.cli import app

pytestmark = [pytest.mark.slow, pytest.mark.serial]

ADAPTER = """
import time

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    @staticmethod
    def version():
        return "{version}"

    def forward(self, index):
        work()
        return super().forward(index)

    def gradient(self, index):
        work()
        return super().gradient(index)


def work():
    # A sleep would not do: a process that waits has not earned its time.
    until_s = time.process_time() + {work_s}
    while time.process_time() < until_s:
        pass
"""
ENVIRONMENT = """
kind = "existing"
about = "NumPy, at a pace of its own"
python = "{python}"
module = "numpy"
variants = ["float64"]
devices = ["cpu"]
"""
QUICK = ("--threads", "1", "--min-samples", "3", "--min-seconds", "0.05", "--max-seconds", "0.3")
REPEATS = 3
MOST_REPEATS = 10


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Measure one task of a framework at a version, with extra work in every call."""
    folder = tmp_path / "adapters" / "paced"
    folder.mkdir(parents=True)
    (folder / "environment.toml").write_text(ENVIRONMENT.format(python=sys.executable))
    monkeypatch.setenv("VELODROME_ADAPTERS", str(folder.parent))
    monkeypatch.setenv("VELODROME_PYTHON_NUMPY", sys.executable)  # the canary's
    monkeypatch.setenv("VELODROME_HOME", str(tmp_path / "home"))

    def measure_version(version: str, work_s: float, *options: str) -> None:
        text = ADAPTER.format(version=version, work_s=work_s)
        (folder / "adapter.py").write_text(text)
        model = ("paced", "autoencoder-400-200-100/ae3", "--batch-size", "4")
        words = ["measure", *model, *QUICK, "--results", str(tmp_path / "results"), "--json"]
        assert app([*words, *options], standalone_mode=False) == 0

    return measure_version


@pytest.mark.full
def test_a_version_with_more_work_is_slower_and_attributed_to_its_framework(
    measure, tmp_path, capsys
) -> None:
    def compare(base: str, candidate: str) -> tuple[int, dict]:
        sides = [f"* framework_version={version}" for version in (base, candidate)]
        words = ["compare", *sides, "--results", str(tmp_path / "results"), "--json"]
        status = app([*words, "--fail-on", "slower"], standalone_mode=False)
        return status, json.loads(capsys.readouterr().out)

    for repeats in range(1, MOST_REPEATS + 1):
        measure("1.0", 0.002, "--canary")
        measure("1.1", 0.040, "--canary")
        capsys.readouterr()
        status, slower = compare("1.0", "1.1")
        # The canaries of a noisy machine leave it open for a while.
        sources = {cell["attribution"] for cell in slower["cells"]}
        if repeats >= REPEATS and "unknown" not in sources:
            break
    assert {cell["verdict"] for cell in slower["cells"]} == {"slower"}
    assert status == 1
    assert all(cell["base_repeats"] == repeats for cell in slower["cells"])
    assert sources == {"framework"}
    assert {cell["verdict"] for cell in compare("1.1", "1.0")[1]["cells"]} == {"faster"}
