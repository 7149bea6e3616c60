"""`velodrome report --ceilings`, from rows of a real results folder."""

import csv
import io
import json
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.reports.ceilings_text import format_rate
from velodrome.scheduler.results.ceilings import RateUnit
from velodrome.scheduler.results.store import Store

SWEEP, LATER = "20261124-063012-a1b2", "20261125-063012-a1b2"
GEMM = 4 * 1024**3  # FLOP of a gradient


def ran(framework: str, model: str, gradient_ms: float, batch_size: int) -> Measurement:
    times = make_times(gradient_ms / 2, gradient_ms, spread=0.0)
    return make_measurement(
        framework=framework,
        cpu_model="Some CPU",
        model=model,
        batch_size=batch_size,
        verified=VERIFIED,
        forward=times["forward"],
        gradient=None if model == "copy" else times["gradient"],
    )


@pytest.fixture
def results(root: Path, store: Store) -> Path:
    """A sweep with ceilings, and a later one without."""
    for sweep_id, measurements in (
        (
            SWEEP,
            [
                ran("torch", "gemm-1024", 100, 1024),
                ran("tensorflow", "copy", 100, 1),
                ran("torch", "lenet", 50, 64),
                ran("tensorflow", "lenet", 10, 64),
            ],
        ),
        (LATER, [ran("torch", "lenet", 40, 64)]),
    ):
        with store.hold_sweep(sweep_id):
            for one in measurements:
                store.put(sweep_id, one)
    return root


def shown(results: Path, form: Form, sweep_id: str, capsys: pytest.CaptureFixture[str]) -> str:
    report(results, sweep_id, ReportKind.CEILINGS, form, None)
    return capsys.readouterr().out


def test_the_report_names_the_frameworks_at_the_ceilings_and_the_efficiency_of_each_cell(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(results, Form.MARKDOWN, SWEEP, capsys)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    top = next(line for line in lines if line and line[0] == "host1")
    assert top[4:] == [
        "42.9 GFLOP/s",
        "torch eager, gemm-1024",
        "10.7 GB/s",
        "tensorflow eager, copy",
    ]
    cells = {(line[2], line[3], line[4]): line[7] for line in lines if len(line) == 9}
    assert cells["torch eager", "gemm-1024 b1024", "gradient"] == "100.0 %"
    assert cells["torch eager", "lenet b64", "gradient"].endswith(" %")


def test_a_rate_above_the_ceiling_is_flagged(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(shown(results, Form.JSON, SWEEP, capsys))
    fast = [row for row in rows if (row["framework"], row["model"]) == ("tensorflow", "lenet")]
    assert [row["efficiency"] > 1 for row in fast] == [True, True]
    text = shown(results, Form.MARKDOWN, SWEEP, capsys)
    flagged = [line for line in text.splitlines() if line.startswith("| host1") and "% !" in line]
    assert len(flagged) == 2


def test_ceilings_of_an_earlier_sweep_are_marked_as_such(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = csv.DictReader(io.StringIO(shown(results, Form.CSV, LATER, capsys)))
    assert {(row["gemm_by"], row["gemm_sweep_id"], row["copy_sweep_id"]) for row in rows} == {
        ("torch eager, gemm-1024", SWEEP, SWEEP)
    }
    text = shown(results, Form.TERMINAL, LATER, capsys)
    assert SWEEP in text


def test_rows_of_an_unfinished_sweep_have_an_efficiency_too(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(results, SWEEP, ReportKind.TIMES, Form.JSON, None)
    rows = json.loads(capsys.readouterr().out)
    (gemm,) = [row for row in rows if row["model"] == "gemm-1024"]
    assert gemm["gradient_efficiency"] == pytest.approx(1.0)
    assert gemm["ceiling_flops_per_s"] == pytest.approx(GEMM / 100e-3)


def test_rates_have_three_figures() -> None:
    assert format_rate(8.12e11, RateUnit.FLOPS) == "812 GFLOP/s"
    assert format_rate(1.134e10, RateUnit.BYTES) == "11.3 GB/s"
    assert format_rate(6.7e13, RateUnit.FLOPS) == "67.0 TFLOP/s"
