"""Times in a report: their intervals, their spread and their marks of instability."""

import csv
import io

import pytest
from made_rows import typed
from report_texts import make_tables, render_csv, render_terminal, row, scale_times, six_rows

from velodrome.scheduler.reports.cell_times import (
    Time,
    add_times,
    combine_repeats,
    format_duration,
    format_time,
)
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.render import render_markdown
from velodrome.scheduler.statistics.replication import Repeat


def test_a_time_of_one_process_has_no_interval() -> None:
    assert combine_repeats([Repeat(10, 9, 11)]) == Time(10)
    assert combine_repeats([Repeat(10, 9, 11)]).half_width is None


def test_a_time_of_three_processes_has_a_spread_and_no_interval() -> None:
    assert combine_repeats([Repeat(10, 9, 11), Repeat(14, 13, 20), Repeat(12, 8, 13)]) == Time(
        12, processes=3, spread=1.4
    )


def test_impossible_repeats_have_no_interval() -> None:
    assert combine_repeats([Repeat(0, 0, 1), Repeat(1, 0, 2)]) == Time(0.5, processes=2)


def test_a_familys_total_sums_its_parts_and_their_intervals() -> None:
    assert add_times([Time(1, 0.5, 2), Time(10, 9, 11)]) == Time(11, 9.5, 13)
    assert add_times([Time(1, 0.5, 2), Time(10)]) == Time(11)
    assert not add_times([Time(1), Time(10, instability="slow noise")]).is_stable


def test_the_half_width_is_the_wider_side_of_the_interval() -> None:
    assert Time(100, 99, 105).half_width == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("ns", "text"),
    [(812, "812 ns"), (3210, "3.21 us"), (32_100_000, "32.1 ms"), (1_054_000_000, "1.05 s")],
)
def test_durations_have_three_figures_in_the_unit_that_suits(ns: float, text: str) -> None:
    assert format_duration(ns) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (Time(2e6, 1.98e6, 2.01e6, 6), "2.00 ms ±1.0%"),
        (Time(2e6, 1.5e6, 2.01e6, 6), "2.00 ms ±25%"),
        (Time(2e6, 1.98e6, 2.01e6, source="7 other sweeps"), "2.00 ms ±1.0% by sweeps"),
        (Time(2e6, processes=3, spread=1.034), "2.00 ms spread 3.4%"),
        (Time(2e6, processes=2, spread=27.3), "2.00 ms spread 27x"),
        (Time(2e6), "2.00 ms"),
    ],
)
def test_a_time_shows_its_known_uncertainty(time: Time, text: str) -> None:
    assert format_time(time) == text


def test_a_single_process_shows_no_interval_in_any_form() -> None:
    rows = [row("torch"), row("tensorflow")]
    for text in (render_terminal(rows), render_markdown(make_tables(rows))):
        grid, _, legend = text.partition("median of one batch")
        assert "1.00 ms ✓" in grid
        assert "±" not in grid and "±" in legend
    (first, _) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert (first["forward_low_ns"], first["forward_high_ns"]) == ("", "")
    assert first["forward_interval"] == "none: 1 process"


def test_widely_differing_processes_show_no_percentage() -> None:
    rows = [row("torch"), row("torch", repeat=1, **scale_times(27.0))]
    text = render_terminal(rows)
    assert "spread 27x [1] ~" in text
    assert "±" not in text.partition("median of one batch")[0]
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert line["gradient_interval"] == "none: 2 processes, spread 27x"
    assert line["gradient_low_ns"] == ""


def test_six_processes_show_an_interval_and_the_csv_names_its_source() -> None:
    rows = six_rows(forward_low_ns=None, forward_high_ns=None)
    assert "1.00 ms ±0.5% ✓" in render_terminal(
        rows
    )  # 0.0040 / 1.005 to the slowest, 0.005 to the fastest
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert line["forward_interval"] == "6 processes"
    assert float(line["forward_low_ns"]) <= 1e6 < 1.01e6 <= float(line["forward_high_ns"])


def test_canaries_around_the_tasks_give_a_single_process_an_interval_and_are_named() -> None:
    def around(n: int) -> dict[str, object]:
        times = {"canary_before_ns": 1e6 * (1 + 0.01 * n), "canary_after_ns": 1e6 * (1 - 0.01 * n)}
        return {"canary_model": "canary, numpy 2", **times}

    rows = [row(name, **around(n)) for n, name in enumerate(("torch", "theano", "jax"), 1)]
    # Six from 0.97 to 1.03: deviation of the logarithms 0.0237, t of 5 degrees 2.571.
    assert "±6.3% by canaries ✓" in render_terminal(rows)
    assert "6 canaries" in render_csv(rows)
    assert "by canaries ✓" not in render_terminal(rows[:2])  # four are too few


@pytest.mark.parametrize(
    "write", [render_terminal, lambda rows: render_markdown(make_tables(rows))]
)
def test_each_phase_is_marked_by_its_own_samples_with_the_reason_below(write) -> None:
    loose = {"status": "unstable", "forward_stable": False, "forward_instability": "slow"}
    grid, _, below = write([row("torch", **loose)]).partition("[1] torch")
    assert "1.00 ms [1] ~" in grid
    assert "3.00 ms ✓" in grid
    assert below.startswith(" plain, lenet b64 forward: unstable: low-frequency noise")


def test_instability_of_the_gradient_does_not_mark_the_forward_time() -> None:
    loose = {"status": "unstable", "forward_stable": True, "stable": False}
    text = render_terminal([row("torch", **loose, gradient_instability="few")])
    assert "1.00 ms ✓" in text and "3.00 ms [1] ~" in text
    assert "lenet b64 gradient: unstable: too few independent samples" in text


def test_grid_and_csv_agree_on_each_phase() -> None:
    loose = {"status": "unstable", "forward_stable": False, "forward_instability": "drift"}
    sharp = {"gradient_low_ns": 2.99e6, "gradient_high_ns": 3.01e6}
    rows = [row("torch", **sharp), row("torch", repeat=1, **sharp, **loose)]
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    reason = "the speed drifted during the measurement (1 of 2 processes)"
    assert (line["forward_stable"], line["forward_instability"]) == ("False", reason)
    assert (line["gradient_stable"], line["gradient_instability"], line["stable"]) == (
        "True",
        "",
        "False",
    )
    assert reason in render_terminal(rows)


def test_times_with_the_same_instability_reason_share_a_footnote() -> None:
    loose = {
        "status": "unstable",
        "stable": False,
        "forward_instability": "few",
        "gradient_instability": "few",
    }
    text = render_terminal([row("torch", **loose), row("torch", "lstm", **loose)])
    assert text.count("[1] ~") == 4 and "[2]" not in text
    assert "[1] torch plain, lenet b64 forward and 3 more: unstable: too few" in text


def test_rows_of_versions_without_instability_reasons_are_marked_too() -> None:
    text = render_terminal([row("torch", status="unstable", stable=False)])
    assert "1.00 ms [1] ~" in text and "did not settle: the time did not settle" not in text


def test_three_samples_of_old_rows_give_no_interval_either() -> None:
    rows = six_rows(gradient_samples=3)
    ((cell,),) = [cells.values() for cells in collect_cells(typed(rows)).values()]
    exact = [Repeat(value, value, value) for value in (3e6 * (1 + 0.002 * n) for n in range(6))]
    assert cell.gradient == combine_repeats(exact)
