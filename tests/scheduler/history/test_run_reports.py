"""Reports of a run: attribution, the summary, JUnit XML and pages."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime

import pytest
from made_rows import typed

from velodrome.scheduler.commands.nightly import list_findings
from velodrome.scheduler.history.false_alarms import estimate_false_alarms
from velodrome.scheduler.nightly.confirmation import plan_confirmation
from velodrome.scheduler.nightly.explanations import (
    explain_findings,
    group_by_cell,
    list_needed_sweeps,
)
from velodrome.scheduler.nightly.junit import format_junit
from velodrome.scheduler.nightly.nightly_result import NightlyRun
from velodrome.scheduler.nightly.summary import format_summary
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results import plan_record
from velodrome.scheduler.site.pages import LatestRunSummary, build_query, render_pages
from velodrome.scheduler.statistics.canary_attribution import ChangeSource

SLOWED = "torch my-lstm"
CALM = 12


def make_result(fleet, run: int) -> NightlyRun:
    verdict = fleet.judge_and_confirm(run)
    needed = list_needed_sweeps(verdict)
    rows = typed(row for row in fleet.rows if row["sweep_id"] in needed)
    return NightlyRun(
        name="nightly",
        verdict=verdict,
        false_alarms=estimate_false_alarms(verdict),
        explanations=explain_findings(verdict, group_by_cell(rows), {}),
        number=run + 1,
        started_at=datetime(2026, 1, 1),
        seconds=3725,
        repeats=20,
        measured=20,
        budget_s=7200,
    )


def slower(cell: str, at: int) -> float:
    return 1.5 if cell == SLOWED and at >= CALM else 1.0


def all_slower(cell: str, at: int) -> float:
    return 1.5 if at >= CALM else 1.0


@pytest.fixture
def run(make_fleet) -> NightlyRun:
    return make_result(make_fleet(change=slower).measure(*range(CALM + 1)), CALM)


class TestAttribution:
    def attribute(self, make_fleet, canary) -> dict[str, ChangeSource]:
        fleet = make_fleet(change=all_slower, canary=canary).measure(*range(CALM + 1))
        found = make_result(fleet, CALM).explanations
        return {
            f"{cell.key.framework} {cell.key.model}": one.attribution.cause
            for cell, one in found.items()
        }

    def test_a_slower_node_is_attributed_to_the_machine(self, make_fleet) -> None:
        found = self.attribute(make_fleet, all_slower)
        assert set(found.values()) == {ChangeSource.MACHINE}
        assert len(found) == len(make_fleet().cells)

    def test_a_change_that_the_canary_lacks_is_attributed_to_the_framework(
        self, make_fleet
    ) -> None:
        assert set(self.attribute(make_fleet, lambda cell, at: 1.0).values()) == {
            ChangeSource.FRAMEWORK
        }

    def test_without_canaries_a_change_of_all_cells_of_a_node_is_attributed_to_the_machine(
        self, make_fleet
    ) -> None:
        assert set(self.attribute(make_fleet, None).values()) == {ChangeSource.MACHINE}

    def test_without_canaries_a_change_of_one_cell_has_no_known_source(
        self, run: NightlyRun
    ) -> None:
        assert {one.attribution.cause for one in run.explanations.values()} == {
            ChangeSource.UNKNOWN
        }

    def test_a_version_that_changed_in_that_run_is_named(self, make_fleet) -> None:
        fleet = make_fleet(change=slower).measure(*range(CALM + 1))
        for row in fleet.rows:
            is_new = row["sweep_id"] == fleet.rows[-1]["sweep_id"]
            row["framework_version"] = "2.13" if is_new and row["model"] == "my-lstm" else "2.12"
        (one,) = make_result(fleet, CALM).explanations.values()
        assert any("2.12 -> 2.13" in cause for cause in one.causes)


def test_the_summary_begins_with_the_slower_cell_and_ends_with_the_false_alarm_rate(
    run: NightlyRun,
) -> None:
    lines = format_summary(run)
    assert lines[0] == (
        f"nightly run 13 of nightly: {len(run.verdict.cells)} cells on 1 node in 1h02m of 2h00m"
    )
    assert re.fullmatch(
        r"SLOWER  torch\[eager\] my-lstm b8 cpu 1t on host1: gradient \+\d+\.\d % since 2026-01-13",
        lines[1],
    )
    assert re.fullmatch(r"    measured again on the same node: \+\d+\.\d %", lines[2])
    assert "no recorded change" in lines[3]
    assert lines[-2].startswith("false alarms: of ")
    assert "promised: at most 5.0 %" in lines[-2]
    assert run.false_alarms.rate <= 0.05  # the judged run is left out
    assert lines[-1].startswith("minimum detectable change within 3 runs: ")
    assert len(lines) < 24
    assert run.exit_status == 1


def test_junit_has_a_case_per_cell_and_a_failure_per_regression(run: NightlyRun) -> None:
    suites = ET.fromstring(format_junit(run).partition("\n")[2])
    (suite,) = suites
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": str(len(run.verdict.cells)),
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "slower"
    assert "measured again on the same node" in failure.text
    assert [each.tag for each in suite][:1] == ["properties"]
    assert suite[-1].tag == "system-out"


def test_json_has_a_row_per_finding_with_its_cell_and_attribution(make_fleet) -> None:
    fleet = make_fleet(change=all_slower, canary=all_slower).measure(*range(CALM + 1))
    rows = list_findings(make_result(fleet, CALM))
    (row,) = (row for row in rows if row["model"] == "my-lstm" and row["phase"] == "gradient")
    assert (row["framework"], row["hostname"], row["since"]) == (
        "torch",
        "host1",
        fleet.judge_run(CALM).sweep_id,
    )
    assert (row["finding"], row["confirmation"], row["attribution"]) == (
        "slower",
        "confirmed",
        "machine",
    )
    assert row["alarm"] is True


def test_text_that_is_invalid_in_xml_or_html_is_escaped(make_fleet) -> None:
    fleet = make_fleet().measure(*range(CALM))
    fleet.fail(SLOWED, CALM)
    fleet.fail(SLOWED, CALM, first=1000)
    for row in fleet.rows:
        if row["status"] == "crashed":
            row["reason"] = "<script>alert(1)</script> \x00\x1b[31m\ufffe & ]]>"
    run = make_result(fleet, CALM)
    (error,) = ET.fromstring(format_junit(run).partition("\n")[2]).iter("error")
    assert "<script>alert(1)</script>" in error.get("message")
    site = render_pages("a <b>", fleet.history(), LatestRunSummary(format_summary(run)))
    for text in (text for name, text in site.items() if name.endswith(".html")):
        assert "<script>alert" not in text
        assert "a <b>" not in text
    assert "&lt;script&gt;alert(1)" in site["index.html"]


def test_quarantined_cells_are_skipped_and_named(make_fleet) -> None:
    fleet = make_fleet().measure(*range(CALM))
    for run in range(CALM, CALM + 3):
        fleet.fail(SLOWED, run)
    found = make_result(fleet, CALM + 2)
    assert any(
        line.startswith("quarantine  torch[eager] my-lstm") for line in format_summary(found)
    )
    suite = ET.fromstring(format_junit(found).partition("\n")[2])[0]
    assert (suite.get("skipped"), suite.get("errors")) == ("1", "0")


@pytest.mark.full
def test_a_slow_cell_in_quarantine_is_named_with_its_duration_and_change(make_fleet) -> None:
    def is_bad(cell: str, at: int) -> bool:
        return cell == SLOWED and at >= CALM

    fleet = make_fleet(change=slower, unstable=is_bad).measure(*range(CALM))
    for at in range(CALM, CALM + 8):
        found = make_result(fleet.measure(at), at)
    lines = format_summary(found)
    assert not found.verdict.alarms  # it was reported in its first run
    (line,) = (line for line in lines if line.startswith("quarantine  "))
    assert re.search(
        r"in quarantine for 8 runs, since 2026-01-15, unstable; gradient \+(4|5)\d\.\d % ± "
        r"\d+\.\d % against the 12 runs before",
        line,
    )
    assert "no regression" not in lines
    (none,) = (line for line in lines if line.startswith("no regression"))
    assert "1 of 4 cells unstable, 1 of 4 cells in quarantine" in none
    (skipped,) = ET.fromstring(format_junit(found).partition("\n")[2]).iter("skipped")
    assert skipped.get("message") in line
    output = ET.fromstring(format_junit(found).partition("\n")[2])[0][-1].text
    assert none in output


def test_a_step_that_is_unstable_and_in_quarantine_is_a_failure_in_junit(make_fleet) -> None:
    fleet = make_fleet(change=lambda cell, at: 1.5 if cell == SLOWED and at >= CALM else 1.0)
    fleet.unstable = lambda cell, at: cell == SLOWED and at >= CALM - 5
    found = make_result(fleet.measure(*range(CALM + 1)), CALM)
    assert found.exit_status == 1
    suite = ET.fromstring(format_junit(found).partition("\n")[2])[0]
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    lines = format_summary(found)
    assert lines[1].startswith("SLOWER  torch[eager] my-lstm")
    assert any(line.startswith("quarantine  torch[eager] my-lstm") for line in lines)


@pytest.mark.parametrize(
    ("noise", "headline"),
    [
        ("unstable", "; NOISY: 4 of 4 cells unstable"),
        ("has_interference", "; NOISY: 4 of 4 cells with interference"),
    ],
)
def test_the_first_line_of_a_noisy_run_says_so(make_fleet, noise: str, headline: str) -> None:
    fleet = make_fleet(**{noise: lambda cell, at: at == CALM}).measure(*range(CALM + 1))
    lines = format_summary(make_result(fleet, CALM))
    assert lines[0].endswith(headline)
    assert f"no regression distinguishable from noise: {headline[9:]}" in lines


def test_confirming_repeats_stay_on_their_node_and_are_interleaved(make_fleet) -> None:
    fleet = make_fleet(change=all_slower).measure(*range(CALM + 1))
    verdict = fleet.judge_run(CALM)
    tasks = [fleet.measurement(cell, 0, 0, 1, 1).task for cell in fleet.cells]
    tasks = [replace(task, variant="eager") for task in tasks]
    found = plan_confirmation(
        Plan(tuple(Placement(task, 0, "elsewhere") for task in tasks)), verdict.unconfirmed, 3
    )
    assert {(one.node_id, one.constraint.node_id) for one in found.placements} == {
        ("host1", "host1")
    }
    keys = [(one.task.key, one.repeat) for one in found.placements]
    assert len(keys) == len(set(keys)) == 3 * len(verdict.unconfirmed)
    assert min(one.repeat for one in found.placements) == 1000
    planned = Plan(tuple(Placement(task, 0, "host1", "a type") for task in tasks))
    record = plan_record.join(plan_record.build_record(planned), plan_record.build_record(found))
    assert plan_record.first_repeats(record) == {task.key: {"a type": 0} for task in tasks}
    first = [one.task for one in found.placements[: len(verdict.unconfirmed)]]
    assert len(set(first)) == len(verdict.unconfirmed)


def test_every_cell_has_a_page_with_its_runs_and_their_query(make_fleet, run: NightlyRun) -> None:
    fleet = make_fleet(change=slower).measure(*range(CALM + 1))
    site = render_pages(
        "nightly", fleet.history(), LatestRunSummary(("one line",), (("report", "runs/x"),))
    )
    cells = [text for name, text in site.items() if name.startswith("cells/")]
    assert len(cells) == len(fleet.cells)
    assert list(site)[-1] == "index.html"
    assert "one line" in site["index.html"]
    for one in run.verdict.cells:
        text = next(
            text for text in cells if one.cell.key.model in text and one.cell.key.framework in text
        )
        assert text.count("<tr class=") == CALM + 1
    assert "node_id = 'it''s'" in build_query(replace(run.verdict.cells[0].cell, node_id="it's"))
    assert "not measured again" in site["index.html"]
