"""JUnit XML of an acceptance: a machine is a test case.

A machine that fails is a failure; one that nobody can tell about is skipped, with the reason.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from velodrome.scheduler.reports.acceptance.text import describe_reasons, summarize
from velodrome.scheduler.reports.acceptance.verdicts import Acceptance, UnitVerdict
from velodrome.scheduler.reports.junit_document import (
    add_output,
    add_properties,
    clean,
    format_document,
    make_suite,
)


def format_junit(verdicts: Sequence[UnitVerdict], sweep_id: str) -> str:
    """Return the document with its declaration and a line end."""
    cases = [_make_case(one) for one in verdicts]
    root = make_suite({"name": "acceptance"}, cases)
    suite = root[0]
    add_properties(suite, {"sweep_id": sweep_id})
    suite.extend(cases)
    add_output(suite, summarize(verdicts))
    return format_document(root)


def _make_case(one: UnitVerdict) -> ET.Element:
    names = {"classname": f"{one.unit.kind}.{one.unit.node_type}", "name": one.unit.name}
    case = ET.Element("testcase", {key: clean(text) for key, text in names.items()})
    reasons = describe_reasons(one)
    if one.verdict is Acceptance.FAIL:
        kind = "fault" if any(fault.is_its_own for fault in one.faults) else "slow"
        failure = ET.SubElement(case, "failure", {"message": clean(reasons[0]), "type": kind})
        failure.text = clean("\n".join(reasons))
    elif one.verdict is Acceptance.CANNOT_TELL:
        ET.SubElement(case, "skipped", {"message": clean("; ".join(reasons))})
    return case
