"""Bounds of a device's speed depend on the precision."""

import pytest

from velodrome.adapters.proof.peak_rates import GPUS, find_peak
from velodrome.adapters.tolerances import DTYPES


def flops(dtype: str, device: str = "cpu", name: str = "", threads: int = 1) -> float:
    found = find_peak(device, name, threads, dtype)
    assert found is not None
    return found.flops_per_s


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_core_with_matrix_units_stays_below_its_bound(dtype: str) -> None:
    """A tile unit does 1024 operations a cycle in bfloat16; boost clocks reach 4.2 GHz."""
    assert flops(dtype, threads=8) > 8 * 1024 * 4.2e9
    assert flops("float32", threads=8) < 8 * 1024 * 4.2e9


def test_a_bound_grows_with_the_threads_and_names_the_precision() -> None:
    assert flops("bfloat16", threads=4) == 4 * flops("bfloat16")
    found = find_peak("cpu", "", 1, "bfloat16")
    assert found is not None
    assert "in bfloat16" in found.source


@pytest.mark.parametrize("name", [part for part, _ in GPUS])
def test_no_gpu_is_slower_in_a_lower_precision(name: str) -> None:
    rates = [flops(dtype, "gpu", f"NVIDIA {name}") for dtype in ("float32", "tf32", "bfloat16")]
    assert rates == sorted(rates)
    assert rates[2] == flops("float16", "gpu", f"NVIDIA {name}") > 1.8 * rates[0]


def test_tensor_cores_of_an_a100_are_eight_and_sixteen_times_as_fast() -> None:
    base, tf32, half = (
        flops(dtype, "gpu", "NVIDIA A100-SXM4-80GB") for dtype in ("float32", "tf32", "float16")
    )
    assert (tf32 / base, half / base) == (8.0, 16.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_unknown_gpu_has_no_bound(dtype: str) -> None:
    assert find_peak("gpu", "Some GPU", 1, dtype) is None
