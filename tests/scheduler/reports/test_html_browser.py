"""The page of `velodrome report --html` in a real browser, as on a desk and as on a phone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # there is no package of tests
from chromium import Tab, executable, opened
from made_measurements import VERIFIED, make_measurement, make_times

from velodrome.adapters.protocol import CHECKS, Checked, Figure
from velodrome.agents.measurement import Measurement, Reading
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
EVIL = "</script><img src='https://example.org/x' onerror=alert(1)><b style='position:fixed'>" * 3
NOISE = "a_word_that_is_longer_than_a_phone_is_wide_" * 3
pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.skipif(executable() is None, reason="there is no Chromium on this machine"),
]


def measured(framework: str, size: int, threads: int) -> Measurement:
    return make_measurement(
        Task(framework, "plain", "lenet", size, threads=threads),
        hostname="bay-01",
        started_at=1.79e9,
        finished_at=1.79e9 + 40,
        **make_times(0.1 * size, 0.1 * size, spread=0.1),
        verified=VERIFIED,
        readings=tuple(Reading(at * 10**8, "forward", 95.0, 10**8, 3) for at in range(9)),
        checks=tuple(
            Checked(name, "gradient", "cannot_tell", (Figure("excess_ns", 12_000.0),), NOISE, 7)
            for name in CHECKS
        ),
        cpu_model="Some CPU",
        notes=(EVIL,),
        rerun=f"velodrome measure {framework} lenet",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    store = Store(folder / "results")
    with store.hold_sweep(SWEEP):
        store.put_nodes(SWEEP, [Node("n1", "bay-01", "Some CPU", (Core(0, (0,)),), 2**34)])
        for framework in ("torch", "tensorflow", "theano", "jax", "mxnet", "chainer", EVIL):
            for size, threads in ((16, 1), (64, 1), (64, 2)):
                store.put(SWEEP, measured(framework, size, threads))
        store.compact(SWEEP)
    write_page(folder / "results", "", folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def tab(page: Path) -> Iterator[Tab]:
    with opened(executable() or "") as tab:
        tab.look(1280)
        tab.open(page)
        tab.run("drawAll().then(() => 0)")
        yield tab


def test_the_page_loads_nothing_else_and_logs_no_error(tab: Tab, page: Path) -> None:
    assert tab.requests == [page.as_uri()]
    assert tab.console == []


def test_the_page_shows_the_grid_and_every_figure(tab: Tab, page: Path) -> None:
    assert tab.run("document.querySelectorAll('#grid td button').length") >= 20
    drawn = (
        "[...document.querySelectorAll('.chart')].map((one) => one.querySelectorAll('path').length)"
    )
    paths = tab.run(drawn)
    assert len(paths) >= 5
    assert min(paths) > 0
    tab.picture(page.with_suffix(".png"))
    assert page.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(tab: Tab, scheme: str) -> None:
    tab.look(375, scheme)
    tab.run("new Promise((then) => setTimeout(then, 300))")  # figures take the new width
    assert tab.run("document.documentElement.scrollWidth") == 375
    wide = (
        "[...document.querySelectorAll('main > section, main > section > *, figure')]"
        ".filter((one) => one.getBoundingClientRect().right > 375).length"
    )
    assert tab.run(wide) == 0
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    tab.look(1280)


def test_details_of_a_place_open_and_two_can_be_shown_side_by_side(tab: Tab) -> None:
    tab.run("document.querySelectorAll('#grid td button')[0].click()")
    assert "gradient time" in tab.run("document.querySelector('.card:popover-open').textContent")
    tab.run("document.querySelector('.card:popover-open .compare-with').click()")
    tab.run("document.querySelectorAll('#grid td button')[1].click()")
    beside = tab.run("document.querySelector('#beside:popover-open').textContent")
    assert "torch plain" in beside
    assert "tensorflow plain" in beside
    tab.run("document.querySelector('#beside').hidePopover()")


def test_the_checks_of_a_place_are_a_table_that_fits_a_phone(tab: Tab, page: Path) -> None:
    tab.look(375)
    tab.run("document.querySelectorAll('#grid td button')[0].click()")
    table = "document.querySelector('.card:popover-open details.checks[open] table')"
    assert tab.run(f"{table}.rows.length") == 1 + len(CHECKS)
    assert "excess 12.0 µs" in tab.run(f"{table}.rows[1].textContent")
    assert tab.run("document.documentElement.scrollWidth") == 375
    card = "document.querySelector('.card:popover-open')"
    assert tab.run(f"{card}.scrollWidth <= {card}.clientWidth")
    tab.run(f"{table}.scrollIntoView()")
    tab.picture(page.with_name("checks.png"))
    tab.run(f"{card}.hidePopover()")
    tab.look(1280)


def test_the_studys_figures_are_shown_only_on_request(tab: Tab) -> None:
    shown = "getComputedStyle(document.querySelector('td.published')).display"
    assert tab.run(shown) == "none"
    tab.run("document.getElementById('show-published').click()")
    assert tab.run(shown) == "table-cell"
