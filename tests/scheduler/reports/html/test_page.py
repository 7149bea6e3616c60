"""`velodrome report --html`: the parts of the page, without a browser."""

import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vl_convert
from html_pages import EVIL, SWEEP, Element, change_task, make_cell, read_specs, write_page_of
from made_measurements import make_times
from made_rows import typed

from velodrome.adapters.protocol import Checked, Figure, ParameterError
from velodrome.agents.measurement import Status
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.html.document import render_document
from velodrome.scheduler.reports.html.page import MOST_CELLS, build_page
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

HALF = {"dtype": "bfloat16"}
PLACE = "Some CPU, cpu, 1 thread"


def test_the_page_has_every_part_of_a_report(tree: Element) -> None:
    headings = {one.text for one in tree.all("h2")}
    assert headings == {
        "Summary",
        "Framework by model",
        "Missing times and unexpected results",
        "The study's tables",
        "Figures",
        "Hardware and environments",
        "Fairness: differences in settings",
        "Terms",
    }
    ids = {one.attributes["id"] for one in tree.all("section") if "id" in one.attributes}
    assert ids >= {"distance", "batch-sizes", "threads", "traces", "roofline", "energy"}
    assert "bay-01" in tree.by_id("hardware").text


def test_no_cell_of_any_table_is_blank(tree: Element) -> None:
    places = [one for table in tree.all("table") for one in table.all("td")]
    assert len(places) > 100
    assert [one for one in places if not one.text and "stick" not in one.attributes["class"]] == []


def test_a_grid_cell_shows_time_interval_verification_and_distance(tree: Element) -> None:
    shown = " ".join(next(tree.by_id("grid-1").all("button")).text.split())
    assert shown == "1.00 ms ✓ 1 process best"


def test_details_of_a_time_name_its_kernels_and_rare_ones_are_marked(
    tree: Element,
) -> None:
    for title, core in (("torch eager: lenet", "SKYLAKEX"), ("theano corrmm: lenet", "BARCELONA")):
        card = next(one for one in tree.all(of="card") if title in one.text)
        assert f"BLAS kernels openblas 0.3.13 {core}" in " ".join(card.text.split())
    lines = {line.text.split()[0]: line for line in tree.by_id("fairness").all("tr")}
    (marked,) = [one for one in lines["theano"].all("td", of="unlike") if "openblas" in one.text]
    assert marked.text == "≠ openblas 0.3.13 BARCELONA"


def test_a_cell_without_a_time_shows_its_reason_and_details(tree: Element) -> None:
    (crashed,) = [one for one in tree.by_id("grid").all("button") if one.text.startswith("crashed")]
    assert "killed by SIGSEGV" in crashed.text
    behind = tree.by_id(crashed.attributes["popovertarget"]).text
    for words in ("neon plain: lenet", "velodrome measure neon lenet", "last line"):
        assert words in behind
    words = tree.by_id("reasons").text
    assert words.index("crashed") < words.index("no lengths of its own")  # surprises first
    assert "Expected: unsupported: neon has no LSTM" in words


def test_details_of_a_cell_show_the_gradients_nearest_to_their_tolerances(
    store: Store, root: Path, tmp_path: Path
) -> None:
    errors = [ParameterError(f"l{n}.weight", (1,), 1.0, n * 1e-3, 8e-3) for n in range(9)]
    errors += [ParameterError("old.weight", (1,), 1.0, 1e-3)]  # its tolerance was not recorded
    with store.hold_sweep(SWEEP):
        store.put(SWEEP, make_cell("torch", "eager", "lenet", parameters=tuple(errors)))
    card = next(write_page_of(root, tmp_path).all(of="card"))
    (listed,) = [one for one in card.all("details") if one.text.startswith("Gradient errors")]
    lines = [line.text.split() for line in listed.all("tr")][1:]
    assert lines[0] == ["l8.weight", "8.0e-03", "8.0e-03", "100", "%"]
    assert lines[1] == ["l7.weight", "7.0e-03", "8.0e-03", "88", "%"]
    assert len(lines) == 6


def test_precisions_have_a_grid_each_and_a_table_of_their_ratios(
    store: Store, root: Path, tmp_path: Path
) -> None:
    with store.hold_sweep(SWEEP):
        store.put(SWEEP, make_cell("torch", "eager", "lenet"))
        half = change_task(make_cell("torch", "eager", "lenet", **make_times(1, 1.5)), **HALF)
        store.put(SWEEP, half)
    grid = write_page_of(root, tmp_path).by_id("grid")
    platforms = [one.text for one in grid.all("span", of="where")]
    assert platforms == ["cpu, 1 thread, float32", "cpu, 1 thread, bfloat16", PLACE]
    (table,) = grid.all("table", of="precisions")
    lines = [" ".join(line.text.split()) for line in table.all("tr")][1:]
    assert lines == [
        "lenet batch 64 forward bfloat16 1.00x",
        "lenet batch 64 gradient bfloat16 0.50x",
    ]


def test_details_of_a_cell_list_the_checks_of_its_times(
    store: Store, root: Path, tmp_path: Path
) -> None:
    late = "the device was not done"
    kept = (
        Checked("drained", "forward", "passed", (Figure("excess_ns", 12_000.0),), "", 7),
        Checked("twice_the_work", "gradient", "cannot_tell", (), EVIL, 8),
    )
    failing = (kept[0]._replace(outcome="failed", reason=late),)
    reason = f"drained of forward failed: {late}"
    store.put(SWEEP, make_cell("torch", "eager", "lenet", checks=kept))
    store.put(
        SWEEP,
        make_cell(*("jax", "jit", "lenet"), status=Status.DISAGREED, reason=reason, checks=failing),
    )
    tree = write_page_of(root, tmp_path)
    tables = {
        next(card.all("h3")).text: next(card.all("details", of="checks"))
        for card in tree.all(of="card")
        if any(card.all("details", of="checks"))
    }
    lines = [
        [one.text for one in line.all() if one.tag in ("th", "td")]
        for line in tables["torch eager: lenet, batch 64"].all("tr")
    ]
    assert lines[0] == ["check", "phase", "outcome", "figures", "reason"]
    assert lines[1] == ["drained", "forward", "passed", "excess 12.0 µs", "-"]
    assert lines[2][:4] == ["twice the work", "gradient", "inconclusive", "-"]
    assert "onerror=alert(1)" in lines[2][4]
    assert not list(tree.all("img"))
    disagreed = tables["jax jit: lenet, batch 64"].text
    assert "failed" in disagreed and late in disagreed
    assert "A check was inconclusive in 1 of 1 cell with a time: twice the work (1)." in [
        one.text for one in tree.by_id("summary").all("li")
    ]


def test_every_grid_cell_has_details(tree: Element) -> None:
    ids = {one.attributes["id"] for one in tree.all(of="card")}
    asked_for = {one.attributes["popovertarget"] for one in tree.by_id("grid").all("button")}
    assert asked_for <= ids


def test_the_summary_reports_missing_and_unexpected_results(tree: Element) -> None:
    summary = tree.by_id("summary").text
    assert "have a time; in each of them the loss and all gradients agree" in summary
    assert "2 cells ended unexpectedly" in summary
    assert "needs 2 GPUs, no node has them" in summary


def test_every_figure_is_drawn_and_has_a_table(tree: Element) -> None:
    found = read_specs(tree)
    kinds = {name.rsplit("-", 1)[0] for name in found}
    assert kinds == {
        "figure",
        "figure-batch",
        "figure-threads",
        "figure-trace",
        "figure-roof",
        "figure-energy",
    }
    places = {one.attributes["data-figure"] for one in tree.all(of="chart")}
    assert places == set(found)
    assert count_dotted_parts(vl_convert.vegalite_to_svg(found["figure-threads-0"])) == 1
    for name in ("figure-distance", "figure-trace-0", "figure-batch-0"):
        assert "<path" in vl_convert.vegalite_to_svg(found[name], allowed_base_urls=[])
    assert all(list(one.all("table")) for one in tree.all("figure"))


def test_a_missing_figure_gives_the_reason(store: Store, root: Path, tmp_path: Path) -> None:
    store.put(SWEEP, make_cell("torch", "eager", "lenet", readings=()))
    tree = write_page_of(root, tmp_path)
    assert "No energy per gradient is known" in tree.by_id("energy").text
    assert "two thread counts" in tree.by_id("threads").text
    assert "scaling" not in {one.attributes.get("id") for one in tree.all("section")}


def test_a_speed_up_over_one_process_is_drawn_with_the_ideal_one(
    store: Store, root: Path, tmp_path: Path
) -> None:
    for processes, ms in ((1, 3.0), (2, 2.0), (4, 1.0)):
        for repeat, noise in enumerate((1.0, 1.01, 0.99)):
            one = make_cell("torch", "eager", "lenet", repeat=repeat, **make_times(1, ms * noise))
            store.put(SWEEP, change_task(one, processes=processes))
    tree = write_page_of(root, tmp_path)
    spec = read_specs(tree)["figure-scaling-0"]
    rows = [each for each in spec["data"]["values"] if "speedup" in each]
    assert [(each["devices"], round(each["speedup"], 2)) for each in rows] == [
        (1, 1.0),
        (2, 1.5),
        (4, 3.0),
    ]
    assert rows[1]["low"] < 1.5 < rows[1]["high"]
    ideal = [each["ideal"] for each in spec["data"]["values"] if "ideal" in each]
    assert ideal == [1.0, 2.0, 4.0]
    section = " ".join(tree.by_id("scaling").text.split())
    assert "lenet, batch 64, strong" in section and "75% (" in section
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    assert drawn.count('aria-roledescription="point"') == 3
    assert count_dotted_parts(drawn) == 2


def test_the_table_of_a_speed_up_shows_which_share_of_the_time_is_communication(
    store: Store, root: Path, tmp_path: Path
) -> None:
    for model, processes, size, ms in (
        ("lenet", 1, 64, 3.0),
        ("lenet", 2, 128, 4.0),
        ("allreduce-1mib", 2, 2, 2.0),
        ("allreduce-4mib", 2, 2, 2.0),
    ):
        one = make_cell("torch", "eager", model, **make_times(ms, ms))
        store.put(SWEEP, change_task(one, processes=processes, batch_size=size))
    section = write_page_of(root, tmp_path).by_id("scaling")
    heads = [one.text for one in section.all("th")]
    (weak,) = [[one.text for one in line.all("td")] for line in section.all("tr")][1:]
    found = dict(zip(heads, weak, strict=True))
    assert found["communication, measured"] == "25%"
    assert found["communication, predicted"] == "50%"


def count_dotted_parts(svg: str) -> int:
    """Count the straight parts of the dotted line of a chart."""
    (path,) = re.findall(r'<path[^>]*stroke-dasharray="2,4"[^>]*>', svg)
    return re.search(r' d="([^"]*)"', path)[1].count("L")


def test_several_devices_without_a_baseline_are_reported(tree: Element) -> None:
    assert "No cell on several devices has a time" in tree.by_id("scaling").text


def test_each_table_names_a_query_that_gives_its_rows(tree: Element, results: Path) -> None:
    commands = [next(one.all("pre")).text for one in tree.all("details", of="query")]
    assert len(commands) > 10
    store = Store.for_reading(results)
    rows = {}
    for command in set(commands):
        name, verb, sql, option, folder = shlex.split(command)
        assert (name, verb, option, folder) == ("velodrome", "query", "--results", str(results))
        rows[sql] = run_query(store, sql).num_rows
    assert min(rows.values()) > 0
    cells = sum(1 for one in tree.all("div", of="card") if one.attributes["id"].startswith("cell-"))
    assert cells in rows.values()


def test_an_unfinished_sweep_reports_the_number_of_missing_runs(results: Path) -> None:
    rows = task_rows(Store.for_reading(results).read("tasks"))
    shown = build_page(SWEEP, "results", "0.1.0", rows, [], lambda picked: [], len(rows) + 3)
    warnings = [one.text for one in shown.summary if one.is_warning]
    assert f"The sweep is incomplete: 3 runs of {len(rows) + 3} missing." in warnings


@pytest.mark.parametrize("median_ns", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_time_breaks_no_page(
    store: Store, root: Path, tmp_path: Path, median_ns: float
) -> None:
    for size in (8, 16):
        store.put(SWEEP, change_task(make_cell("torch", "eager", "lenet"), batch_size=size))
    for file in (root / "tasks").rglob("*.parquet"):
        table = pq.read_table(file)
        for name in ("forward_median_ns", "gradient_median_ns"):
            column = table.schema.get_field_index(name)
            table = table.set_column(column, name, pa.array([median_ns]))
        pq.write_table(table, file)
    assert "lenet" in write_page_of(root, tmp_path).by_id("grid").text


def test_an_unwritable_place_is_reported(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written.*another file with --html"):
        write_page(results, "", tmp_path / "none" / "report.html")


def test_a_large_sweep_has_a_complete_overview_and_a_limited_number_of_grids(
    results: Path,
) -> None:
    rows = Store.for_reading(results).read("tasks").to_pylist()
    many = typed(
        {**row, "task_id": f"{row['task_id']}-{number}", "node_type": f"t{number}"}
        for number in range(4 * MOST_CELLS // len(rows))
        for row in rows
    )
    shown = build_page(SWEEP, "results", "0.1.0", many, [], lambda picked: [])
    assert sum(grid.cells for grid in shown.grids) <= MOST_CELLS
    assert len(shown.omitted) + shown.more_omitted > 10
    assert sum(one.cells for _, places in shown.overview.lines for one in places if one) == len(
        many
    )
    assert len(render_document(shown)) < 10 * 2**20
