"""How a night is told: whose fault it is, in a screen, as JUnit XML and as pages."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime

import pytest
from made_rows import typed

from velodrome.scheduler.history.false_alarms import false_alarms
from velodrome.scheduler.nightly.confirmation import again
from velodrome.scheduler.nightly.explanations import by_cell, explanations, sweeps_needed
from velodrome.scheduler.nightly.junit import junit
from velodrome.scheduler.nightly.nightly_result import Night
from velodrome.scheduler.nightly.summary import summary
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results import plan_record
from velodrome.scheduler.site.pages import LatestRunSummary, build_query, render_pages
from velodrome.scheduler.statistics.canary_attribution import ChangeSource

SLOWED = "torch my-lstm"
CALM = 12


def told(fleet, night: int) -> Night:
    verdict = fleet.night_of_ours(night)
    needed = sweeps_needed(verdict)
    rows = typed(row for row in fleet.rows if row["sweep_id"] in needed)
    return Night(
        name="nights",
        verdict=verdict,
        false_alarms=false_alarms(verdict),
        explanations=explanations(verdict, by_cell(rows), {}),
        number=night + 1,
        began=datetime(2026, 1, 1),
        seconds=3725,
        runs=20,
        measured=20,
        budget_s=7200,
    )


def slower(cell: str, at: int) -> float:
    return 1.5 if cell == SLOWED and at >= CALM else 1.0


def all_slower(cell: str, at: int) -> float:
    return 1.5 if at >= CALM else 1.0


@pytest.fixture
def night(nights) -> Night:
    return told(nights(change=slower).pass_by(*range(CALM + 1)), CALM)


class TestBlame:
    def of(self, nights, canary) -> dict[str, ChangeSource]:
        fleet = nights(change=all_slower, canary=canary).pass_by(*range(CALM + 1))
        found = told(fleet, CALM).explanations
        return {
            f"{cell.key.framework} {cell.key.model}": one.attribution.cause
            for cell, one in found.items()
        }

    def test_a_node_that_became_slower_is_called_machine(self, nights) -> None:
        found = self.of(nights, all_slower)
        assert set(found.values()) == {ChangeSource.MACHINE}
        assert len(found) == len(nights().cells)

    def test_where_the_canary_did_not_move_it_is_the_framework(self, nights) -> None:
        assert set(self.of(nights, lambda cell, at: 1.0).values()) == {ChangeSource.FRAMEWORK}

    def test_without_canaries_a_node_of_which_all_cells_moved_is_at_fault(self, nights) -> None:
        assert set(self.of(nights, None).values()) == {ChangeSource.MACHINE}

    def test_without_canaries_one_cell_alone_tells_nothing(self, night: Night) -> None:
        assert {one.attribution.cause for one in night.explanations.values()} == {
            ChangeSource.UNKNOWN
        }

    def test_what_changed_on_that_night_is_named(self, nights) -> None:
        fleet = nights(change=slower).pass_by(*range(CALM + 1))
        for row in fleet.rows:
            is_new = row["sweep_id"] == fleet.rows[-1]["sweep_id"]
            row["framework_version"] = "2.13" if is_new and row["model"] == "my-lstm" else "2.12"
        (one,) = told(fleet, CALM).explanations.values()
        assert any("2.12 -> 2.13" in cause for cause in one.causes)


def test_the_summary_says_first_what_became_slower_and_what_an_alarm_is_worth(
    night: Night,
) -> None:
    lines = summary(night)
    assert lines[0] == (
        f"nightly run 13 of nights: {len(night.verdict.watched)} cells on 1 node in 1h02m of 2h00m"
    )
    assert re.fullmatch(
        r"SLOWER  torch\[eager\] my-lstm b8 cpu 1t on host1: gradient \+\d+\.\d % since 2026-01-13",
        lines[1],
    )
    assert re.fullmatch(r"    measured again on the same node: \+\d+\.\d %", lines[2])
    assert "no recorded change" in lines[3]
    assert lines[-2].startswith("false alarms: of ")
    assert "promised: at most 5.0 %" in lines[-2]
    assert night.false_alarms.rate <= 0.05  # the night in question is not held against us
    assert lines[-1].startswith("minimum detectable change within 3 runs: ")
    assert len(lines) < 24
    assert night.exit_status == 1


def test_junit_has_a_case_per_cell_and_a_failure_per_regression(night: Night) -> None:
    suites = ET.fromstring(junit(night).partition("\n")[2])
    (suite,) = suites
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": str(len(night.verdict.watched)),
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "slower"
    assert "measured again on the same node" in failure.text
    assert [each.tag for each in suite][:1] == ["properties"]
    assert suite[-1].tag == "system-out"


def test_words_that_are_no_xml_and_no_html_are_told_as_text(nights) -> None:
    fleet = nights().pass_by(*range(CALM))
    fleet.fail(SLOWED, CALM)
    fleet.fail(SLOWED, CALM, first=1000)
    for row in fleet.rows:
        if row["status"] == "crashed":
            row["reason"] = "<script>alert(1)</script> \x00\x1b[31m\ufffe & ]]>"
    night = told(fleet, CALM)
    (error,) = ET.fromstring(junit(night).partition("\n")[2]).iter("error")
    assert "<script>alert(1)</script>" in error.get("message")
    site = render_pages("a <b>", fleet.history(), LatestRunSummary(summary(night)))
    for text in (text for name, text in site.items() if name.endswith(".html")):
        assert "<script>alert" not in text
        assert "a <b>" not in text
    assert "&lt;script&gt;alert(1)" in site["index.html"]


def test_quarantined_cells_are_skipped_and_told_of(nights) -> None:
    fleet = nights().pass_by(*range(CALM))
    for night in range(CALM, CALM + 3):
        fleet.fail(SLOWED, night)
    found = told(fleet, CALM + 2)
    assert any(line.startswith("quarantine  torch[eager] my-lstm") for line in summary(found))
    suite = ET.fromstring(junit(found).partition("\n")[2])[0]
    assert (suite.get("skipped"), suite.get("errors")) == ("1", "0")


def test_a_slow_cell_in_quarantine_is_told_of_with_how_long_and_how_far(nights) -> None:
    def is_bad(cell: str, at: int) -> bool:
        return cell == SLOWED and at >= CALM

    fleet = nights(change=slower, unstable=is_bad).pass_by(*range(CALM))
    for at in range(CALM, CALM + 8):
        found = told(fleet.pass_by(at), at)
    lines = summary(found)
    assert not found.verdict.alarms  # it was told on its first night
    (line,) = (line for line in lines if line.startswith("quarantine  "))
    assert re.search(
        r"in quarantine for 8 runs, since 2026-01-15, unstable; gradient \+(4|5)\d\.\d % ± "
        r"\d+\.\d % against the 12 runs before",
        line,
    )
    assert "no regression" not in lines
    (none,) = (line for line in lines if line.startswith("no regression"))
    assert "1 of 4 cells unstable, 1 of 4 cells in quarantine" in none
    (skipped,) = ET.fromstring(junit(found).partition("\n")[2]).iter("skipped")
    assert skipped.get("message") in line
    output = ET.fromstring(junit(found).partition("\n")[2])[0][-1].text
    assert none in output


def test_a_step_that_is_unstable_and_in_quarantine_is_a_failure_in_junit(nights) -> None:
    fleet = nights(change=lambda cell, at: 1.5 if cell == SLOWED and at >= CALM else 1.0)
    fleet.unstable = lambda cell, at: cell == SLOWED and at >= CALM - 5
    found = told(fleet.pass_by(*range(CALM + 1)), CALM)
    assert found.exit_status == 1
    suite = ET.fromstring(junit(found).partition("\n")[2])[0]
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    lines = summary(found)
    assert lines[1].startswith("SLOWER  torch[eager] my-lstm")
    assert any(line.startswith("quarantine  torch[eager] my-lstm") for line in lines)


@pytest.mark.parametrize(
    ("noise", "headline"),
    [
        ("unstable", "; NOISY: 4 of 4 cells unstable"),
        ("disturbed", "; NOISY: 4 of 4 cells disturbed"),
    ],
)
def test_a_night_of_noise_says_so_in_its_first_line(nights, noise: str, headline: str) -> None:
    fleet = nights(**{noise: lambda cell, at: at == CALM}).pass_by(*range(CALM + 1))
    lines = summary(told(fleet, CALM))
    assert lines[0].endswith(headline)
    assert f"no regression distinguishable from noise: {headline[9:]}" in lines


def test_what_is_measured_again_stays_on_its_node_and_is_interleaved(nights) -> None:
    fleet = nights(change=all_slower).pass_by(*range(CALM + 1))
    verdict = fleet.judged(CALM)
    tasks = [fleet.measurement(cell, 0, 0, 1, 1).task for cell in fleet.cells]
    tasks = [replace(task, variant="eager") for task in tasks]
    found = again(Plan(tuple(Placement(task, 0, "elsewhere") for task in tasks)), verdict.open, 3)
    assert {(one.node_id, one.constraint.node_id) for one in found.placements} == {
        ("host1", "host1")
    }
    keys = [(one.task.key, one.repeat) for one in found.placements]
    assert len(keys) == len(set(keys)) == 3 * len(verdict.open)
    assert min(one.repeat for one in found.placements) == 1000
    planned = Plan(tuple(Placement(task, 0, "host1", "a type") for task in tasks))
    record = plan_record.join(plan_record.build_record(planned), plan_record.build_record(found))
    assert plan_record.first_repeats(record) == {task.key: {"a type": 0} for task in tasks}
    first = [one.task for one in found.placements[: len(verdict.open)]]
    assert len(set(first)) == len(verdict.open)


def test_every_cell_has_a_page_with_its_nights_and_the_query_that_shows_them(
    nights, night: Night
) -> None:
    fleet = nights(change=slower).pass_by(*range(CALM + 1))
    site = render_pages(
        "nights", fleet.history(), LatestRunSummary(("one line",), (("report", "nights/x"),))
    )
    cells = [text for name, text in site.items() if name.startswith("cells/")]
    assert len(cells) == len(fleet.cells)
    assert list(site)[-1] == "index.html"
    assert "one line" in site["index.html"]
    for one in night.verdict.watched:
        text = next(
            text for text in cells if one.cell.key.model in text and one.cell.key.framework in text
        )
        assert text.count("<tr class=") == CALM + 1
    assert "node_id = 'it''s'" in build_query(
        replace(night.verdict.watched[0].cell, node_id="it's")
    )
    assert "not measured again" in site["index.html"]
