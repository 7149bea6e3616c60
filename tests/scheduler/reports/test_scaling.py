"""Speed-up and parallel efficiency of tasks on several devices against one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_measurements import make_measurement, make_times
from made_rows import typed
from report_texts import failed_row, read_report, row

from velodrome.scheduler.commands.report import Form, ReportKind
from velodrome.scheduler.reports.scaling import ScalingPoint, ScalingResult, measure_scaling
from velodrome.scheduler.reports.scaling_text import NOTHING, format_efficiency, format_speedup
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.sweeps.sweep import Scaling

NOISE = (1.0, 1.01, 0.99, 1.0, 1.005, 0.995)


def runs(devices: int, batch_size: int, gradient_ms: float, **changes: object) -> list[dict]:
    """Rows of six processes that differ by 1 %, in gradient alone."""
    return [
        row(
            task_id=f"{devices}-{batch_size}-{sorted(changes.items())}",
            processes=devices,
            batch_size=batch_size,
            repeat=at,
            node_id="n1",
            **{f"forward_{name}_ns": None for name in ("median", "low", "high")},
            **{
                f"gradient_{name}_ns": gradient_ms * noise * factor * 1e6
                for name, factor in (("median", 1.0), ("low", 0.999), ("high", 1.001))
            },
        )
        | changes
        for at, noise in enumerate(NOISE)
    ]


def measured(*rows: list[dict]) -> ScalingResult:
    return measure_scaling(typed(one for each in rows for one in each))


def single(found: ScalingResult) -> ScalingPoint:
    assert not found.missing
    (point,) = found.points
    return point


def test_strong_scaling_is_the_time_of_one_device_over_that_of_all() -> None:
    point = single(measured(runs(1, 64, 3.0), runs(2, 64, 2.0)))
    assert (point.kind, point.phase, point.devices) == (Scaling.STRONG, "gradient", 2)
    assert point.speedup == pytest.approx(1.5)
    assert point.efficiency == pytest.approx(0.75)
    assert point.low is not None and point.high is not None
    assert 1.47 < point.low < 1.5 < point.high < 1.53
    assert point.efficiency_bounds == (point.low / 2, point.high / 2)


def test_weak_scaling_is_the_ratio_of_throughputs() -> None:
    point = single(measured(runs(1, 64, 3.0), runs(4, 256, 4.0)))
    assert point.kind is Scaling.WEAK
    assert point.speedup == pytest.approx(4 * 3.0 / 4.0)
    assert point.efficiency == pytest.approx(0.75)


def test_a_cell_may_scale_in_both_ways_against_two_batches_of_one_device() -> None:
    found = measured(runs(1, 32, 1.0), runs(1, 64, 2.0), runs(2, 64, 1.25))
    assert [(point.kind, round(point.speedup, 3)) for point in found.points] == [
        (Scaling.STRONG, 1.6),
        (Scaling.WEAK, 1.6),
    ]
    assert [point.base_ns for point in found.points] == pytest.approx([2e6, 1e6], rel=0.01)


def test_rows_of_an_earlier_version_are_a_baseline() -> None:
    assert single(measured(runs(1, 64, 3.0, processes=None), runs(2, 64, 2.0)))


def test_gpus_scale_against_one_gpu_of_the_same_model() -> None:
    on_gpu = {"device": "gpu", "processes": 1, "gpu_name": "L4", "threads": 2}
    found = measured(
        runs(1, 64, 3.0, gpu_count=1, **on_gpu), runs(1, 64, 1.6, gpu_count=2, **on_gpu)
    )
    assert single(found).devices == 2
    before = on_gpu | {"processes": None}  # of two GPUs, one computed
    rows = runs(1, 64, 3.0, gpu_count=1, **before), runs(1, 64, 3.0, gpu_count=2, **before)
    assert not measured(*rows)


@pytest.mark.parametrize(
    "other",
    [
        {"framework": "jax"},
        {"variant": "compile"},
        {"model": "lstm"},
        {"dtype": "bfloat16"},
        {"node_type": "t2"},
        {"device": "gpu", "gpu_count": 1, "processes": 1},
    ],
)
def test_another_cell_on_one_device_is_no_baseline(other: dict[str, object]) -> None:
    found = measured(runs(1, 64, 3.0, **other), runs(2, 64, 2.0))
    assert not found.points
    assert [one.reason for one in found.missing] == [
        "no baseline: this sweep has no such cell on one device"
    ]


def test_other_threads_per_device_are_no_baseline_and_the_remedy_is_named() -> None:
    found = measured(runs(1, 64, 3.0, threads=4), runs(2, 64, 2.0, threads=2))
    assert [one.reason for one in found.missing] == [
        "no baseline: this sweep has no such cell on one device with 2 threads, only with 4: "
        "give `threads` as a number"
    ]


def test_a_group_without_a_time_says_why() -> None:
    crashed = [failed_row("torch", processes=2, task_id="x", node_id="n1")]
    found = measured(runs(1, 64, 3.0), crashed)
    assert [one.reason for one in found.missing] == ["it has no time: crashed: killed by SIGSEGV"]


def test_a_baseline_without_a_time_says_so() -> None:
    crashed = [failed_row("torch", processes=1, task_id="x", node_id="n1")]
    found = measured(crashed, runs(2, 64, 3.0))
    assert [one.reason for one in found.missing] == [
        "no baseline: the cell on one device has no time in a phase that this one has"
    ]


def test_one_process_against_one_has_a_speed_up_without_an_interval() -> None:
    point = single(measured(runs(1, 64, 3.0)[:1], runs(2, 64, 2.0)[:1]))
    assert (format_speedup(point), format_efficiency(point)) == ("1.50x", "75%")
    assert point.reason.startswith("one process against one has no spread")


def test_a_speed_up_and_an_efficiency_are_printed_with_their_intervals() -> None:
    point = single(measured(runs(1, 64, 3.0), runs(2, 64, 2.0)))
    assert format_speedup(point).startswith("1.50x (1.4")
    assert format_efficiency(point).startswith("75% (7")


def test_the_interval_widens_with_the_spread_of_the_processes() -> None:
    calm = single(measured(runs(1, 64, 3.0), runs(2, 64, 2.0)))
    rows = runs(2, 64, 2.0)
    for at, each in enumerate(rows):
        for name in ("median", "low", "high"):
            each[f"gradient_{name}_ns"] *= 1 + 0.1 * (at % 3 - 1)
    wild = single(measured(runs(1, 64, 3.0), rows))
    assert calm.high is not None and wild.high is not None
    assert wild.high - wild.speedup > 3 * (calm.high - calm.speedup)


def test_an_interval_that_is_wider_than_the_speed_up_is_not_shown() -> None:
    rows = runs(2, 64, 2.0)[:2]
    for name in ("median", "low", "high"):
        rows[0][f"gradient_{name}_ns"] *= 3
    point = single(measured(runs(1, 64, 3.0), rows))
    assert (point.low, point.high) == (None, None)
    assert point.reason == "the interval is wider than the speed-up itself: give more repeats"


def test_a_sweep_without_groups_is_reported_without_the_statistics_of_ratios() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from report_texts import row\n"
        "from made_rows import typed\n"
        "from velodrome.scheduler.reports.scaling import measure_scaling\n"
        "assert not measure_scaling(typed([row()]))\n"
        "assert 'scipy' not in sys.modules\n"
    )
    helpers = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, helpers], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A sweep of torch on one and two processes, and of jax on two alone."""
    store, sweep_id = Store(tmp_path), new_sweep_id()
    with store.hold_sweep(sweep_id):
        for framework, processes, ms in (("torch", 1, 3.0), ("torch", 2, 2.0), ("jax", 2, 1.0)):
            for at, noise in enumerate(NOISE[:3]):
                times = make_times(ms * noise / 3, ms * noise)
                made = make_measurement(
                    framework=framework, variant="plain", processes=processes, repeat=at, **times
                )
                store.put(sweep_id, made)
    return tmp_path


def test_a_report_of_a_sweep_with_groups_ends_with_their_speed_ups(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for form in (Form.TERMINAL, Form.MARKDOWN):
        text = read_report(results, ReportKind.TIMES, form, capsys)
        assert "Scaling over devices" in text
        assert "1.50x (1.4" in text and "75% (7" in text
        assert "jax plain lenet b64 cpu:2, 1t each: no baseline: this sweep has no such" in text


def test_the_speed_ups_alone_are_printed_in_every_form(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(read_report(results, ReportKind.SCALING, Form.JSON, capsys))
    assert [(one["framework"], one["phase"], one["scaling"]) for one in rows] == [
        ("torch", "forward", "strong"),
        ("torch", "gradient", "strong"),
        ("jax", None, None),
    ]
    assert rows[1]["speedup"] == pytest.approx(1.5)
    assert rows[1]["efficiency_low"] < 0.75 < rows[1]["efficiency_high"]
    assert "no baseline" in rows[2]["reason"]
    lines = read_report(results, ReportKind.SCALING, Form.CSV, capsys).splitlines()
    assert lines[0].split(",") == list(rows[0]) and len(lines) == 4
    assert "| torch plain | lenet b64 | cpu:2, 1t each |" in read_report(
        results, ReportKind.SCALING, Form.MARKDOWN, capsys
    )


def test_a_sweep_without_groups_has_no_such_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, sweep_id = Store(tmp_path), new_sweep_id()
    with store.hold_sweep(sweep_id):
        store.put(sweep_id, make_measurement(**make_times(1, 3)))
    assert "Scaling" not in read_report(tmp_path, ReportKind.TIMES, Form.TERMINAL, capsys)
    assert NOTHING in read_report(tmp_path, ReportKind.SCALING, Form.TERMINAL, capsys)
    assert read_report(tmp_path, ReportKind.SCALING, Form.JSON, capsys).strip() == "[]"
