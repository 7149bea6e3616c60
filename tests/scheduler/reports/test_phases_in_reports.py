"""Reports show the phases that were timed, and only these."""

import csv
import io
from pathlib import Path

import pytest
from html_pages import Element, make_cell, write_page_of
from made_measurements import make_measurement
from made_rows import typed
from report_texts import failed_row, make_tables, row, six_rows

from velodrome.adapters.protocol import Timed
from velodrome.agents.measurement import PhaseEnergy, Sample
from velodrome.scheduler.commands.recommend import find_recommendation
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.recommendation import Criterion
from velodrome.scheduler.comparison.recommendation_text import build_legend
from velodrome.scheduler.comparison.verdicts import compare_times
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.fleet.event_messages import describe_ended
from velodrome.scheduler.history.cell_series import build_history
from velodrome.scheduler.reports.cell_rates import GridUnit
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.outliers import collect_task_times
from velodrome.scheduler.reports.tables import build_table
from velodrome.scheduler.results.store import Store

SWEEP, LATER = "20261124-063012-a1b2", "20261125-063012-a1b2"
USUAL = ("forward", "gradient")


def with_phases(ms: dict[str, float], optimizer: str = "sgd", **changes: object) -> dict:
    """Make a row of exactly these phases, with bounds of 1 %."""
    none = {f"{phase}_{name}_ns": None for phase in USUAL for name in ("median", "low", "high")}
    times = {
        f"{phase}_{name}_ns": by * each * 1e6
        for phase, each in ms.items()
        for name, by in (("median", 1.0), ("low", 0.99), ("high", 1.01))
    }
    stable = {f"{phase}_stable": True for phase in ms if phase != "gradient"}
    return row(**(none | times | stable | {"phases": [*ms], "optimizer": optimizer} | changes))


def shown_phases(rows: list[dict[str, object]], unit: GridUnit = GridUnit.TIME) -> list[str]:
    (table,) = [build_table(*each, unit) for each in collect_cells(typed(rows)).items()]
    return [line.phase.split(",")[0] for line in table.lines]


def test_a_grid_of_forward_and_gradient_has_their_two_lines() -> None:
    assert shown_phases([row()]) == ["forward", "gradient"]


def test_a_grid_has_a_line_for_each_phase_that_was_timed() -> None:
    times = {"forward": 1.0, "inference": 0.8, "update": 0.1, "step": 3.2}
    assert shown_phases([with_phases(times)]) == [*times]


def test_an_update_has_no_rate() -> None:
    rows = [with_phases({"inference": 0.8, "update": 0.1, "step": 3.2})]
    for unit in (GridUnit.RATE, GridUnit.FLOPS):
        assert shown_phases(rows, unit) == ["inference", "step"]


def test_a_failure_is_shown_in_the_phase_that_was_asked_for() -> None:
    failed = failed_row("neon", phases=["forward", "inference"])
    assert shown_phases([failed]) == ["inference"]
    assert shown_phases([failed_row("neon")]) == ["gradient"]


def test_a_cell_without_one_of_the_phases_says_so() -> None:
    (table,) = make_tables(
        [
            with_phases({"inference": 0.8, "step": 3.2}),
            with_phases({"inference": 1.0}, variant="second", task_id="b"),
        ]
    )
    by_phase = {line.phase: [entry.text for entry in line.entries] for line in table.lines}
    assert by_phase["step"] == ["3.20 ms", "no step"]


def test_an_unstable_step_is_marked_by_its_own_samples() -> None:
    unstable = with_phases({"inference": 0.8, "step": 3.2}, step_stable=False)
    (table,) = make_tables([unstable | {"step_instability": "drift"}])
    marks = {line.phase: [entry.mark for entry in line.entries] for line in table.lines}
    assert marks == {"inference": ["verified"], "step": ["unstable"]}


def test_csv_has_columns_of_other_phases_only_if_they_were_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = []
    for name, one in (("usual", make_cell("torch", "eager", "lenet")), ("more", make_inference())):
        Store(tmp_path / name).put(SWEEP, one)
        report(tmp_path / name, "", ReportKind.TIMES, Form.CSV, None)
        columns.append(next(csv.reader(io.StringIO(capsys.readouterr().out))))
    usual, more = columns
    assert set(usual) < set(more)
    assert {"inference_median_ns", "inference_examples_per_s"} <= set(more) - set(usual)


def make_inference():
    """Make a cell with 400 calls of inference."""
    samples = tuple(Sample("inference", at, 1, 10**6 * at, 10**6 + 1000 * at) for at in range(400))
    times = Timed("inference", 1.2e6, 1.19e6, 1.21e6, 400, 1, 5, "target", stable=True)
    starts = {"import_ns": 2 * 10**9, "build_ns": 10**9, "first_call_ns": 5 * 10**8}
    energy = {"energies": (PhaseEnergy("inference", 0.16),), "energy_source": "measured"}
    return make_cell(
        "torch", "eager", "lenet", inference=times, samples=samples, **starts, **energy
    )


def test_the_page_of_a_cell_shows_latencies_and_the_time_to_the_first_step(tmp_path: Path) -> None:
    Store(tmp_path / "results").put(SWEEP, make_inference())
    tree = write_page_of(tmp_path / "results", tmp_path)
    facts = list_facts(tree)
    assert facts["inference latency"] == "p50 1.20 ms, p95 1.38 ms, p99 1.40 ms"
    assert facts["inference energy"].startswith("0.16 J per call, ")
    assert facts["inference energy"].endswith(" J per image")
    assert "gradient energy" not in facts
    assert facts["energy"].startswith("measured; no energy of forward, gradient: shorter than")
    assert facts["time to first step"] == "3.50 s at most"
    assert "inference time" in {term.text for term in tree.by_id("terms").all("dt")}


def test_a_page_of_forward_and_gradient_explains_no_other_phase(tmp_path: Path) -> None:
    Store(tmp_path / "results").put(SWEEP, make_cell("torch", "eager", "lenet"))
    tree = write_page_of(tmp_path / "results", tmp_path)
    terms = {term.text for term in tree.by_id("terms").all("dt")}
    assert not terms & {"inference time", "update time", "step time"}
    assert "inference latency" not in list_facts(tree)


def list_facts(tree: Element) -> dict[str, str]:
    """Return the facts of the only cell of a page."""
    card = next(tree.all(of="card"))
    names = [one.text for one in card.all("dt")]
    return dict(zip(names, [one.text for one in card.all("dd")], strict=True))


def test_a_comparison_follows_every_phase_that_both_sides_have() -> None:
    base = with_phases({"forward": 1.0, "gradient": 3.0, "step": 3.2}, sweep_id=SWEEP)
    candidate = with_phases({"forward": 1.0, "step": 4.0}, sweep_id=LATER)
    pair = CellPair(*(tuple(typed([one])) for one in (base, candidate)))
    assert {time.phase for time in compare_times([pair], 0.02)} == {"forward", "step"}


def test_steps_of_two_optimizers_are_not_compared() -> None:
    sides = [
        with_phases({"forward": 1.0, "step": 3.2}, optimizer, sweep_id=sweep)
        for optimizer, sweep in (("sgd", SWEEP), ("adamw", LATER))
    ]
    pair = CellPair(*(tuple(typed([one])) for one in sides))
    assert {time.phase for time in compare_times([pair], 0.02)} == {"forward"}


def test_a_history_follows_the_steps_of_its_newest_optimizer() -> None:
    rows = [
        with_phases({"gradient": 3.0}, "", sweep_id="20261122-063012-a1b2", node_id="n1"),
        with_phases({"gradient": 3.0, "step": 3.2}, "sgd", sweep_id=SWEEP, node_id="n1"),
        with_phases({"gradient": 3.0, "step": 9.0}, "adamw", sweep_id=LATER, node_id="n1"),
    ]
    (points,) = build_history(typed(rows)).values()
    assert [set(point.levels) for point in points] == [
        {"gradient"},
        {"gradient"},
        {"gradient", "step"},
    ]


def test_machines_are_compared_by_the_decisive_phase() -> None:
    (task,) = collect_task_times(typed([with_phases({"inference": 0.8, "step": 3.2})]))
    assert [*task.times_ns.values()] == [3.2e6]


def test_a_progress_line_has_every_time() -> None:
    times = {
        phase: Timed(phase, ns, ns, ns, 30, 1, 5, "target", stable=True)
        for phase, ns in (("inference", 8e5), ("step", 3.2e6))
    }
    line = describe_ended(make_measurement(phases=("inference", "step"), **times))
    assert line.endswith(": inference 800 us, step 3.20 ms")


def recommended(rows: list[dict[str, object]], phase: str = ""):
    return find_recommendation(typed(rows), Criterion.SPEED, phase)


def test_the_fastest_way_is_by_the_gradient_and_else_by_the_decisive_phase() -> None:
    assert recommended(six_rows()).phase == "gradient"
    assert recommended([with_phases({"inference": 0.8, "step": 3.2})]).phase == "step"
    assert recommended([with_phases({"inference": 0.8, "step": 3.2})], "inference").phase == (
        "inference"
    )


def test_a_recommendation_of_a_step_is_of_the_newest_optimizer() -> None:
    rows = [
        with_phases({"step": 1.0}, "sgd", sweep_id=SWEEP),
        with_phases({"step": 2.0}, "adamw", sweep_id=LATER, variant="b"),
    ]
    found = recommended(rows)
    assert [each.configuration.variant for each in found.ranked] == ["b"]
    assert build_legend(found).startswith("training step with adamw, ")


@pytest.mark.parametrize("phase", ["update", "sideways"])
def test_a_phase_that_works_on_no_examples_is_refused(phase: str) -> None:
    with pytest.raises(ConfigError, match="Give one of gradient, step, inference, forward"):
        recommended(six_rows(), phase)
