"""The share of a call on several devices that is communication: measured, and predicted."""

import csv
import io
import json
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import typed
from report_texts import read_report, row

from velodrome.scheduler.commands.report import Form, ReportKind
from velodrome.scheduler.reports.communication import count_gradient_bytes
from velodrome.scheduler.reports.scaling import ScalingPoint, measure_scaling
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.sweeps.sweep import Scaling

NOISE = (1.0, 1.01, 0.99, 1.0, 1.005, 0.995)
GRADIENT_BYTES = 4 * 431080  # of lenet's parameters
BOUNDS = ("median", "low", "high")


def runs(
    model: str, devices: int, batch_size: int, phase: str, ms: float, **changes: object
) -> list[dict[str, object]]:
    """Rows of six processes with a time in one phase alone."""
    nothing = {f"{one}_{name}_ns": None for one in ("forward", "gradient") for name in BOUNDS}
    return [
        row(
            model=model,
            task_id=f"{model}-{devices}-{batch_size}-{sorted(changes.items())}",
            processes=devices,
            batch_size=batch_size,
            repeat=at,
            node_id="n1",
            **(nothing | {f"{phase}_{name}_ns": ms * noise * 1e6 for name in BOUNDS}),
        )
        | changes
        for at, noise in enumerate(NOISE)
    ]


def lenet(devices: int, batch_size: int, ms: float, **changes: object) -> list[dict[str, object]]:
    return runs("lenet", devices, batch_size, "gradient", ms, **changes)


def all_reduce(size: str, ms: float, **changes: object) -> list[dict[str, object]]:
    return runs(f"allreduce-{size}", 2, 2, "forward", ms, **changes)


def points_of(*rows: list[dict[str, object]]) -> tuple[ScalingPoint, ...]:
    return measure_scaling(typed(one for each in rows for one in each)).points


def point_of(*rows: list[dict[str, object]]) -> ScalingPoint:
    (point,) = points_of(*rows)
    return point


def test_the_measured_share_is_what_the_group_takes_beyond_one_device_on_its_own_share() -> None:
    found = point_of(lenet(1, 64, 3.0), lenet(2, 128, 4.0)).communication
    assert found.measured is not None and found.measured.bounds is not None
    assert found.measured.value == pytest.approx((4.0 - 3.0) / 4.0)
    low, high = found.measured.bounds
    assert 0.23 < low < 0.25 < high < 0.27
    assert found.predicted is None


def test_both_kinds_of_scaling_of_a_cell_have_the_measured_share_of_the_same_time() -> None:
    strong, weak = points_of(lenet(1, 32, 1.0), lenet(1, 64, 2.0), lenet(2, 64, 1.25))
    assert (strong.kind, weak.kind) == (Scaling.STRONG, Scaling.WEAK)
    assert strong.communication == weak.communication
    assert strong.communication.measured is not None
    assert strong.communication.measured.value == pytest.approx(0.25 / 1.25)


def test_without_one_device_on_its_own_share_nothing_is_measured() -> None:
    point = point_of(lenet(1, 64, 3.0), lenet(2, 64, 2.0))
    assert not point.communication


def test_a_forward_call_exchanges_no_gradients_and_has_no_share() -> None:
    rows = (runs("lenet", number, 64 * number, "forward", 2.0) for number in (1, 2))
    point = point_of(*rows, all_reduce("1mib", 1.0), all_reduce("4mib", 3.0))
    assert point.phase == "forward"
    assert not point.communication


def test_the_prediction_lies_on_the_line_through_the_nearest_sizes() -> None:
    point = point_of(
        lenet(1, 64, 3.0),
        lenet(2, 128, 4.0),
        all_reduce("64kib", 0.1),
        all_reduce("1mib", 1.0),
        all_reduce("4mib", 3.0),
        all_reduce("64mib", 50.0),
    )
    found = point.communication
    assert found.predicted is not None and found.predicted.bounds is not None
    exchange_ms = 1.0 + 2.0 * (GRADIENT_BYTES - 2**20) / (2**22 - 2**20)
    assert found.predicted.value == pytest.approx(exchange_ms / 4.0)
    assert found.predicted.bounds[0] < found.predicted.value < found.predicted.bounds[1]
    assert found.all_reduces == ("allreduce-1mib", "allreduce-4mib")
    assert found.gradient_bytes == GRADIENT_BYTES == count_gradient_bytes("lenet")
    assert found.measured is not None


def test_there_is_no_prediction_beyond_the_measured_sizes() -> None:
    group = (lenet(1, 64, 3.0), lenet(2, 64, 2.0))
    assert not point_of(*group, all_reduce("64kib", 0.1), all_reduce("1mib", 1.0)).communication
    assert not point_of(*group, all_reduce("4mib", 3.0), all_reduce("16mib", 9.0)).communication


@pytest.mark.parametrize(
    "other",
    [
        {"framework": "jax"},
        {"node_type": "t2"},
        {"threads": 2},
        {"processes": 4},
        {"nodes": 2},
        {"verified": False},
    ],
)
def test_all_reduces_of_others_predict_nothing(other: dict[str, object]) -> None:
    point = point_of(
        lenet(1, 64, 3.0),
        lenet(2, 64, 2.0),
        all_reduce("1mib", 1.0, **other),
        all_reduce("4mib", 3.0),
    )
    assert point.communication.predicted is None


def test_other_collective_operations_predict_nothing() -> None:
    others = (runs(f"reducescatter-{size}", 2, 2, "forward", 1.0) for size in ("1mib", "4mib"))
    assert not point_of(lenet(1, 64, 3.0), lenet(2, 64, 2.0), *others).communication


def test_gradients_are_float32_in_every_precision_and_the_fastest_variant_predicts() -> None:
    point = point_of(
        lenet(1, 64, 3.0, dtype="bfloat16"),
        lenet(2, 64, 2.0, dtype="bfloat16"),
        all_reduce("1mib", 5.0, variant="other"),
        all_reduce("1mib", 1.0),
        all_reduce("4mib", 1.0),
    )
    assert point.communication.predicted is not None
    assert point.communication.predicted.value == pytest.approx(0.5)


def test_one_process_against_one_has_shares_without_intervals() -> None:
    rows = (lenet(1, 64, 3.0), lenet(2, 128, 4.0), all_reduce("1mib", 1.0), all_reduce("4mib", 1.0))
    found = point_of(*(each[:1] for each in rows)).communication
    assert found.measured is not None and found.predicted is not None
    assert (found.measured.bounds, found.predicted.bounds) == (None, None)
    assert (found.measured.value, found.predicted.value) == pytest.approx((0.25, 0.25))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A sweep of torch on one and two processes with two all-reduces, and of jax without them."""
    store, sweep_id = Store(tmp_path), new_sweep_id()
    with store.hold_sweep(sweep_id):
        for framework, model, processes, batch_size, ms in (
            ("torch", "lenet", 1, 64, 3.0),
            ("torch", "lenet", 2, 128, 4.0),
            ("torch", "allreduce-1mib", 2, 2, 1.0),
            ("torch", "allreduce-4mib", 2, 2, 1.0),
            ("jax", "lenet", 1, 128, 3.0),
            ("jax", "lenet", 2, 128, 2.0),
        ):
            for at, noise in enumerate(NOISE):
                times = make_times(ms * noise, ms * noise)
                times = times if model == "lenet" else {"forward": times["forward"]}
                made = make_measurement(
                    framework=framework,
                    model=model,
                    batch_size=batch_size,
                    processes=processes,
                    repeat=at,
                    verified=VERIFIED,
                    cpu_model="Some CPU",
                    **times,
                )
                store.put(sweep_id, made)
    return tmp_path


def test_the_report_on_scaling_shows_both_shares_and_says_what_they_are(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    for form in (Form.TERMINAL, Form.MARKDOWN):
        text = read_report(results, ReportKind.SCALING, form, capsys)
        assert "communication, measured" in text and "communication, predicted" in text
        assert "as if nothing hid it" in text
        (gradient,) = [line for line in text.splitlines() if "torch" in line and "gradient" in line]
        assert gradient.count("25% (2") == 2


def test_the_shares_are_in_csv_and_json_and_empty_where_rows_are_lacking(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(read_report(results, ReportKind.SCALING, Form.JSON, capsys))
    found = {(one["framework"], one["phase"]): one for one in rows}
    gradient = found["torch", "gradient"]
    assert gradient["communication_measured"] == pytest.approx(0.25)
    assert gradient["communication_measured_low"] < 0.25 < gradient["communication_measured_high"]
    assert gradient["communication_predicted"] == pytest.approx(0.25)
    assert gradient["communication_predicted_from"] == "allreduce-1mib allreduce-4mib"
    assert gradient["gradient_bytes"] == GRADIENT_BYTES
    for other in (found["torch", "forward"], found["jax", "gradient"]):
        assert not [one for name, one in other.items() if "communication" in name and one]
    table = csv.DictReader(io.StringIO(read_report(results, ReportKind.SCALING, Form.CSV, capsys)))
    assert [line["communication_predicted"] for line in table].count("") == 3
