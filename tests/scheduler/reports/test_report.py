import csv
import io
import re

import pytest
from made_rows import typed
from rich.console import Console

from velodrome.scheduler.reports.cell_rows import build_cell_row
from velodrome.scheduler.reports.cell_times import (
    Time,
    add_times,
    combine_repeats,
    format_duration,
    format_time,
)
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.csv_markdown import csv_rows
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.reports.render import render_markdown, render_tables
from velodrome.scheduler.reports.tables import Table, build_table
from velodrome.scheduler.reports.task_rows import select_unexpected
from velodrome.scheduler.statistics.replication import Repeat


def row(framework: str = "torch", model: str = "lenet", **changes: object) -> dict[str, object]:
    """A row of the `tasks` table with a number, unless changed."""
    plain: dict[str, object] = {
        "task_id": f"{framework}-{model}",
        "repeat": 0,
        "attempt": 1,
        "status": "ok",
        "reason": "",
        "rerun": f"velodrome measure {framework} {model}",
        "framework": framework,
        "variant": "plain",
        "model": model,
        "batch_size": 64,
        "device": "cpu",
        "threads": 1,
        "dtype": "float32",
        "node_type": "t1",
        "cpu_model": "Some CPU",
        "gpu_name": "",
        "forward_median_ns": 1e6,
        "forward_low_ns": 0.99e6,
        "forward_high_ns": 1.01e6,
        "gradient_median_ns": 3e6,
        "gradient_low_ns": 2.9e6,
        "gradient_high_ns": 3.1e6,
        "verified": True,
        "stable": True,
        "gradient_error": 1e-6,
        "peak_rss_bytes": 10**8,
        "cpu_percent_mean": 99.0,
    }
    return plain | changes


def failed(framework: str, **changes: object) -> dict[str, object]:
    nothing = {name: None for name in row() if name.endswith("_ns")}
    told = {"status": "crashed", "reason": "killed by SIGSEGV", "verified": False, "stable": False}
    return row(framework, **(nothing | told | changes))


def shown(rows: list[dict[str, object]]) -> str:
    return drawn(tables_of(rows))


def drawn(tables: list[Table], first: str = "") -> str:
    screen = Console(width=140, file=io.StringIO())
    with screen.capture() as capture:
        screen.print(render_tables(tables, first))
    return capture.get()


def tables_of(rows: list[dict[str, object]]) -> list[Table]:
    return [build_table(platform, cells) for platform, cells in collect_cells(typed(rows)).items()]


def csv_of(rows: list[dict[str, object]]) -> str:
    return csv_rows(
        [
            build_cell_row(platform, workload, impl, cell)
            for platform, cells in collect_cells(typed(rows)).items()
            for (workload, impl), cell in cells.items()
        ]
    )


def six(framework: str = "torch", **changes: object) -> list[dict[str, object]]:
    """Six processes of a cell that differ by 1 % in all."""
    return [row(framework, repeat=n, **{**scaled(1 + 0.002 * n), **changes}) for n in range(6)]


def scaled(by: float) -> dict[str, object]:
    return {name: value * by for name, value in row().items() if name.endswith("_ns")}


def test_a_time_of_one_process_has_no_interval() -> None:
    assert combine_repeats([Repeat(10, 9, 11)]) == Time(10)
    assert combine_repeats([Repeat(10, 9, 11)]).half_width is None


def test_a_time_of_three_has_no_interval_and_says_how_far_they_are_apart() -> None:
    assert combine_repeats([Repeat(10, 9, 11), Repeat(14, 13, 20), Repeat(12, 8, 13)]) == Time(
        12, processes=3, spread=1.4
    )


def test_repeats_that_no_clock_has_measured_have_no_interval() -> None:
    assert combine_repeats([Repeat(0, 0, 1), Repeat(1, 0, 2)]) == Time(0.5, processes=2)


def test_a_familys_total_is_the_sum_of_its_parts_and_its_interval_of_all_of_theirs() -> None:
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
def test_a_time_shows_as_much_of_how_far_it_may_be_off_as_is_known(time: Time, text: str) -> None:
    assert format_time(time) == text


def test_a_single_process_shows_no_interval_in_any_form() -> None:
    rows = [row("torch"), row("tensorflow")]
    for text in (shown(rows), render_markdown(tables_of(rows))):
        grid, _, legend = text.partition("median of one batch")
        assert "1.00 ms ✓" in grid
        assert "±" not in grid and "±" in legend
    (first, _) = csv.DictReader(io.StringIO(csv_of(rows)))
    assert (first["forward_low_ns"], first["forward_high_ns"]) == ("", "")
    assert first["forward_interval"] == "none: 1 process"


def test_processes_that_differ_by_much_show_no_percentage() -> None:
    rows = [row("torch"), row("torch", repeat=1, **scaled(27.0))]
    text = shown(rows)
    assert "spread 27x [1] ~" in text
    assert "±" not in text.partition("median of one batch")[0]
    (line,) = csv.DictReader(io.StringIO(csv_of(rows)))
    assert line["gradient_interval"] == "none: 2 processes, spread 27x"
    assert line["gradient_low_ns"] == ""


def test_six_processes_show_an_interval_and_the_csv_says_whose_it_is() -> None:
    rows = six(forward_low_ns=None, forward_high_ns=None)
    assert "1.00 ms ±0.5% ✓" in shown(rows)  # 0.0040 / 1.005 to the slowest, 0.005 to the fastest
    (line,) = csv.DictReader(io.StringIO(csv_of(rows)))
    assert line["forward_interval"] == "6 processes"
    assert float(line["forward_low_ns"]) <= 1e6 < 1.01e6 <= float(line["forward_high_ns"])


def test_canaries_around_the_tasks_give_a_single_process_an_interval_and_are_named() -> None:
    def around(n: int) -> dict[str, object]:
        times = {"canary_before_ns": 1e6 * (1 + 0.01 * n), "canary_after_ns": 1e6 * (1 - 0.01 * n)}
        return {"canary_model": "canary, numpy 2", **times}

    rows = [row(name, **around(n)) for n, name in enumerate(("torch", "theano", "jax"), 1)]
    # Six from 0.97 to 1.03: deviation of the logarithms 0.0237, t of 5 degrees 2.571.
    assert "±6.3% by canaries ✓" in shown(rows)
    assert "6 canaries" in csv_of(rows)
    assert "by canaries ✓" not in shown(rows[:2])  # four tell too little


def test_the_best_of_a_line_has_no_ratio_and_the_others_say_how_far_behind_they_are() -> None:
    slow = row("tensorflow", forward_median_ns=1.5e6, forward_low_ns=1.5e6, forward_high_ns=1.5e6)
    text = shown([row("torch"), slow])
    assert "1.50 ms 1.50x ✓" in text
    assert "1.00 ms ✓" in text


def test_a_cell_without_a_number_gives_its_reason_and_the_command_that_runs_it_again() -> None:
    text = shown([row("torch"), failed("tensorflow")])
    assert "crashed [1]" in text
    assert "[1] tensorflow plain, lenet b64: crashed: killed by SIGSEGV" in text
    assert re.search(r"rerun: \S*velodrome measure tensorflow lenet\n", text)


def test_a_cell_of_which_one_repeat_failed_keeps_its_number_and_says_so() -> None:
    text = shown([row("torch"), failed("torch", repeat=1)])
    assert "1.00 ms" in text
    assert "1 of 2 repeats: crashed" in text


@pytest.mark.parametrize("write", [shown, lambda rows: render_markdown(tables_of(rows))])
def test_each_phase_is_marked_by_its_own_samples_and_says_below_why(write) -> None:
    loose = {"status": "unstable", "forward_stable": False, "forward_instability": "slow"}
    grid, _, below = write([row("torch", **loose)]).partition("[1] torch")
    assert "1.00 ms [1] ~" in grid
    assert "3.00 ms ✓" in grid
    assert below.startswith(" plain, lenet b64 forward: unstable: low-frequency noise")


def test_the_gradients_doubt_is_not_the_forward_times() -> None:
    loose = {"status": "unstable", "forward_stable": True, "stable": False}
    text = shown([row("torch", **loose, gradient_instability="few")])
    assert "1.00 ms ✓" in text and "3.00 ms [1] ~" in text
    assert "lenet b64 gradient: unstable: too few independent samples" in text


def test_grid_and_csv_agree_on_each_phase() -> None:
    loose = {"status": "unstable", "forward_stable": False, "forward_instability": "drift"}
    sharp = {"gradient_low_ns": 2.99e6, "gradient_high_ns": 3.01e6}
    rows = [row("torch", **sharp), row("torch", repeat=1, **sharp, **loose)]
    (line,) = csv.DictReader(io.StringIO(csv_of(rows)))
    told = "the speed drifted during the measurement (1 of 2 processes)"
    assert (line["forward_stable"], line["forward_instability"]) == ("False", told)
    assert (line["gradient_stable"], line["gradient_instability"], line["stable"]) == (
        "True",
        "",
        "False",
    )
    assert told in shown(rows)


def test_times_with_the_same_doubt_share_a_footnote() -> None:
    loose = {
        "status": "unstable",
        "stable": False,
        "forward_instability": "few",
        "gradient_instability": "few",
    }
    text = shown([row("torch", **loose), row("torch", "lstm", **loose)])
    assert text.count("[1] ~") == 4 and "[2]" not in text
    assert "[1] torch plain, lenet b64 forward and 3 more: unstable: too few" in text


def test_rows_from_before_doubts_had_words_are_marked_all_the_same() -> None:
    text = shown([row("torch", status="unstable", stable=False)])
    assert "1.00 ms [1] ~" in text and "did not settle: the time did not settle" not in text


def test_three_samples_of_old_rows_claim_nothing_either() -> None:
    rows = six(gradient_samples=3)
    ((cell,),) = [cells.values() for cells in collect_cells(typed(rows)).values()]
    exact = [Repeat(value, value, value) for value in (3e6 * (1 + 0.002 * n) for n in range(6))]
    assert cell.gradient == combine_repeats(exact)


@pytest.mark.parametrize(
    "write",
    [lambda rows, first: render_markdown(rows, first), lambda rows, first: drawn(rows, first)],
)
def test_a_disturbed_sweep_says_so_before_any_number(write) -> None:
    story = "its cores were used by others while it was timed, 50 % of one core: stress (pid 7)"
    rows = [
        row("torch", interference_free=False, interference=story),
        row("tensorflow", interference_free=True),
    ]
    text = write(tables_of(rows), describe_interference(typed(rows)))
    first, number = text.index("1 of 2 timed runs had interference"), text.index("1.00 ms")
    assert first < number
    assert "other processes on their cores in 1 (stress)" in text


def test_a_lost_attempt_that_was_made_good_is_not_shown() -> None:
    text = shown([failed("torch", status="lost", attempt=1), row("torch", attempt=2)])
    assert "lost" not in text
    assert "1.00 ms" in text


def test_versions_of_a_framework_stand_behind_it_and_its_default_variant_first() -> None:
    rows = [
        row("torch==2.9.1", variant="eager"),
        row("theano"),
        *(row("torch", variant=one, task_id=one) for one in ("compile", "eager")),
    ]
    (table,) = tables_of(rows)
    assert table.implementations == (
        "torch eager",
        "torch compile",
        "torch==2.9.1 eager",
        "theano plain",
    )


def test_no_place_of_a_table_is_blank() -> None:
    rows = [row("torch", "lenet"), row("tensorflow", "lstm")]
    (table,) = [
        build_table(platform, cells) for platform, cells in collect_cells(typed(rows)).items()
    ]
    assert all(entry.text for line in table.lines for entry in line.entries)


def test_devices_and_thread_counts_stand_in_tables_of_their_own() -> None:
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
    assert f"{family} pre-training b64" in shown(rows)
    assert "9.00 ms" in shown(rows)


def test_pre_training_is_not_shown_where_a_stage_is_missing() -> None:
    family = "autoencoder-400-200-100"
    assert "pre-training" not in shown([row("torch", f"{family}/ae{n}") for n in (1, 2)])


def test_what_was_not_to_agree_and_did_not_is_no_surprise() -> None:
    told = {"expected": "unsupported", "expected_reason": "no LRN there", "unexpected": False}
    rows = [row("torch"), failed("neon", status="unsupported", reason="no Lrn", **told)]
    text = shown(rows)
    assert "unsupported [1] -" in text
    assert "unsupported: no Lrn (expected unsupported: no LRN there)" in text
    told = " ".join(text.split()).replace("! unexpected", "")
    assert "Unexpected results" not in told and "!" not in told


@pytest.mark.parametrize("write", [shown, lambda rows: render_markdown(tables_of(rows))])
def test_surprises_in_both_directions_are_marked_and_stand_first(write) -> None:
    told = {"expected": "unsupported", "expected_reason": "no LRN there"}
    rows = [
        failed("theano", status="unsupported", unexpected=False, **told),
        failed("torch", unexpected=True, expected="agreed"),
        row("neon", unexpected=True, **told),
    ]
    text = write(rows)
    first, _, rest = text.partition("Unexpected results")
    assert "crashed [1] ✗ !" in first
    assert "1.00 ms [3] ✓ !" in first
    assert rest.index("torch plain, lenet b64: crashed: killed by SIGSEGV") < rest.index("theano")
    assert "neon plain, lenet b64: agreed, expected unsupported: no LRN there" in rest


def test_a_repeat_that_surprises_makes_its_cell_a_surprise() -> None:
    rows = [row("torch", unexpected=False), failed("torch", repeat=1, unexpected=True)]
    ((cell,),) = [cells.values() for cells in collect_cells(typed(rows)).values()]
    assert cell.is_unexpected
    assert len(select_unexpected(typed(rows))) == 1


def test_a_lost_attempt_that_was_made_good_is_no_surprise() -> None:
    lost = failed("torch", status="lost", attempt=1, unexpected=True)
    assert select_unexpected(typed([lost, row("torch", attempt=2, unexpected=False)])) == []


def test_rows_from_before_there_were_expectations_were_to_agree() -> None:
    assert [one.framework for one in select_unexpected(typed([row("torch"), failed("neon")]))] == [
        "neon"
    ]


def test_a_composed_operation_is_listed_once_with_its_models() -> None:
    composed = {"notes": ["composed: Lrn of shifted sums", "no TF32"]}
    rows = [row("torch", model, **composed) for model in ("alexnet", "lenet")]
    assert "torch plain: composed: Lrn of shifted sums (lenet, alexnet)" in shown(rows)
    assert "TF32" not in shown(rows)


def test_a_framework_that_computes_in_another_type_than_the_title_says_so() -> None:
    text = shown([row("numpy", variant="float64"), row("torch")])
    assert "numpy float64: computes in float64, from float32 weights and batches" in text


def test_escape_sequences_in_a_results_folder_reach_no_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jboom\r\nsecond\u202eline"
    rows = [failed("torch", reason=evil, rerun=evil, expected="agreed", unexpected=True)]
    rows += [row("evil\x1b[31m", variant=evil, cpu_model=evil, notes=[f"composed: {evil}"])]
    rows += [row("neon", expected="unsupported", expected_reason=evil, unexpected=True)]
    for text in (shown(rows), render_markdown(tables_of(rows)), csv_of(rows)):
        assert "boom secondline" in text
        assert not set(text) & set("\x1b\x07\r\u202e")


def test_markup_in_a_reason_is_shown_as_it_is() -> None:
    text = shown([failed("torch", reason="[red]boom[/red]")])
    assert "[red]boom[/red]" in text


def test_markdown_has_a_line_per_course_and_phase_and_escapes_bars() -> None:
    rows = [row("torch"), failed("tensorflow", reason="a|b")]
    text = render_markdown(tables_of(rows))
    assert "| lenet b64 | forward | 1.00 ms ✓ | crashed [1] ✗ ! |" in text
    assert "### Some CPU, cpu, 1 thread, float32" in text


def test_csv_keeps_the_reason_of_a_cell_without_a_number() -> None:
    text = csv_of([row("torch"), failed("tensorflow", reason="with, comma")])
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["framework"] for line in lines] == ["torch", "tensorflow"]
    assert lines[0]["gradient_median_ns"] == "3000000.0"
    assert lines[1]["gradient_median_ns"] == ""
    assert lines[1]["reason"] == "with, comma"
