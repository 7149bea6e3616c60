"""Bounds of a device's speed depend on the precision."""

import pytest

from velodrome.adapters.proof.peak_rates import find_peak
from velodrome.adapters.tolerances import DTYPES
from velodrome.adapters.vendor_peaks import GPUS

NAMES = [gpu.pattern.replace("(16|32)", "32").replace("SXM4?", "SXM4") for gpu in GPUS]


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


@pytest.mark.parametrize("name", NAMES)
def test_no_gpu_is_slower_in_a_lower_precision(name: str) -> None:
    rates = [flops(dtype, "gpu", f"NVIDIA {name}") for dtype in ("float32", "tf32", "bfloat16")]
    assert rates == sorted(rates)
    assert rates[2] == flops("float16", "gpu", f"NVIDIA {name}") > 1.8 * rates[0]


def test_tensor_cores_of_an_a100_are_eight_and_sixteen_times_as_fast() -> None:
    base, tf32, half = (
        flops(dtype, "gpu", "NVIDIA A100-SXM4-80GB") for dtype in ("float32", "tf32", "float16")
    )
    assert (tf32 / base, half / base) == (8.0, 16.0)


def test_accumulation_in_16_bits_is_possible_where_a_vendor_gives_a_rate_for_it() -> None:
    assert flops("float16", "gpu", "NVIDIA GeForce RTX 4090") == 330.3e12


def test_a_part_of_a_gpu_is_bounded_by_the_whole() -> None:
    whole, part = "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    assert flops("float32", "gpu", part) == flops("float32", "gpu", whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_unknown_gpu_has_no_bound(dtype: str) -> None:
    assert find_peak("gpu", "Some GPU", 1, dtype) is None
