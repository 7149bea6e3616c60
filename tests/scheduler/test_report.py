import csv
import io

import pytest
from rich.console import Console

from velodrome.scheduler.cells import Time, add, combine, gather
from velodrome.scheduler.render import csv_text, markdown, rich_tables
from velodrome.scheduler.tables import duration, tabulate, time_text


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
        screen.print(rich_tables([tabulate(block, cells) for block, cells in gather(rows).items()]))
    return capture.get()


def test_a_time_over_repeats_is_the_median_of_medians_within_all_intervals() -> None:
    combined = combine([Time(10, 9, 11), Time(14, 13, 20), Time(12, 8, 13)])
    assert combined == Time(12, 8, 20)


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


def test_markup_in_a_reason_is_shown_as_it_is() -> None:
    text = shown([failed("torch", reason="[red]boom[/red]")])
    assert "[red]boom[/red]" in text


def test_markdown_has_a_line_per_course_and_phase_and_escapes_bars() -> None:
    rows = [row("torch"), failed("tensorflow", reason="a|b")]
    text = markdown([tabulate(block, cells) for block, cells in gather(rows).items()])
    assert "| lenet b64 | forward | 1.00 ms ±1.0% ✓ | crashed [1] ✗ |" in text
    assert "### Some CPU, cpu, 1 thread, float32" in text


def test_csv_keeps_the_reason_of_a_cell_without_a_number() -> None:
    gathered = gather([row("torch"), failed("tensorflow", reason="with, comma")])
    flat = [(b, c, w, cell) for b, cells in gathered.items() for (c, w), cell in cells.items()]
    lines = list(csv.DictReader(io.StringIO(csv_text(flat))))
    assert [line["framework"] for line in lines] == ["torch", "tensorflow"]
    assert lines[0]["gradient_median_ns"] == "3000000.0"
    assert lines[1]["gradient_median_ns"] == ""
    assert lines[1]["reason"] == "with, comma"
