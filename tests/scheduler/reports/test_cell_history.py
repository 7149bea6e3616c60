"""Intervals of single processes by the other sweeps of their store, in every form of a report."""

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times

from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Task
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.reports.process_variation import read_cell_history
from velodrome.scheduler.results.store import Store


def sweep(day: int) -> str:
    return f"202611{day:02d}-063012-a1b2"


def measured(ms: float, repeat: int = 0, node_type: str = "t1", threads: int = 2) -> Measurement:
    return make_measurement(
        Task("torch", "eager", "lenet", 8, threads=threads),
        repeat=repeat,
        node_type=node_type,
        rerun="velodrome measure torch lenet",
        **make_times(ms, 3, spread=0.0),
        verified=VERIFIED,
        gradient_error=1e-6,
    )


def test_the_first_process_of_each_other_sweep_estimates_process_variation(store: Store) -> None:
    for day in range(1, 7):
        store.put(sweep(day), measured(math.exp(0.01 * day)))
        store.put(sweep(day), measured(100.0, repeat=1))  # what a day has in common counts, too
    store.put(sweep(9), measured(5.0))
    found = read_cell_history(store, sweep(9))
    of_forward = found[measured(1.0).task.key, "t1", "forward"]
    # Logs 0.01 to 0.06: deviation 0.0187083.
    assert of_forward.deviation == pytest.approx(0.0187083)
    assert (of_forward.degrees, of_forward.source) == (5, "6 other sweeps")


@pytest.mark.parametrize("ms", [0.0, -1.0, math.inf])
def test_an_impossible_time_of_another_sweep_is_ignored(
    store: Store, root: Path, ms: float, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(1, 7):
        store.put(sweep(day), measured(math.exp(0.01 * day)))
    store.put(sweep(7), measured(ms))
    store.put(sweep(9), measured(5.0))
    (found, *_) = read_cell_history(store, sweep(9)).values()
    assert found.source == "6 other sweeps"
    report(root, "", ReportKind.TIMES, Form.CSV, None)
    assert "6 other sweeps" in capsys.readouterr().out


def test_five_other_sweeps_other_tasks_and_other_node_types_give_no_estimate(store: Store) -> None:
    for day in range(1, 6):
        store.put(sweep(day), measured(1.0))
    store.put(sweep(6), measured(1.0, node_type="t2"))
    store.put(sweep(7), measured(1.0, threads=1))
    store.put(sweep(9), measured(1.0))
    assert read_cell_history(store, sweep(9)) == {}


def test_an_unreadable_other_sweep_breaks_no_report(
    store: Store, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(1, 7):
        store.put(sweep(day), measured(1.0))
    store.put(sweep(9), measured(1.0))
    for file in (root / "tasks" / f"sweep={sweep(1)}").rglob("*.parquet"):
        file.write_bytes(b"nothing of the kind")
    report(root, sweep(9), ReportKind.TIMES, Form.MARKDOWN, None)
    assert "1.00 ms ✓" in capsys.readouterr().out


def test_a_single_process_shows_the_interval_of_other_sweeps_and_names_them(
    store: Store, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(1, 7):
        store.put(sweep(day), measured(math.exp(0.01 * day)))
    store.put(
        sweep(9), replace(measured(math.exp(0.03)), interference_free=False, interference="(steal)")
    )
    times = {}
    for form in (Form.TERMINAL, Form.MARKDOWN, Form.CSV):
        report(root, "", ReportKind.TIMES, form, None)
        times[form] = capsys.readouterr().out
    # t of 5 degrees 2.57058 times 0.0187083 is 0.0480914, which is 4.9 % upwards.
    for form in (Form.TERMINAL, Form.MARKDOWN):
        assert "1.03 ms ±4.9% by sweeps ✓" in times[form]
        assert times[form].index("1 of 1 timed runs had interference") < times[form].index(
            "1.03 ms"
        )
    (line,) = csv.DictReader(io.StringIO(times[Form.CSV]))
    assert line["forward_interval"] == "6 other sweeps"
    assert float(line["forward_low_ns"]) == pytest.approx(1e6 * math.exp(0.03 - 0.0480914))
    write_page(root, "", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "±4.9 % by sweeps" in page
    assert "by 6 other sweeps" in page
    assert page.index("1 of 1 timed runs had interference") < page.index("±4.9 % by sweeps")


def test_a_single_process_without_other_sweeps_is_shown_as_one_process(
    store: Store, root: Path, tmp_path: Path
) -> None:
    store.put(sweep(9), measured(1.0))
    write_page(root, "", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "no interval (1 process)" in page
    assert "2 of 2 times have no 95 % interval" in page
