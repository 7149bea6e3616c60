"""The grid of rates: images, tokens or FLOP per second instead of times."""

import csv
import io
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import typed
from report_texts import draw_tables, failed_row, make_tables, render_csv, row, six_rows

from velodrome.adapters.models import MODELS
from velodrome.scheduler.commands.report import Form, ReportKind, choose_unit, report
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_rates import compute_rate, format_amount, format_cell
from velodrome.scheduler.reports.cell_times import Time
from velodrome.scheduler.reports.cell_work import CellWork, GridUnit, parse_unit
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.render import render_markdown
from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.reports.tables import Table, build_table
from velodrome.scheduler.results.ceilings import Ceilings
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import task_row

SWEEP = "20261124-063012-a1b2"
TODAY = (
    "resnet50",
    "vit-b16",
    "bert-base",
    "gpt2-128",
    "gpt2-1024",
    "llama-block-128",
    "llama-block-4096",
)


def tables_of(rows: list[dict[str, object]], unit: GridUnit) -> list[Table]:
    return [build_table(*each, unit) for each in collect_cells(typed(rows)).items()]


def lines_of(rows: list[dict[str, object]], unit: GridUnit) -> dict[str, list[str]]:
    """Return the texts of the lines of one table, by phase."""
    (table,) = tables_of(rows, unit)
    return {line.phase: [entry.text for entry in line.entries] for line in table.lines}


def test_a_rate_has_the_interval_of_its_time_turned_over() -> None:
    rate = compute_rate(Time(2e6, 1e6, 4e6, 6), 10)
    assert (rate.per_s, rate.low_per_s, rate.high_per_s) == (5000, 2500, 10_000)
    assert rate.half_width == pytest.approx(1.0)


def test_a_rate_of_one_process_has_no_interval() -> None:
    assert compute_rate(Time(2e6), 10).half_width is None
    assert format_cell(Time(2e6), CellWork("image", 10), "forward", GridUnit.RATE) == "5,000"


@pytest.mark.parametrize(
    ("per_s", "text"), [(0.05123, "0.0512"), (5.123, "5.12"), (51.23, "51.2"), (5123.4, "5,123")]
)
def test_rates_have_three_figures_or_all_digits_before_the_point(per_s: float, text: str) -> None:
    assert format_amount(per_s, GridUnit.RATE) == text


def test_flops_have_their_unit_in_the_cell() -> None:
    assert format_amount(8.123e11, GridUnit.FLOPS) == "812 GFLOP/s"
    assert format_amount(1.2e15, GridUnit.FLOPS) == "1.20 PFLOP/s"


def test_the_grid_of_rates_names_the_unit_of_each_line() -> None:
    rows = [row(), *six_rows("jax")]
    lines = lines_of(rows, GridUnit.RATE)
    assert list(lines) == ["forward, images/s", "gradient, images/s"]
    one, six = lines["gradient, images/s"]
    assert one == f"{64 / 3e-3:,.0f}"
    assert six.startswith("21,")
    assert "±" in six


def test_a_model_of_sequences_is_counted_in_tokens() -> None:
    rows = [row(model="gpt2-tiny", batch_size=2, tokens=24.0)]
    assert lines_of(rows, GridUnit.RATE)["gradient, tokens/s"] == ["8,000"]


def test_rows_of_earlier_versions_count_examples_as_they_have_no_tokens() -> None:
    rows = [row(model="lstm", batch_size=16)]
    assert lines_of(rows, GridUnit.RATE)["gradient, examples/s"] == [f"{16 / 3e-3:,.0f}"]


def test_the_grid_of_flops_says_where_no_work_is_recorded() -> None:
    rows = [row(forward_flops=3e9, gradient_flops=9e9), row("jax")]
    lines = lines_of(rows, GridUnit.FLOPS)
    assert lines["gradient"] == ["3.00 TFLOP/s", "no products"]


def test_the_best_rate_is_the_highest_and_the_others_are_below_1() -> None:
    rows = [row(), row("jax", gradient_median_ns=6e6, gradient_high_ns=6.1e6)]
    (table,) = tables_of(rows, GridUnit.RATE)
    entries = table.lines[1].entries
    assert [(entry.is_best, entry.ratio) for entry in entries] == [(True, 1.0), (False, 0.5)]
    text = render_markdown([table], unit=GridUnit.RATE)
    assert "0.50x" in text
    assert "higher is better" in text


def test_times_stay_as_they_are_without_the_option() -> None:
    rows = [row(), failed_row("jax")]
    assert tables_of(rows, GridUnit.TIME) == make_tables(rows)
    assert "higher is better" not in draw_tables(make_tables(rows))


def test_a_failure_is_shown_in_a_grid_of_rates_as_in_one_of_times() -> None:
    rows = [row(), failed_row("jax")]
    assert lines_of(rows, GridUnit.RATE)["gradient, images/s"][1] == "crashed [1]"


def test_csv_has_the_rates_of_every_cell() -> None:
    rows = [row(batch_size=2, tokens=24.0, gradient_flops=9e9, energy_per_gradient_j=1.2)]
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert float(line["gradient_examples_per_s"]) == pytest.approx(2 / 3e-3)
    assert float(line["gradient_tokens_per_s"]) == pytest.approx(8000)
    assert float(line["gradient_flops_per_s"]) == pytest.approx(3e12)
    assert float(line["gradient_j_per_token"]) == pytest.approx(0.05)
    assert line["forward_flops_per_s"] == ""


def test_an_unknown_unit_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"there is no unit 'rates'\. Did you mean 'rate'"):
        parse_unit("rates")
    with pytest.raises(ConfigError, match="--unit has no use in --ceilings"):
        choose_unit("rate", ReportKind.CEILINGS)


@pytest.fixture
def results(store: Store, root: Path) -> Path:
    for framework, ms in (("torch", 4), ("jax", 5)):
        one = make_measurement(
            framework=framework,
            model="resnet50",
            batch_size=4,
            cpu_model="Some CPU",
            verified=VERIFIED,
            **make_times(1, ms),
        )
        store.put(SWEEP, one)
    return root


@pytest.mark.parametrize(("unit", "text"), [(GridUnit.RATE, "1,000"), (GridUnit.FLOPS, "TFLOP/s")])
def test_the_report_shows_rates_in_every_form_with_a_grid(
    results: Path, capsys: pytest.CaptureFixture[str], unit: GridUnit, text: str
) -> None:
    for form in (Form.TERMINAL, Form.MARKDOWN):
        report(results, "", ReportKind.TIMES, form, None, unit)
        assert text in capsys.readouterr().out
    page = results / "page.html"
    write_page(results, "", page, unit)
    assert text in page.read_text()
    assert "higher is better" in page.read_text()


def test_the_next_command_of_a_grid_of_rates_keeps_its_unit(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(results, "", ReportKind.TIMES, Form.TERMINAL, None, GridUnit.RATE)
    assert "--unit rate --markdown" in capsys.readouterr().out


def test_the_details_of_a_cell_have_both_rates(results: Path) -> None:
    page = results / "page.html"
    write_page(results, "", page)
    assert "1,000 images/s, " in page.read_text()


@pytest.mark.parametrize("name", TODAY)
def test_every_table_and_the_roofline_have_todays_models(name: str) -> None:
    batch_size = MODELS[name].batch_size
    one = make_measurement(
        model=name, batch_size=batch_size, verified=VERIFIED, **make_times(100, 300)
    )
    rows = typed([task_row(SWEEP, one)])
    (table,) = [build_table(*each) for each in collect_cells(rows).items()]
    assert [line.workload for line in table.lines] == [f"{name} b{batch_size}"] * 2
    (roofline,) = build_rooflines(rows, Ceilings(rows))
    assert {point.phase for point in roofline.points} == {"forward", "gradient"}
    assert all(point.intensity > 1 for point in roofline.points)
