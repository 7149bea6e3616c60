"""That a row called stable has an interval that holds the true median: the benchmark, in short."""

import gc
import importlib.util
from pathlib import Path

import pytest
from scipy.stats import binom

pytestmark = pytest.mark.slow

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
    ("series", "noise"),
    [
        ("independent", 0.01),
        ("independent", 0.03),
        ("AR(1) 0.5", 0.01),
        ("AR(1) 0.9", 0.01),
        ("heavy-tailed, t of 2", 0.03),
        ("skewed, AR(1) 0.6", 0.01),
    ],
)
def test_the_interval_of_a_stable_row_holds_the_true_median(calibration, series, noise):
    found = calibration.tried(series, noise, TRIALS)
    assert found["missed"] * TRIALS <= binom.ppf(LATE, TRIALS, 0.065)
    assert found["stable"] > 0.8  # or there would be nothing to cover


@pytest.mark.parametrize("series", ["bimodal", "bimodal, modes that last"])
def test_samples_of_two_kinds_cover_it_or_are_not_called_stable(calibration, series):
    found = calibration.tried(series, 0.01, TRIALS)
    assert found["missed"] * TRIALS <= binom.ppf(LATE, TRIALS, 0.065)
    assert found["stable"] < 0.25


@pytest.mark.parametrize("series", ["drift of 10 % in 100", "speeding up"])
def test_a_time_that_drifts_is_not_called_stable(calibration, series):
    assert calibration.tried(series, 0.01, TRIALS)["stable"] <= 0.01
