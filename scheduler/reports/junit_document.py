"""JUnit XML as Jenkins, GitLab and pytest write and read it: one suite of cases."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from velodrome.agents.safe_text import sanitize

_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def make_suite(attributes: Mapping[str, str], cases: Sequence[ET.Element]) -> ET.Element:
    """Make the root with one suite, whose counts are of its cases; they are to be added.

    attributes: of the suite, without its counts.
    """
    counts = {
        "tests": str(len(cases)),
        "failures": _count(cases, "failure"),
        "errors": _count(cases, "error"),
    }
    time = {"time": attributes["time"]} if "time" in attributes else {}
    root = ET.Element("testsuites", {"name": "velodrome", **counts, **time})
    own = {name: clean(value) for name, value in attributes.items() if name != "name"}
    ET.SubElement(
        root,
        "testsuite",
        {
            "name": clean(attributes["name"]),
            **counts,
            "skipped": _count(cases, "skipped"),
            **own,
        },
    )
    return root


def add_properties(suite: ET.Element, values: Mapping[str, str]) -> None:
    """Add properties to a suite."""
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", {"name": name, "value": clean(value)})


def add_output(element: ET.Element, *lines: str) -> None:
    """Add lines as the standard output of a suite or case, if there are any."""
    if lines:
        ET.SubElement(element, "system-out").text = clean("\n".join(lines))


def format_document(root: ET.Element) -> str:
    """Return the document with its declaration and a line end."""
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def clean(value: str) -> str:
    """Drop characters that XML 1.0 forbids."""
    return _NO_XML.sub("", sanitize(value))


def _count(cases: Sequence[ET.Element], name: str) -> str:
    return str(sum(case.find(name) is not None for case in cases))
