"""JUnit XML of a nightly run, for CI test reports.

A cell on a node is a test case. A confirmed slow-down is a failure; a confirmed failure is an
error, as is a promised cell that has no number or is missing. Otherwise a cell in quarantine is
skipped. Elements and their order are common to Jenkins, GitLab and pytest.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from velodrome.scheduler.history.cell_series import Condition, NodeCell
from velodrome.scheduler.history.latest_run import CellVerdict, Finding, Kind
from velodrome.scheduler.nightly import phrases
from velodrome.scheduler.nightly.nightly_result import NightlyRun
from velodrome.scheduler.reports.junit_document import (
    add_output,
    add_properties,
    clean,
    format_document,
    make_suite,
)


def format_junit(run: NightlyRun) -> str:
    """Return the document with its declaration and a line end."""
    cases = [_make_case(run, cell) for cell in run.verdict.cells]
    cases += _make_other_cases(run)
    root = make_suite(
        {
            "name": run.name,
            "time": f"{run.seconds:.3f}",
            "timestamp": f"{run.started_at:%Y-%m-%dT%H:%M:%S}",
            "hostname": _format_hosts(run),
        },
        cases,
    )
    suite = root[0]
    add_properties(
        suite,
        {
            "sweep_id": run.sweep_id,
            "run": str(run.number),
            "unstable": str(run.unstable),
            "interference": str(run.with_interference),
        },
    )
    suite.extend(cases)
    add_output(
        suite,
        *(() if run.is_complete else (phrases.format_incomplete(run),)),
        *phrases.format_no_regression(run),
        phrases.format_false_alarms(run),
        phrases.format_detectable(run),
        *(f"left out of the history  {file}" for file in run.unreadable),
    )
    return format_document(root)


def _make_case(run: NightlyRun, cell: CellVerdict) -> ET.Element:
    case = _start_case(cell.cell, run.names[cell.cell], cell.latest.seconds)
    alarms = [finding for finding in cell.reported if finding.is_alarm]
    unmeasured = next((each for each in run.unmeasured if each.cell == cell.cell), None)
    if alarms:
        kind = alarms[0].kind
        element = ET.SubElement(
            case,
            "error" if kind is Kind.FAILS else "failure",
            {"message": clean(phrases.format_finding(alarms[0])), "type": kind.value},
        )
        lines = [_format_alarm(alarm) for alarm in alarms]
        lines += phrases.format_explanation(run.explanations.get(cell.cell))
        element.text = clean("\n".join(lines))
    elif unmeasured:
        _add_error(case, phrases.format_unmeasured(run, unmeasured), unmeasured.status)
    elif cell.quarantine:
        message = phrases.format_quarantine(cell.quarantine)
        ET.SubElement(case, "skipped", {"message": clean(message)})
    others = [f"{each.kind}: {_format_alarm(each)}" for each in cell.findings if each not in alarms]
    add_output(case, *_describe_conditions(cell), *others)
    return case


def _make_other_cases(run: NightlyRun) -> Iterator[ET.Element]:
    """Yield cases outside this run: cells without a node, vanished cells, an empty run."""
    judged = {cell.cell for cell in run.verdict.cells}
    for unmeasured in run.unmeasured:
        if unmeasured.cell not in judged:
            case = _start_case(unmeasured.cell, run.names[unmeasured.cell])
            _add_error(case, phrases.format_unmeasured(run, unmeasured), unmeasured.status)
            yield case
    for vanished in run.vanished:
        case = _start_case(vanished.cell, run.names[vanished.cell])
        message = f"vanished: {vanished.reason}"
        if vanished.is_promised:
            _add_error(case, message, "vanished")
        else:
            ET.SubElement(case, "skipped", {"message": clean(message)})
        yield case
    if not run.measured and not run.unmeasured:
        names = {"classname": "velodrome", "name": "nightly run", "time": "0.000"}
        case = ET.Element("testcase", names)
        _add_error(case, phrases.format_incomplete(run), "incomplete")
        yield case


def _start_case(cell: NodeCell, name: str, seconds: float = 0.0) -> ET.Element:
    names = {"classname": f"{cell.key.framework}.{cell.key.variant}", "name": name}
    cleaned = {key: clean(text) for key, text in names.items()}
    return ET.Element("testcase", {**cleaned, "time": f"{seconds:.3f}"})


def _add_error(case: ET.Element, message: str, kind: str) -> None:
    ET.SubElement(case, "error", {"message": clean(message), "type": clean(kind)})


def _describe_conditions(cell: CellVerdict) -> Iterator[str]:
    """Describe a run of poor quality."""
    if cell.latest.condition is Condition.UNSTABLE:
        yield "unstable: its interval is wider than the target"
    if cell.latest.has_interference:
        yield "interference: during most of its repeats"
    if cell.quarantine:
        yield phrases.format_quarantine(cell.quarantine)


def _format_alarm(finding: Finding) -> str:
    return f"{phrases.format_finding(finding)}; {phrases.format_confirmation(finding)}"


def _format_hosts(run: NightlyRun) -> str:
    names = sorted({cell.cell.hostname for cell in run.verdict.cells})
    return names[0] if len(names) == 1 else f"{len(names)} nodes"
