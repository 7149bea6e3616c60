"""Two nightly runs of a framework that becomes slower, after a week of earlier runs."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from earlier_runs import put_earlier

from velodrome.scheduler.results.store import Store

pytestmark = pytest.mark.slow

SWEEP = """
name: nightly
frameworks: [paced, numpy]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [4]}
threads: [1]
repeats: 2
timing: {target: 50%, min_samples: 6, min_seconds: 0, max_seconds: 3}
"""
SOUND = "from velodrome.adapters.frameworks.numpy.adapter import Adapter\n\n__all__ = ['Adapter']\n"
SLOWED = """
import time

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound


class Adapter(Sound):
    def gradient(self, index):
        until_s = time.process_time() + 0.01
        while time.process_time() < until_s:
            pass
        return super().gradient(index)
"""
SPREAD = 0.25  # of earlier runs: other programs run on the machine that runs the tests
FAULTY = Path(__file__).parents[1] / "faulty"


@pytest.fixture(scope="module")
def paced(command, tmp_path_factory: pytest.TempPathFactory):
    """Return the command, and the file of the adapter that it knows as `paced`."""
    folder = tmp_path_factory.mktemp("frameworks") / "paced"
    shutil.copytree(FAULTY / "forks", folder)
    variables = {
        **command.variables,
        "VELODROME_ADAPTERS": str(folder.parent),
        "VELODROME_PYTHON_PACED": command.variables["VELODROME_PYTHON_NUMPY"],
    }
    adapter = folder / "adapter.py"
    adapter.write_text(SOUND)
    return replace(command, variables=variables), adapter


@pytest.fixture(scope="module")
def runs(paced):
    """Return the outputs of two runs, with a week of earlier runs like the first between them."""
    command, adapter = paced
    command.sweep(SWEEP, "nightly.yaml")
    words = ("nightly", "nightly.yaml", "--results", "nightly", "--site", "site")
    first = command.run(*words, "--budget", "20m")
    assert "✗" not in first.stdout, first.stdout
    store = Store(command.folder / "nightly")
    for days in range(1, 10):
        put_earlier(store, SWEEP, days, SPREAD)
    for file in (command.folder / "nightly" / "tasks").glob("sweep=*-00000005/*.parquet"):
        file.write_bytes(file.read_bytes()[:100])
    adapter.write_text(SLOWED)
    return command.folder, first, command.run(*words, "--json", "--junit", "own.xml")


def test_the_first_nightly_run_has_nothing_to_compare_with(runs) -> None:
    _, first, _ = runs
    assert first.returncode == 0, first.stdout + first.stderr
    assert "nightly run 1 of nightly: 2 cells on 1 node" in first.stdout
    assert "no regression" in first.stdout


def test_a_framework_that_became_slower_is_measured_again_and_ends_with_1(runs) -> None:
    _, _, second = runs
    assert second.returncode == 1, second.stdout + second.stderr
    assert re.search(r"measuring \d+ suspicious cells? again", second.stderr)
    alarms = [
        row for row in json.loads(second.stdout) if row["alarm"] and row["phase"] == "gradient"
    ]
    assert [(row["framework"], row["finding"], row["confirmation"]) for row in alarms] == [
        ("paced", "slower", "confirmed")
    ]
    assert min(row["ratio_again"] for row in alarms) > 1.5


def test_an_unreadable_nightly_run_is_skipped_and_named(runs) -> None:
    folder, _, _ = runs
    summary = (folder / "site" / "summary.txt").read_text()
    assert "left out of the history  nightly/tasks/sweep=" in summary
    assert "-00000005/" in summary


def test_the_summary_the_junit_xml_and_the_pages_agree(runs) -> None:
    folder, _, second = runs
    alarmed = {row["framework"] for row in json.loads(second.stdout) if row["alarm"]}
    summary = (folder / "site" / "summary.txt").read_text().splitlines()
    assert len(summary) <= 26
    assert any(line.startswith("SLOWER  paced[float64]") for line in summary)
    assert (folder / "own.xml").read_text() == (folder / "site" / "junit.xml").read_text()
    suite = ET.parse(folder / "own.xml").getroot()[0]
    failed = [case for case in suite.iter("testcase") if case.find("failure") is not None]
    assert {case.get("classname") for case in failed} == {f"{one}.float64" for one in alarmed}
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    index = (folder / "site" / "index.html").read_text()
    assert "slower by" in index
    assert len(list((folder / "site" / "cells").glob("*.html"))) == 2
    assert len(list((folder / "site" / "runs").glob("*.html"))) == 2
