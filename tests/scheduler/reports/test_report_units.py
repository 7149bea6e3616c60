"""Grids of MFU, energy and cost, with the reason where one is not known."""

import csv
import io
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import typed
from report_texts import render_csv, row, scale_times, six_rows

from velodrome.agents.measurement import NodePrice, PhaseEnergy
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.reports.cell_rates import format_amount
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.render import render_markdown
from velodrome.scheduler.reports.tables import Table, build_table
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
PRICE = {"task_price_per_hour": 3.6, "node_price_per_hour": 3.6, "price_currency": "USD"}
WORK = {"forward_flops": 1e9, "gradient_flops": 3e9, "vendor_peak_flops_per_s": 4e12}


def build(rows: list[dict[str, object]], unit: GridUnit) -> Table:
    (table,) = [build_table(*each, unit) for each in collect_cells(typed(rows)).items()]
    return table


def texts(rows: list[dict[str, object]], unit: GridUnit) -> dict[str, list[str]]:
    return {line.phase: [entry.text for entry in line.entries] for line in build(rows, unit).lines}


def test_mfu_is_shown_in_percent_and_the_highest_is_best() -> None:
    rows = [row(**WORK), row("jax", **WORK | scale_times(0.5))]
    lines = texts(rows, GridUnit.MFU)
    assert lines["gradient"] == ["25 %", "50 %"]
    entries = build(rows, GridUnit.MFU).lines[1].entries
    assert [(entry.is_best, entry.ratio) for entry in entries] == [(False, 0.5), (True, 1.0)]


def test_the_best_use_of_a_gpu_need_not_be_the_fastest() -> None:
    """The faster one runs at a higher clock, of which the CPU's peak follows."""
    rows = [row(**WORK), row("jax", **WORK | {"vendor_peak_flops_per_s": 8e12})]
    assert texts(rows, GridUnit.MFU)["gradient"] == ["25 %", "12.5 %"]


def test_an_unknown_peak_is_named_with_its_reason() -> None:
    rows = [row(gradient_flops=3e9, vendor_peak_reason="no published peak is known for 'Some CPU'")]
    table = build(rows, GridUnit.MFU)
    assert [entry.text for entry in table.lines[1].entries] == ["peak unknown"]
    assert "no MFU: no published peak is known for 'Some CPU'" in table.remarks
    earlier = build([row(gradient_flops=3e9)], GridUnit.MFU)
    assert "no MFU: not recorded by the version that ran it" in earlier.remarks


def test_a_grid_of_times_explains_no_missing_peak() -> None:
    rows = [row(vendor_peak_reason="no published peak is known for 'Some CPU'")]
    assert not [text for text in build(rows, GridUnit.TIME).remarks if "MFU" in text]


def test_energy_is_per_unit_of_gradients_and_low_is_best() -> None:
    rows = [row(energy_per_gradient_j=6.4), row("jax", energy_per_gradient_j=3.2)]
    assert texts(rows, GridUnit.ENERGY) == {"gradient, J per image": ["0.100", "0.0500"]}
    (line,) = build(rows, GridUnit.ENERGY).lines
    assert [(entry.is_best, entry.ratio) for entry in line.entries] == [(False, 2.0), (True, 1.0)]


def test_each_phase_has_an_energy_of_its_own_and_says_where_it_is_not_known() -> None:
    times = scale_times(1) | {"step_median_ns": 9e6, "update_median_ns": 1e6}
    known = {"energy_per_gradient_j": 6.4, "energy_per_step_j": 12.8, "energy_per_update_j": 1.0}
    table = build([row(**times | known), row("jax", **times)], GridUnit.ENERGY)
    shown = {line.phase: [entry.text for entry in line.entries] for line in table.lines}
    assert shown == {
        "gradient, J per image": ["0.100", "no energy"],
        "step, J per image": ["0.200", "no energy"],
    }
    assert (
        "no energy of forward: shorter than three readings of its meter, or of a version that did "
        "not keep it"
    ) in table.remarks


def test_a_csv_has_the_energy_of_each_phase_by_call_and_by_example() -> None:
    times = {"update_median_ns": 1e6}
    rows = [row(energy_per_forward_j=3.2, energy_per_update_j=1.0, **times)]
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert (line["energy_per_forward_j"], line["forward_j_per_example"]) == ("3.2", "0.05")
    assert (line["energy_per_update_j"], line["energy_per_gradient_j"]) == ("1.0", "")
    assert "update_j_per_example" not in line


def test_energies_of_six_processes_have_an_interval_of_their_own() -> None:
    rows = [
        made | {"energy_per_gradient_j": 6.4 * (1 + 0.01 * number)}
        for number, made in enumerate(six_rows())
    ]
    (text,) = texts(rows, GridUnit.ENERGY)["gradient, J per image"]
    assert text.startswith("0.10")
    assert "±" in text


def test_energy_that_no_meter_gave_is_named_with_its_reason() -> None:
    table = build([row(energy_reason="this user may not read the counter")], GridUnit.ENERGY)
    assert [entry.text for entry in table.lines[0].entries] == ["no energy"]
    assert "no energy: this user may not read the counter" in table.remarks


def test_the_cost_of_a_million_images_follows_from_time_and_price() -> None:
    """64 images in 3 ms: a million in 46.875 s, at 0.001 USD a second."""
    rows = [row(**PRICE), row("jax", **PRICE | scale_times(2))]
    lines = texts(rows, GridUnit.COST)
    assert lines["gradient, USD per million images"] == ["0.0469", "0.0938"]
    entries = build(rows, GridUnit.COST).lines[1].entries
    assert [(entry.is_best, entry.ratio) for entry in entries] == [(True, 1.0), (False, 2.0)]


def test_a_cost_without_a_price_says_how_to_give_one() -> None:
    table = build([row()], GridUnit.COST)
    assert {entry.text for line in table.lines for entry in line.entries} == {"no price"}
    assert "no cost: no price: give price_per_hour in cluster.yaml, or --price" in table.remarks


def test_a_cell_whose_repeats_have_two_prices_has_no_cost_and_says_why() -> None:
    rows = [row(**PRICE), row(repeat=1, **PRICE | {"task_price_per_hour": 7.2})]
    table = build(rows, GridUnit.COST)
    texts = {entry.text for line in table.lines for entry in line.entries}
    assert {text.removesuffix(" [1]") for text in texts} == {"several prices"}
    reason = "repeats of one cell have several prices: 3.6 USD per hour, 7.2 USD per hour"
    assert f"no cost: {reason}" in table.remarks
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert (line["cost_per_million_examples"], line["cost_reason"]) == ("", reason)


def test_a_price_that_only_some_repeats_have_is_no_price_of_the_cell() -> None:
    table = build([row(**PRICE), row(repeat=1), row(repeat=2)], GridUnit.COST)
    assert table.lines[1].entries[0].text == "several prices"
    assert "no cost: 2 of 3 repeats of one cell have no price" in table.remarks


@pytest.mark.parametrize("other", ["EUR", ""])
def test_costs_in_two_currencies_are_named_and_none_is_the_best(other: str) -> None:
    rows = [row(**PRICE), row("jax", **PRICE | {"price_currency": other})]
    table = build(rows, GridUnit.COST)
    (line,) = [line for line in table.lines if line.phase == "gradient"]
    named = f"{other or 'price'} per million images"
    texts = [entry.text for entry in line.entries]
    assert texts == ["0.0469 USD per million images", f"0.0469 {named}"]
    assert [(entry.is_best, entry.ratio) for entry in line.entries] == [(False, None)] * 2
    assert f"not compared, in different units: USD per million images, {named}" in table.remarks


def test_the_page_compares_no_costs_of_two_currencies(store: Store, root: Path) -> None:
    for framework, currency in (("torch", "USD"), ("jax", "EUR")):
        price = NodePrice(3.6, 3.6, currency)
        store.put(
            SWEEP,
            make_measurement(
                framework=framework, verified=VERIFIED, price=price, **make_times(1, 3)
            ),
        )
    page = root / "page.html"
    write_page(root, "", page, GridUnit.COST)
    grid = page.read_text()
    assert "0.0469 USD per million images" in grid
    assert "0.0469 EUR per million images" in grid
    assert "<em>best</em>" not in grid


@pytest.mark.parametrize(
    ("unit", "direction"),
    [(GridUnit.MFU, "higher"), (GridUnit.ENERGY, "lower"), (GridUnit.COST, "lower")],
)
def test_the_legend_says_which_direction_is_better(unit: GridUnit, direction: str) -> None:
    text = render_markdown([build([row()], unit)], unit=unit)
    assert f"{direction} is better" in text


@pytest.mark.parametrize(
    ("share", "text"), [(0.4126, "41.3 %"), (0.00512, "0.512 %"), (1.1, "110 %")]
)
def test_shares_have_three_figures(share: float, text: str) -> None:
    assert format_amount(share, GridUnit.MFU) == text


def test_csv_has_mfu_and_costs_of_every_cell() -> None:
    rows = [row(**WORK, **PRICE, tokens=640.0)]
    (line,) = csv.DictReader(io.StringIO(render_csv(rows)))
    assert float(line["mfu"]) == pytest.approx(0.25)
    assert float(line["vendor_peak_flops_per_s"]) == 4e12
    assert float(line["cost_per_million_examples"]) == pytest.approx(0.046875)
    assert float(line["cost_per_million_tokens"]) == pytest.approx(0.0046875)
    assert line["price_currency"] == "USD"
    (without,) = csv.DictReader(io.StringIO(render_csv([row()])))
    assert (without["mfu"], without["cost_per_million_tokens"]) == ("", "")


@pytest.fixture
def results(store: Store, root: Path) -> Path:
    for framework, ms in (("torch", 4), ("jax", 5)):
        one = make_measurement(
            framework=framework,
            model="resnet50",
            batch_size=4,
            cpu_model="Some CPU",
            verified=VERIFIED,
            vendor_peak_flops_per_s=1e14,
            vendor_peak_source="a data sheet",
            energies=(PhaseEnergy("gradient", 0.4),),
            energy_source="measured",
            price=NodePrice(7.2, 3.6, "USD"),
            **make_times(1, ms),
        )
        store.put(SWEEP, one)
    return root


@pytest.mark.parametrize(
    ("unit", "text"),
    [(GridUnit.MFU, " %"), (GridUnit.ENERGY, "0.100"), (GridUnit.COST, "USD per million images")],
)
def test_every_form_with_a_grid_shows_the_unit(
    results: Path, capsys: pytest.CaptureFixture[str], unit: GridUnit, text: str
) -> None:
    for form in (Form.TERMINAL, Form.MARKDOWN):
        report(results, "", ReportKind.TIMES, form, None, unit)
        assert text in " ".join(capsys.readouterr().out.split())
    page = results / "page.html"
    write_page(results, "", page, unit)
    assert text in page.read_text()
    assert ("lower is better" in page.read_text()) != (unit is GridUnit.MFU)


def test_the_next_command_keeps_the_unit(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(results, "", ReportKind.TIMES, Form.TERMINAL, None, GridUnit.COST)
    assert "--unit cost --markdown" in capsys.readouterr().out


def test_a_value_that_is_not_known_has_no_footnote_about_its_time() -> None:
    unstable = {"gradient_stable": False, "stable": False, "gradient_samples": 3}
    rows = [row(**unstable, **PRICE), row(repeat=1, **unstable, **PRICE)]
    assert [note.is_instability for note in build(rows, GridUnit.COST).footnotes] == [True]
    energy = build(rows, GridUnit.ENERGY)
    assert energy.footnotes == ()
    assert [entry.text for entry in energy.lines[0].entries] == ["no energy"]


def test_a_value_that_is_not_known_has_no_mark_of_its_time_on_the_page(
    store: Store, root: Path
) -> None:
    one = make_measurement(verified=VERIFIED, energy_reason="no meter", **make_times(1, 3))
    store.put(SWEEP, one)
    page = root / "page.html"
    write_page(root, "", page, GridUnit.ENERGY)
    found = " ".join(page.read_text().split())
    assert "<b>no energy</b> <i>·</i><small>no energy: no meter</small>" in found
    write_page(root, "", page)
    assert "<b>no energy</b>" not in page.read_text()


def test_the_details_of_a_cell_have_its_peak_and_its_price(results: Path) -> None:
    page = results / "page.html"
    write_page(results, "", page)
    text = page.read_text()
    assert "of the vendor&#39;s 100 TFLOP/s in the gradient (a data sheet)" in text
    assert "1.00 USD per million images in the gradient, at 3.6 USD an hour" in text


def test_a_collective_has_both_bandwidths_of_nccl_tests_and_other_models_have_none() -> None:
    group = {"device": "cpu", "processes": 4, "batch_size": 4, "forward_median_ns": 1e6}
    rows = [row(model="allgather-1mib", **group), row(model="lenet", **group)]
    for unit, shown in ((GridUnit.ALGBW, "1.05 GB/s"), (GridUnit.BUSBW, "786 MB/s")):
        found = {line.workload: line.entries[0].text for line in build(rows, unit).lines[::2]}
        assert [text.split(" ±")[0] for text in found.values()] == ["no collective", shown]


def test_a_report_without_collectives_has_no_bandwidth_in_its_lines() -> None:
    (line,) = csv.DictReader(io.StringIO(render_csv([row(batch_size=4)])))
    assert (line["algorithm_bytes_per_s"], line["bus_bytes_per_s"]) == ("", "")
