"""Measurements for a page of a report, and the page as a tree of elements."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

from made_measurements import VERIFIED, make_measurement, make_times

from velodrome.agents.measurement import Measurement, Reading, Status
from velodrome.scheduler.commands.report_page import write_page

SWEEP = "20261124-063012-a1b2"
VOID = ("meta", "br", "input", "line", "path")
EVIL = (
    "</script><img src=x onerror=alert(1)><svg onload=alert(2)>\"'><a href=javascript:alert(3)>"
    "{{ 7 * 7 }} ${8*8} \u202e\x1b]0;owned\x07 `=1+1 <!--"
)


@dataclass
class Element:
    """An element of a page, with what the tests read of it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join([*self.texts, *(child.text for child in self.children)]).strip()

    def all(self, tag: str = "", **wanted: str) -> Iterator["Element"]:
        for child in self.children:
            of_class = set(wanted.get("of", "").split()) <= set(
                child.attributes.get("class", "").split()
            )
            if (not tag or child.tag == tag) and of_class:
                yield child
            yield from child.all(tag, **wanted)

    def by_id(self, name: str) -> "Element":
        return next(one for one in self.all() if one.attributes.get("id") == name)


class Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.path = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.path[-1].children.append(element)
        if tag not in VOID:
            self.path.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.path[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.path[-1].texts.append(data)


def parse_html(text: str) -> Element:
    tree = Tree()
    tree.feed(text)
    assert len(tree.path) == 1, "an element is not closed"
    return tree.path[0]


def make_cell(framework: str, variant: str, model: str, **changes: object) -> Measurement:
    """Make a measurement on a CPU, with a time unless changed."""
    plain = make_measurement(
        framework=framework,
        variant=variant,
        model=model,
        hostname="bay-01",
        started_at=1.79e9,
        finished_at=1.79e9 + 40,
        rerun=f"velodrome measure {framework} {model}",
        framework_version="2.13.0",
        cpu_model="Some CPU",
        **make_times(1, 3),
        verified=VERIFIED,
        gradient_error=1e-6,
        loss_error=1e-7,
        readings=tuple(
            Reading(at * 10**8, phase, 95.0, 10**8, 3)
            for at, phase in enumerate(("import", "build", "forward", "forward", "gradient"))
        ),
        peak_rss_bytes=3 * 2**20 * 100,
        kernels=(f"openblas 0.3.13 {'BARCELONA' if framework == 'theano' else 'SKYLAKEX'}",),
        interference_free=True,
    )
    return replace(plain, **changes)


def make_failed_cell(
    framework: str, model: str, status: Status, reason: str, log: str = ""
) -> Measurement:
    one = make_cell(framework, "plain", model, status=status, reason=reason, log_tail=log)
    return replace(one, forward=None, gradient=None, verified=None, readings=())


def change_task(one: Measurement, **of_task: object) -> Measurement:
    return replace(one, task=replace(one.task, **of_task))


def read_specs(tree: Element) -> dict[str, dict[str, object]]:
    """Read the specifications of all figures of a page."""
    found: dict[str, dict[str, object]] = json.loads(tree.by_id("specs").text)
    return found


def write_page_of(root: Path, tmp_path: Path) -> Element:
    """Write the page of these results and parse it."""
    write_page(root, "", tmp_path / "page.html")
    return parse_html((tmp_path / "page.html").read_text(encoding="utf-8"))
