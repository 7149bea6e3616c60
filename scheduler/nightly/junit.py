"""JUnit XML of a nightly run, for CI test reports.

A cell on a node is a test case. A confirmed slow-down is a failure; a confirmed failure is an
error, as is a promised cell that has no number or is missing. Otherwise a cell in quarantine is
skipped. Elements and their order are common to Jenkins, GitLab and pytest.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from velodrome.agents.safe_text import sanitize
from velodrome.scheduler.history.cell_series import Condition, NodeCell
from velodrome.scheduler.history.latest_run import Finding, Kind, Proof, Watched
from velodrome.scheduler.nightly import phrases
from velodrome.scheduler.nightly.nightly_result import Night

_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(night: Night) -> str:
    """Return the document with its declaration and a line end."""
    cases = [_case(night, one) for one in night.verdict.watched]
    cases += _others(night)
    counts = {
        "tests": str(len(cases)),
        "failures": _count(cases, "failure"),
        "errors": _count(cases, "error"),
    }
    time = {"time": f"{night.seconds:.3f}"}
    suites = ET.Element("testsuites", {"name": "velodrome", **counts, **time})
    suite = ET.SubElement(
        suites,
        "testsuite",
        {
            "name": _text(night.name),
            **counts,
            "skipped": _count(cases, "skipped"),
            **time,
            "timestamp": f"{night.began:%Y-%m-%dT%H:%M:%S}",
            "hostname": _text(_hosts(night)),
        },
    )
    _properties(suite, night)
    suite.extend(cases)
    whole = () if night.is_whole else (phrases.incomplete(night),)
    worth = (*whole, *phrases.no_regression(night))
    unread = (f"left out of the history  {one}" for one in night.unread)
    told = "\n".join((*worth, phrases.false_alarms(night), phrases.detectable(night), *unread))
    ET.SubElement(suite, "system-out").text = _text(told)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(night: Night, one: Watched) -> ET.Element:
    cell = one.cell
    case = ET.Element(
        "testcase",
        {
            "classname": _text(f"{cell.key.framework}.{cell.key.variant}"),
            "name": _text(night.names[cell]),
            "time": f"{one.tonight.seconds:.3f}",
        },
    )
    confirmed = [each for each in one.told if each.proof is Proof.CONFIRMED]
    alarms = [each for each in confirmed if each.kind is not Kind.FASTER]
    if alarms:
        kind = alarms[0].kind
        element = ET.SubElement(
            case,
            "error" if kind is Kind.FAILS else "failure",
            {"message": _text(phrases.finding(alarms[0])), "type": kind.value},
        )
        lines = [f"{phrases.finding(each)}; {phrases.proof(each)}" for each in alarms]
        lines += phrases.explanation(night.explanations.get(cell))
        element.text = _text("\n".join(lines))
    elif lacking := next((each for each in night.lacking if each.cell == cell), None):
        _error(case, phrases.lacking(night, lacking), lacking.status)
    elif one.quarantined:
        ET.SubElement(case, "skipped", {"message": _text(phrases.quarantine(one))})
    told = [*_conditions(one), *(_remark(each) for each in one.findings if each not in alarms)]
    if told:
        ET.SubElement(case, "system-out").text = _text("\n".join(told))
    return case


def _others(night: Night) -> Iterator[ET.Element]:
    """Yield cases outside this run: cells without a node, vanished cells, an empty run."""
    watched = {one.cell for one in night.verdict.watched}
    for one in night.lacking:
        if one.cell not in watched:
            case = _case_of(one.cell, night.names[one.cell])
            _error(case, phrases.lacking(night, one), one.status)
            yield case
    for gone in night.vanished:
        case = _case_of(gone.cell, night.names[gone.cell])
        if gone.is_promised:
            _error(case, f"vanished: {gone.why}", "vanished")
        else:
            ET.SubElement(case, "skipped", {"message": _text(f"vanished: {gone.why}")})
        yield case
    if not night.measured and not night.lacking:
        case = ET.Element("testcase", {"classname": "velodrome", "name": "night", "time": "0.000"})
        _error(case, phrases.incomplete(night), "incomplete")
        yield case


def _case_of(cell: NodeCell, name: str) -> ET.Element:
    where = {"classname": _text(f"{cell.key.framework}.{cell.key.variant}"), "name": _text(name)}
    return ET.Element("testcase", {**where, "time": "0.000"})


def _error(case: ET.Element, message: str, kind: str) -> None:
    ET.SubElement(case, "error", {"message": _text(message), "type": _text(kind)})


def _conditions(one: Watched) -> Iterator[str]:
    """Describe a run of poor quality."""
    if one.tonight.condition is Condition.UNSTABLE:
        yield "unstable: its time is not within the target interval"
    if one.tonight.disturbed:
        yield "disturbed: interference during most of its repeats"
    if one.quarantined:
        yield phrases.quarantine(one)


def _remark(found: Finding) -> str:
    return f"{found.kind}: {phrases.finding(found)}; {phrases.proof(found)}"


def _properties(suite: ET.Element, night: Night) -> None:
    told = {
        "sweep_id": night.sweep_id,
        "night": str(night.number),
        "unstable": str(night.unstable),
        "disturbed": str(night.disturbed),
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in told.items():
        ET.SubElement(properties, "property", {"name": name, "value": _text(value)})


def _count(cases: Sequence[ET.Element], name: str) -> str:
    return str(sum(case.find(name) is not None for case in cases))


def _hosts(night: Night) -> str:
    names = sorted({one.cell.hostname for one in night.verdict.watched})
    return names[0] if len(names) == 1 else f"{len(names)} nodes"


def _text(value: str) -> str:
    """Drop characters that XML 1.0 forbids."""
    return _NO_XML.sub("", sanitize(value))
