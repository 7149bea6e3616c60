import csv
import io

import pytest
from rich.console import Console

from velodrome.scheduler.reports.cell_rows import cell_row
from velodrome.scheduler.reports.cells import Time, add, combine, gather
from velodrome.scheduler.reports.flat_rows import csv_rows
from velodrome.scheduler.reports.render import markdown, rich_tables
from velodrome.scheduler.reports.tables import Table, duration, tabulate, time_text
from velodrome.scheduler.reports.task_rows import surprises


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
    screen = Console(width=140, file=io.StringIO())
    with screen.capture() as capture:
        screen.print(rich_tables(tables_of(rows)))
    return capture.get()


def tables_of(rows: list[dict[str, object]]) -> list[Table]:
    return [tabulate(block, cells) for block, cells in gather(rows).items()]


def csv_of(rows: list[dict[str, object]]) -> str:
    return csv_rows(
        [
            cell_row(block, course, who, cell)
            for block, cells in gather(rows).items()
            for (course, who), cell in cells.items()
        ]
    )


def test_a_time_over_repeats_is_the_median_of_medians_in_the_interval_of_their_spread() -> None:
    # Logs 2.3026 2.6391 2.4849: mean 2.4755, deviation 0.1684; t of 2 degrees 4.303.
    combined = combine([Time(10, 9, 11), Time(14, 13, 20), Time(12, 8, 13)])
    assert combined is not None and combined.median_ns == 12
    assert (combined.low_ns, combined.high_ns) == pytest.approx((7.82, 18.06), abs=0.01)


def test_a_time_of_one_repeat_has_that_repeats_own_interval() -> None:
    assert combine([Time(10, 9, 11)]) == Time(10, 9, 11)


def test_repeats_that_no_clock_has_measured_keep_their_bounds() -> None:
    assert combine([Time(0, 0, 1), Time(1, 0, 2)]) == Time(0.5, 0, 2)


def test_a_familys_total_is_the_sum_of_its_parts() -> None:
    assert add([Time(1, 0.5, 2), Time(10, 9, 11)]) == Time(11, 9.5, 13)


def test_the_half_width_is_the_wider_side_of_the_interval() -> None:
    assert Time(100, 99, 105).half_width == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("ns", "text"),
    [(812, "812 ns"), (3210, "3.21 us"), (32_100_000, "32.1 ms"), (1_054_000_000, "1.05 s")],
)
def test_durations_have_three_figures_in_the_unit_that_suits(ns: float, text: str) -> None:
    assert duration(ns) == text


def test_a_time_shows_its_interval_in_percent() -> None:
    assert time_text(Time(2e6, 1.98e6, 2.01e6)) == "2.00 ms ±1.0%"


def test_the_best_of_a_line_has_no_ratio_and_the_others_say_how_far_behind_they_are() -> None:
    slow = row("tensorflow", forward_median_ns=1.5e6, forward_low_ns=1.5e6, forward_high_ns=1.5e6)
    text = shown([row("torch"), slow])
    assert "1.50 ms ±0.0% 1.50x ✓" in text
    assert "1.00 ms ±1.0% ✓" in text


def test_a_cell_without_a_number_gives_its_reason_and_the_command_that_runs_it_again() -> None:
    text = shown([row("torch"), failed("tensorflow")])
    assert "crashed [1]" in text
    assert "[1] tensorflow plain, lenet b64: crashed: killed by SIGSEGV" in text
    assert "again: velodrome measure tensorflow lenet" in text


def test_a_cell_of_which_one_repeat_failed_keeps_its_number_and_says_so() -> None:
    text = shown([row("torch"), failed("torch", repeat=1)])
    assert "1.00 ms" in text
    assert "1 of 2 repeats: crashed" in text


def test_a_time_that_did_not_settle_is_marked() -> None:
    text = shown([row("torch", status="unstable", stable=False)])
    assert "1.00 ms ±1.0% ~" in text


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
    assert table.contestants == (
        "torch eager",
        "torch compile",
        "torch==2.9.1 eager",
        "theano plain",
    )


def test_no_place_of_a_table_is_blank() -> None:
    rows = [row("torch", "lenet"), row("tensorflow", "lstm")]
    (table,) = [tabulate(block, cells) for block, cells in gather(rows).items()]
    assert all(entry.text for line in table.lines for entry in line.entries)


def test_devices_and_thread_counts_stand_in_tables_of_their_own() -> None:
    assert len(gather([row(), row(task_id="2", threads=2), row(task_id="3", device="gpu")])) == 3


def test_pre_training_is_the_sum_of_the_three_stages() -> None:
    family = "autoencoder-400-200-100"
    rows = [row("torch", f"{family}/ae{number}") for number in (1, 2, 3)]
    assert f"{family} pre-training b64" in shown(rows)
    assert "9.00 ms" in shown(rows)


def test_pre_training_is_not_shown_where_a_stage_is_missing() -> None:
    family = "autoencoder-400-200-100"
    assert "pre-training" not in shown([row("torch", f"{family}/ae{n}") for n in (1, 2)])


def test_what_was_not_to_agree_and_did_not_is_no_surprise() -> None:
    told = {"expected": "unsupported", "expected_reason": "no LRN there", "surprise": False}
    rows = [row("torch"), failed("neon", status="unsupported", reason="no Lrn", **told)]
    text = shown(rows)
    assert "unsupported [1] -" in text
    assert "unsupported: no Lrn (expected unsupported: no LRN there)" in text
    assert "Surprises" not in text and "!" not in text.replace("! not as expected", "")


@pytest.mark.parametrize("write", [shown, lambda rows: markdown(tables_of(rows))])
def test_surprises_in_both_directions_are_marked_and_stand_first(write) -> None:
    told = {"expected": "unsupported", "expected_reason": "no LRN there"}
    rows = [
        failed("theano", status="unsupported", surprise=False, **told),
        failed("torch", surprise=True, expected="agreed"),
        row("neon", surprise=True, **told),
    ]
    text = write(rows)
    first, _, rest = text.partition("Surprises")
    assert "crashed [1] ✗ !" in first
    assert "1.00 ms ±1.0% [3] ✓ !" in first
    assert rest.index("torch plain, lenet b64: crashed: killed by SIGSEGV") < rest.index("theano")
    assert "neon plain, lenet b64: agreed, expected unsupported: no LRN there" in rest


def test_a_repeat_that_surprises_makes_its_cell_a_surprise() -> None:
    rows = [row("torch", surprise=False), failed("torch", repeat=1, surprise=True)]
    ((cell,),) = [cells.values() for cells in gather(rows).values()]
    assert cell.is_surprise
    assert len(surprises(rows)) == 1


def test_a_lost_attempt_that_was_made_good_is_no_surprise() -> None:
    lost = failed("torch", status="lost", attempt=1, surprise=True)
    assert surprises([lost, row("torch", attempt=2, surprise=False)]) == []


def test_rows_from_before_there_were_expectations_were_to_agree() -> None:
    assert [one["framework"] for one in surprises([row("torch"), failed("neon")])] == ["neon"]


def test_what_is_written_by_hand_is_told_once_with_its_models() -> None:
    by_hand = {"notes": ["by hand: Lrn of shifted sums", "no TF32"]}
    rows = [row("torch", model, **by_hand) for model in ("alexnet", "lenet")]
    assert "torch plain: by hand: Lrn of shifted sums (lenet, alexnet)" in shown(rows)
    assert "TF32" not in shown(rows)


def test_a_framework_that_computes_in_another_type_than_the_title_says_so() -> None:
    text = shown([row("numpy", variant="float64"), row("torch")])
    assert "numpy float64: computes in float64, from float32 weights and batches" in text


def test_escape_sequences_in_a_results_folder_reach_no_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jboom\r\nsecond\u202eline"
    rows = [failed("torch", reason=evil, rerun=evil, expected="agreed", surprise=True)]
    rows += [row("evil\x1b[31m", variant=evil, cpu_model=evil, notes=[f"by hand: {evil}"])]
    rows += [row("neon", expected="unsupported", expected_reason=evil, surprise=True)]
    for text in (shown(rows), markdown(tables_of(rows)), csv_of(rows)):
        assert "boom secondline" in text
        assert not set(text) & set("\x1b\x07\r\u202e")


def test_markup_in_a_reason_is_shown_as_it_is() -> None:
    text = shown([failed("torch", reason="[red]boom[/red]")])
    assert "[red]boom[/red]" in text


def test_markdown_has_a_line_per_course_and_phase_and_escapes_bars() -> None:
    rows = [row("torch"), failed("tensorflow", reason="a|b")]
    text = markdown(tables_of(rows))
    assert "| lenet b64 | forward | 1.00 ms ±1.0% ✓ | crashed [1] ✗ ! |" in text
    assert "### Some CPU, cpu, 1 thread, float32" in text


def test_csv_keeps_the_reason_of_a_cell_without_a_number() -> None:
    text = csv_of([row("torch"), failed("tensorflow", reason="with, comma")])
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["framework"] for line in lines] == ["torch", "tensorflow"]
    assert lines[0]["gradient_median_ns"] == "3000000.0"
    assert lines[1]["gradient_median_ns"] == ""
    assert lines[1]["reason"] == "with, comma"
