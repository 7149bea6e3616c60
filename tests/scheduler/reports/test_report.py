"""The grid of a report on a terminal, in Markdown and in CSV."""

import csv
import io
import re

import pytest
from made_rows import typed
from report_texts import draw_tables, failed_row, make_tables, render_csv, render_terminal, row

from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.reports.render import render_markdown
from velodrome.scheduler.reports.tables import build_table
from velodrome.scheduler.reports.task_rows import select_unexpected


def test_the_best_of_a_line_has_no_ratio_and_the_others_have_one() -> None:
    slow = row("tensorflow", forward_median_ns=1.5e6, forward_low_ns=1.5e6, forward_high_ns=1.5e6)
    text = render_terminal([row("torch"), slow])
    assert "1.50 ms 1.50x ✓" in text
    assert "1.00 ms ✓" in text


def test_a_cell_without_a_number_has_its_reason_and_rerun_command() -> None:
    text = render_terminal([row("torch"), failed_row("tensorflow")])
    assert "crashed [1]" in text
    assert "[1] tensorflow plain, lenet b64: crashed: killed by SIGSEGV" in text
    assert re.search(r"rerun: \S*velodrome measure tensorflow lenet\n", text)


def test_a_cell_with_one_failed_repeat_keeps_its_number_and_says_so() -> None:
    text = render_terminal([row("torch"), failed_row("torch", repeat=1)])
    assert "1.00 ms" in text
    assert "1 of 2 repeats: crashed" in text


@pytest.mark.parametrize(
    "write",
    [
        lambda rows, first: render_markdown(rows, first),
        lambda rows, first: draw_tables(rows, first),
    ],
)
def test_a_sweep_with_interference_says_so_before_any_number(write) -> None:
    story = "its cores were used by others while it was timed, 50 % of one core: stress (pid 7)"
    rows = [
        row("torch", interference_free=False, interference=story),
        row("tensorflow", interference_free=True),
    ]
    text = write(make_tables(rows), describe_interference(typed(rows)))
    first, number = text.index("1 of 2 timed runs had interference"), text.index("1.00 ms")
    assert first < number
    assert "other processes on their cores in 1 (stress)" in text


def test_a_lost_and_repeated_attempt_is_not_shown() -> None:
    text = render_terminal([failed_row("torch", status="lost", attempt=1), row("torch", attempt=2)])
    assert "lost" not in text
    assert "1.00 ms" in text


def test_versions_of_a_framework_follow_it_and_its_default_variant_comes_first() -> None:
    rows = [
        row("torch==2.9.1", variant="eager"),
        row("theano"),
        *(row("torch", variant=one, task_id=one) for one in ("compile", "eager")),
    ]
    (table,) = make_tables(rows)
    assert table.implementations == (
        "torch eager",
        "torch compile",
        "torch==2.9.1 eager",
        "theano plain",
    )


def test_no_cell_of_a_table_is_blank() -> None:
    rows = [row("torch", "lenet"), row("tensorflow", "lstm")]
    (table,) = [
        build_table(platform, cells) for platform, cells in collect_cells(typed(rows)).items()
    ]
    assert all(entry.text for line in table.lines for entry in line.entries)


def test_each_device_and_thread_count_has_its_own_table() -> None:
    assert (
        len(
            collect_cells(
                typed([row(), row(task_id="2", threads=2), row(task_id="3", device="gpu")])
            )
        )
        == 3
    )


def test_pre_training_is_the_sum_of_the_three_stages() -> None:
    family = "autoencoder-400-200-100"
    rows = [row("torch", f"{family}/ae{number}") for number in (1, 2, 3)]
    assert f"{family} pre-training b64" in render_terminal(rows)
    assert "9.00 ms" in render_terminal(rows)


def test_pre_training_is_not_shown_if_a_stage_is_missing() -> None:
    family = "autoencoder-400-200-100"
    assert "pre-training" not in render_terminal([row("torch", f"{family}/ae{n}") for n in (1, 2)])


def test_an_expected_failure_is_not_unexpected() -> None:
    expectation = {
        "expected": "unsupported",
        "expected_reason": "no LRN there",
        "unexpected": False,
    }
    rows = [row("torch"), failed_row("neon", status="unsupported", reason="no Lrn", **expectation)]
    text = render_terminal(rows)
    assert "unsupported [1] -" in text
    assert "unsupported: no Lrn (expected unsupported: no LRN there)" in text
    expectation = " ".join(text.split()).replace("! unexpected", "")
    assert "Unexpected results" not in expectation and "!" not in expectation


@pytest.mark.parametrize(
    "write", [render_terminal, lambda rows: render_markdown(make_tables(rows))]
)
def test_unexpected_results_in_both_directions_are_marked_and_come_first(write) -> None:
    expectation = {"expected": "unsupported", "expected_reason": "no LRN there"}
    rows = [
        failed_row("theano", status="unsupported", unexpected=False, **expectation),
        failed_row("torch", unexpected=True, expected="agreed"),
        row("neon", unexpected=True, **expectation),
    ]
    text = write(rows)
    first, _, rest = text.partition("Unexpected results")
    assert "crashed [1] ✗ !" in first
    assert "1.00 ms [3] ✓ !" in first
    assert rest.index("torch plain, lenet b64: crashed: killed by SIGSEGV") < rest.index("theano")
    assert "neon plain, lenet b64: agreed, expected unsupported: no LRN there" in rest


def test_one_unexpected_repeat_makes_its_cell_unexpected() -> None:
    rows = [row("torch", unexpected=False), failed_row("torch", repeat=1, unexpected=True)]
    ((cell,),) = [cells.values() for cells in collect_cells(typed(rows)).values()]
    assert cell.is_unexpected
    assert len(select_unexpected(typed(rows))) == 1


def test_a_lost_and_repeated_attempt_is_not_unexpected() -> None:
    lost = failed_row("torch", status="lost", attempt=1, unexpected=True)
    assert select_unexpected(typed([lost, row("torch", attempt=2, unexpected=False)])) == []


def test_rows_of_versions_without_expectations_are_expected_to_agree() -> None:
    assert [
        one.framework for one in select_unexpected(typed([row("torch"), failed_row("neon")]))
    ] == ["neon"]


def test_a_composed_operation_is_listed_once_with_its_models() -> None:
    composed = {"notes": ["composed: Lrn of shifted sums", "no TF32"]}
    rows = [row("torch", model, **composed) for model in ("alexnet", "lenet")]
    assert "torch plain: composed: Lrn of shifted sums (lenet, alexnet)" in render_terminal(rows)
    assert "TF32" not in render_terminal(rows)


def test_a_framework_that_computes_in_another_dtype_than_the_title_says_so() -> None:
    text = render_terminal([row("numpy", variant="float64"), row("torch")])
    assert "numpy float64: computes in float64, from float32 weights and batches" in text


def test_a_framework_without_a_time_computes_in_no_dtype() -> None:
    lacks = {"variant": "float64", "dtype": "bfloat16", "status": "unsupported"}
    text = render_terminal([failed_row("numpy", **lacks), row("torch", dtype="bfloat16")])
    assert "computes in" not in text


def test_escape_sequences_in_a_results_folder_reach_no_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jboom\r\nsecond\u202eline"
    rows = [failed_row("torch", reason=evil, rerun=evil, expected="agreed", unexpected=True)]
    rows += [row("evil\x1b[31m", variant=evil, cpu_model=evil, notes=[f"composed: {evil}"])]
    rows += [row("neon", expected="unsupported", expected_reason=evil, unexpected=True)]
    for text in (render_terminal(rows), render_markdown(make_tables(rows)), render_csv(rows)):
        assert "boom secondline" in text
        assert not set(text) & set("\x1b\x07\r\u202e")


def test_markup_in_a_reason_is_shown_literally() -> None:
    text = render_terminal([failed_row("torch", reason="[red]boom[/red]")])
    assert "[red]boom[/red]" in text


def test_markdown_has_a_line_per_workload_and_phase_and_escapes_bars() -> None:
    rows = [row("torch"), failed_row("tensorflow", reason="a|b")]
    text = render_markdown(make_tables(rows))
    assert "| lenet b64 | forward | 1.00 ms ✓ | crashed [1] ✗ ! |" in text
    assert "### Some CPU, cpu, 1 thread, float32" in text


def test_csv_keeps_the_reason_of_a_cell_without_a_number() -> None:
    text = render_csv([row("torch"), failed_row("tensorflow", reason="with, comma")])
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["framework"] for line in lines] == ["torch", "tensorflow"]
    assert lines[0]["gradient_median_ns"] == "3000000.0"
    assert lines[1]["gradient_median_ns"] == ""
    assert lines[1]["reason"] == "with, comma"
