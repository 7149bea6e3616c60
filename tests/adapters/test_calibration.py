"""Intervals hold the true median as often as claimed: the benchmark, shortened."""

import gc
import importlib.util
from pathlib import Path

import pytest
from scipy.stats import binom

pytestmark = [pytest.mark.slow, pytest.mark.full]

PLACE = Path(__file__).parents[2] / "benchmarks" / "calibration.py"
TRIALS = 200
LATE = 0.999  # once in 1000 such tests


@pytest.fixture(scope="module")
def calibration():
    """The benchmark as a module. Garbage is collected before each timing: what exists is none."""
    spec = importlib.util.spec_from_file_location("calibration", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gc.freeze()
    yield module
    gc.unfreeze()


@pytest.mark.parametrize(
    ("series", "noise", "least"),
    [
        ("independent", 0.01, 0.95),
        ("independent", 0.03, 0.95),
        ("AR(1) 0.5", 0.01, 0.95),
        ("AR(1) 0.9", 0.01, 0.65),
        ("heavy-tailed, t of 2", 0.03, 0.95),
        ("skewed, AR(1) 0.6", 0.01, 0.9),
    ],
)
def test_intervals_cover_the_true_median(calibration, series, noise, least):
    found = calibration.try_series(series, noise, TRIALS)
    assert found["missed"] * TRIALS <= binom.ppf(LATE, TRIALS, 0.065)
    assert found["stable"] > least  # or there would be nothing to cover


@pytest.mark.parametrize(
    "series", ["AR(1) 0.95", "AR(1) 0.98", "bimodal", "bimodal, modes that last"]
)
def test_long_range_dependent_samples_cover_the_median_or_give_no_interval(calibration, series):
    found = calibration.try_series(series, 0.03, TRIALS)
    assert found["missed"] * TRIALS <= binom.ppf(LATE, TRIALS, 0.065)
    assert found["bounded"] < 0.5


@pytest.mark.parametrize(
    "series",
    [
        "independent",
        "AR(1) 0.98",
        "bimodal, modes that last",
        "states that last 30 s",
        "two time scales",
        "1/f",
        "1/f, a fifth of the variance",
    ],
)
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_a_report_prints_an_interval_that_covers_the_median_of_all_processes_or_none(
    calibration, series, noise
):
    found = calibration.try_series(series, noise, TRIALS)
    assert found["of_1_printed"] == found["of_3_printed"] == 0
    assert found["of_6_printed"] > 0.9
    for cells in ("of_6", "of_1_by_history", "of_3_by_history"):
        assert found[f"{cells}_coverage"] > 0.94, cells


@pytest.mark.parametrize("series", ["drift of 10 % in 100", "speeding up"])
def test_a_drifting_time_is_not_stable(calibration, series):
    assert calibration.try_series(series, 0.01, TRIALS)["stable"] <= 0.01
