"""The command `accept`, as a user runs it, on results that were written as a driver does."""

import csv
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_fleets import SWEEP, make_fleet, put

from velodrome.scheduler.cli import app
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.acceptance.text import COLUMNS
from velodrome.scheduler.results.store import Store

LATER = "20261125-063012-a1b2"


@pytest.fixture
def results(store: Store, root: Path) -> Path:
    put(store, make_fleet(8, {3: 1.12}))
    return root


@dataclass(frozen=True)
class Ended:
    """A command's exit status and standard output."""

    returncode: int
    stdout: str


Accept = Callable[..., Ended]


@pytest.fixture
def accept(capsys: pytest.CaptureFixture[str]) -> Accept:
    """Run `velodrome accept` by the command line, in this process."""

    def run(*words: str | Path) -> Ended:
        status = app(["accept", *map(str, words)], standalone_mode=False)
        return Ended(status, capsys.readouterr().out)

    return run


def run_child(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "velodrome.scheduler.cli", "accept", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_rejected_machine_is_named_and_the_status_is_1(results: Path) -> None:
    ended = run_child("--results", results)
    assert (ended.returncode, ended.stderr) == (1, "")
    (first, *_) = [line for line in ended.stdout.splitlines() if line.startswith("host")]
    assert first.split()[:2] == ["host3", "fail"]
    assert "8 machines: 7 pass, 1 fail" in ended.stdout
    assert "at most 5 % of fleets without a fault" in " ".join(ended.stdout.split())


def test_an_accepted_fleet_has_status_0(store: Store, root: Path, accept: Accept) -> None:
    put(store, make_fleet(6))
    ended = accept("--results", root)
    assert ended.returncode == 0
    assert "6 machines: 6 pass" in ended.stdout


def test_json_and_csv_have_a_row_per_machine(results: Path, accept: Accept) -> None:
    rows = json.loads(accept("--results", results, "--json").stdout)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["hostname"], row["verdict"]) for row in rows][:2] == [
        ("host3", "fail"),
        ("host0", "pass"),
    ]
    lines = [*csv.DictReader(io.StringIO(accept("--results", results, "--csv").stdout))]
    assert [line["hostname"] for line in lines] == [row["hostname"] for row in rows]
    assert "| host3 | fail | Some CPU |" in accept("--results", results, "--markdown").stdout


def test_a_ci_system_reads_a_case_per_machine(
    results: Path, tmp_path: Path, accept: Accept
) -> None:
    file = tmp_path / "acceptance.xml"
    accept("--results", results, "--junit", file)
    (suite,) = ET.parse(file).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "0")
    failed = [
        case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["host3"]


def test_a_machine_that_cannot_be_judged_is_skipped_with_its_reason(
    store: Store, root: Path, tmp_path: Path, accept: Accept
) -> None:
    put(store, make_fleet(2))
    file = tmp_path / "acceptance.xml"
    assert accept("--results", root, "--junit", file).returncode == 0
    (skipped, *_) = ET.parse(file).getroot().iter("skipped")
    assert "fewer than 4 machines" in str(skipped.get("message"))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_node_is_judged_by_a_baseline(
    results: Path, tmp_path: Path, kind: str, accept: Accept
) -> None:
    file = tmp_path / "fleet.json"
    written = accept("--results", results, "--write-baseline", file)
    assert f"wrote {file}: 6 cells" in written.stdout
    new = tmp_path / "new"
    put(Store(new), make_fleet(1, {0: 1.2}, seed=5), LATER)
    place = file if kind == "file" else results
    assert accept("--results", new).returncode == 0
    ended = accept("--results", new, "--baseline", place, "--json")
    (row,) = json.loads(ended.stdout)
    assert (ended.returncode, row["verdict"], row["peers"]) == (1, "fail", 7)
    assert accept("--results", new, "--baseline", place, "--least", "30%").returncode == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--baseline", "no-such.json"), "no-such.json: there is no such baseline"),
        (("--least", "much"), "--least: 'much' is invalid"),
        (("--csv", "--json"), "--csv and --json exclude each other"),
        (("--junit", "/no/such/folder/a.xml"), "Name another file with --junit"),
    ],
)
def test_a_wrong_option_is_named(
    results: Path, words: tuple[str, ...], named: str, accept: Accept
) -> None:
    with pytest.raises(ConfigError) as caught:
        accept("--results", results, *words)
    assert named in str(caught.value)


def test_a_wrong_option_ends_with_status_2_and_one_line(results: Path) -> None:
    ended = run_child("--results", results, "--sweep", "1999")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "1999" in ended.stderr


def test_the_page_has_a_line_per_machine_with_its_verdict(
    results: Path, tmp_path: Path, accept: Accept
) -> None:
    file = tmp_path / "report.html"
    ended = accept("--results", results, "--html", file, "--json")
    assert (ended.returncode, len(json.loads(ended.stdout))) == (1, 8)
    _, section = file.read_text().split('<section id="acceptance">')
    section, *_ = section.split("</section>")
    assert "8 machines: 7 pass, 1 fail" in section
    assert section.count('<th scope="row"') == 8
    assert re.search(r'host3</th><td class="unlike">fail</td>', section)
    assert "% slower than its type in the median of its cells" in section


def test_the_report_of_two_nodes_has_no_verdicts(
    store: Store, root: Path, tmp_path: Path, accept: Accept
) -> None:
    put(store, make_fleet(2))
    file = tmp_path / "report.html"
    app(["report", "--results", str(root), "--html", str(file)], standalone_mode=False)
    assert 'id="acceptance"' not in file.read_text()
    accept("--results", root, "--html", file)
    assert "2 machines: 2 cannot tell" in file.read_text()


def test_the_sweep_is_chosen_by_its_id(results: Path, store: Store, accept: Accept) -> None:
    put(store, make_fleet(6), LATER)
    assert accept("--results", results).returncode == 0
    assert accept("--results", results, "--sweep", SWEEP).returncode == 1
