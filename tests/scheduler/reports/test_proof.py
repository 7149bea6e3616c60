"""Checks of timed phases: of a cell, below a grid, and in the page's table."""

import csv
import io

import pytest
from made_rows import typed
from report_texts import failed_row, make_tables, render_csv, render_terminal, row

from velodrome.scheduler.reports.html.check_lines import build_check_lines, format_figure
from velodrome.scheduler.reports.proof import CellProof, describe_undecided_checks, summarize_proof

PROVED = {"proved": ["drained", "possible"], "unproved": []}
LONG = "twice_the_work gradient: cannot_tell: a call takes 2.3 s: too long to be taken again"
LACKS = "follows_parameters forward: impossible: its graph holds them as constants"


def check(name: str, outcome: str = "passed", reason: str = "", **figures: float) -> dict:
    entries = [{"name": one, "value": value} for one, value in figures.items()]
    return {
        "name": name,
        "phase": "forward",
        "outcome": outcome,
        "reason": reason,
        "figures": entries,
    }


def test_a_check_is_passed_by_a_cell_if_it_passed_in_every_run() -> None:
    noisy = {"proved": ["possible"], "unproved": ["drained forward: cannot_tell: noise"]}
    proof = summarize_proof(typed([row(**PROVED), row(**noisy)]))
    assert proof.proved == ("possible",)
    assert proof.unproved == ("drained forward: cannot_tell: noise",)
    assert proof.list_checks("cannot_tell") == ("drained",)
    assert proof.list_checks("failed") == proof.list_checks("impossible") == ()


def test_an_outcome_that_a_reason_mentions_is_not_the_outcome() -> None:
    proof = CellProof(unproved=("drained forward: cannot_tell: a thing: failed: twice",))
    assert proof.list_checks("failed") == ()
    assert proof.list_checks("cannot_tell") == ("drained",)


@pytest.mark.parametrize("kept", [{}, {"proved": None, "unproved": None}])
def test_a_row_of_a_version_without_checks_is_marked_as_such(kept: dict) -> None:
    text = render_terminal([row("torch", **kept), row("jax", **PROVED)])
    assert "1 of 2 cells with a time: measured by a version that recorded no checks" in text
    assert text.count("✓") >= 4


def test_a_run_that_ended_before_any_check_is_not_marked_as_an_old_version() -> None:
    assert summarize_proof(typed([failed_row("torch", proved=[], unproved=[])])) == CellProof()


def test_an_inconclusive_check_keeps_the_mark_and_is_counted_below_the_grid() -> None:
    undecided = PROVED | {"unproved": [LONG, LACKS]}
    text = render_terminal(
        [row("torch", **undecided), row("jax", **PROVED), row("mxnet", **undecided)]
    )
    assert "1.00 ms ✓" in text
    assert "a check was inconclusive in 2 of 3 cells with a time: twice the work (2)" in text
    assert "a check was not applicable in 2 of 3 cells with a time: follows parameters (2)" in text


def test_if_every_check_passed_no_line_follows_the_grid() -> None:
    (table,) = make_tables([row("torch", **PROVED)])
    assert table.remarks == ()
    assert describe_undecided_checks([]) == ()


def test_the_line_names_the_most_frequent_inconclusive_check_first() -> None:
    drained = "drained forward: cannot_tell: noise"
    proofs = [
        CellProof(unproved=(LONG, drained)),
        CellProof(unproved=(LONG,)),
        CellProof(("drained",)),
    ]
    assert describe_undecided_checks(proofs) == (
        "a check was inconclusive in 2 of 3 cells with a time: twice the work (2), drained (1)",
    )


def test_csv_lists_passed_and_unproved_checks() -> None:
    (line,) = csv.DictReader(
        io.StringIO(render_csv([row("torch", **PROVED | {"unproved": [LONG]})]))
    )
    assert line["proved"] == "possible; drained"
    assert line["unproved"] == LONG


def test_texts_of_a_row_are_shown_without_escape_sequences() -> None:
    proof = summarize_proof(
        typed([row(proved=[], unproved=["drained forward: cannot_tell: \x1b]0;x\x07evil"])])
    )
    (text,) = proof.unproved
    assert text.endswith("evil") and text.isprintable()


def test_the_page_shows_the_worst_of_several_runs_and_their_number() -> None:
    late = check("drained", "failed", "the device was not done", excess_ns=2e6)
    lines = build_check_lines(
        [[check("drained"), check("possible")], [late], [check("drained", "cannot_tell")]]
    )
    assert [(one.name, one.outcome) for one in lines] == [
        ("possible", "passed"),
        ("drained", "failed"),
    ]
    assert lines[1].text == "failed in 1 of 3 runs"
    assert (lines[1].figures, lines[1].reason) == ("excess 2.00 ms", "the device was not done")


def test_an_unknown_check_is_left_out() -> None:
    assert build_check_lines([[check("of_another_version")]]) == ()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("first_reading_ns", 12_000.0, "first reading 12.0 µs"),
        ("excess_ns", -12_000.0, "excess -12.0 µs"),
        ("most_flops_per_s", 4.16e11, "most flops 416 GFLOP/s"),
        ("bytes_per_s", 9.5e9, "bytes 9.5 GB/s"),
        ("input_bytes", 3 * 2**20, "input 3 MiB"),
        ("input_bytes", 12_544.0, "input 12.2 KiB"),
        ("gradient_error", 4.8e-7, "gradient error 4.8e-07"),
        ("processor_share", 0.993, "processor share 99.3 %"),
        ("quickest_ratio", 2.04, "quickest ratio 2.04x"),
        ("window_s", 1.05, "window 1.05 s"),
        ("batches", 2.0, "batches 2"),
        ("ratio", None, "ratio: unknown"),
        ("ratio", float("inf"), "ratio: unknown"),
    ],
)
def test_a_figure_has_the_unit_at_the_end_of_its_name(
    name: str, value: float | None, text: str
) -> None:
    assert format_figure(name, value) == text
