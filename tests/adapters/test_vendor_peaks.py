"""The vendors' dense peaks, found by the names that drivers, frameworks and kernels give."""

from collections import Counter

import pytest

from velodrome.adapters.vendor_peaks import (
    CORES,
    GPUS,
    find_core,
    find_cpu_peak,
    find_gpu,
    find_gpu_peak,
)

GPU_NAMES = {  # as `nvidia-smi -L` printed them
    "Tesla V100-SXM2-32GB": "V100 SXM2",
    "Tesla V100-PCIE-16GB": "V100 PCIe",
    "Tesla V100S-PCIE-32GB": "V100S PCIe",
    "Tesla T4": "T4",
    "A100-SXM4-40GB": "A100 SXM4 40 GB",
    "NVIDIA A100-SXM4-80GB": "A100 SXM4 80 GB",
    "A100-PCIE-40GB": "A100 PCIe 40 GB",
    "NVIDIA A100 80GB PCIe": "A100 PCIe 80 GB",
    "NVIDIA A10": "A10",
    "NVIDIA A10G": "A10G",
    "NVIDIA L4": "L4",
    "NVIDIA L40": "L40",
    "NVIDIA L40S": "L40S",
    "NVIDIA GeForce RTX 3090": "RTX 3090",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA H100 80GB HBM3": "H100 SXM5",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA H100 NVL": "H100 NVL",
    "NVIDIA H200": "H200 SXM",
    "NVIDIA H200 NVL": "H200 NVL",
    "NVIDIA GH200 480GB": "GH200 96 GB",
    "NVIDIA B200": "B200",
    "NVIDIA GB200": "GB200",
    "NVIDIA GeForce RTX 5090": "RTX 5090",
}
OTHERS = [  # of another chip, form or clock than any row's
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA A100-SXM-64GB",
    "GRID A100-4C",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "NVIDIA GeForce RTX 4080 SUPER",
    "Graphics Device",
    "",
]
CPU_NAMES = {
    ("Intel(R) Xeon(R) Platinum 8124M CPU @ 3.00GHz", "avx2 avx512f fma"): 64,
    ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "avx2 avx512f fma"): 64,
    ("Intel(R) Xeon(R) Platinum 8488C", "amx_bf16 avx2 avx512f fma"): 64,
    ("Intel(R) Xeon(R) Gold 6254 CPU @ 3.10GHz", "avx2 avx512f fma"): 64,
    ("AMD EPYC 7B12", "avx2 fma"): 32,
    ("AMD EPYC 7R13 Processor", "avx2 fma"): 32,
    ("AMD EPYC 7763 64-Core Processor", "avx2 fma"): 32,
    ("AMD EPYC 9R14", "avx2 avx512f fma"): 32,
    ("AMD EPYC 9575F 64-Core Processor", "avx2 avx512f fma"): 64,
    ("ARM 0x41 0xd0c 0x3", "asimd"): 16,
    ("ARM 0x41 0xd40 0x1", "asimd bf16 sve"): 32,
    ("ARM 0x41 0xd4f 0x0", "asimd bf16 sve sve2"): 32,
}
BOOST = {  # cores and boost clock in GHz, from the same sources
    "V100 SXM2": (5120, 1.53),
    "T4": (2560, 1.59),
    "A100 SXM4 80 GB": (6912, 1.41),
    "A10": (9216, 1.695),
    "A30": (3584, 1.44),
    "A40": (10752, 1.74),
    "L4": (7424, 2.04),
    "L40": (18176, 2.49),
    "L40S": (18176, 2.52),
    "RTX 3090": (10496, 1.695),
    "RTX A6000": (10752, 1.8),
    "RTX 4090": (16384, 2.52),
    "RTX 6000 Ada": (18176, 2.505),
    "H100 SXM5": (16896, 1.98),
    "H100 PCIe": (14592, 1.755),
    "RTX 5090": (21760, 2.407),
}


@pytest.mark.parametrize(("name", "expected"), GPU_NAMES.items())
def test_a_gpu_is_found_by_the_name_that_its_driver_gives(name: str, expected: str) -> None:
    found = find_gpu(name)
    assert found is not None
    assert found.name == expected


@pytest.mark.parametrize("name", OTHERS)
def test_a_name_that_fits_in_part_alone_has_no_peak(name: str) -> None:
    assert find_gpu(name) is None
    peak = find_gpu_peak(name, "float32")
    assert peak.flops_per_s is None
    assert peak.reason


@pytest.mark.parametrize(("name", "units"), BOOST.items())
def test_float32_is_two_operations_a_cycle_of_each_core(
    name: str, units: tuple[int, float]
) -> None:
    (gpu,) = (gpu for gpu in GPUS if gpu.name == name)
    cores, clock_ghz = units
    assert gpu.flops_per_s["float32"] == pytest.approx(2 * cores * clock_ghz * 1e9, rel=0.01)


def test_no_two_rows_of_gpus_have_one_name_or_pattern() -> None:
    assert max(Counter(gpu.name for gpu in GPUS).values()) == 1
    assert max(Counter(gpu.pattern for gpu in GPUS).values()) == 1


def test_every_row_has_a_source_and_tells_how_it_was_checked() -> None:
    for row in (*GPUS, *CORES):
        assert row.source
        assert row.checked in ("copy", "table", "partly", "no")


def test_dense_figures_are_not_those_with_sparsity() -> None:
    """Structured sparsity doubles a figure: 1,979 TFLOP/s of an H100 are not dense."""
    assert find_gpu_peak("NVIDIA H100 80GB HBM3", "bfloat16").flops_per_s == 989.5e12
    assert find_gpu_peak("NVIDIA A100-SXM4-80GB", "tf32").flops_per_s == 156e12


def test_a_consumer_gpu_has_half_the_rate_if_it_accumulates_in_float32() -> None:
    (gpu,) = (gpu for gpu in GPUS if gpu.name == "RTX 4090")
    assert gpu.flops_per_s["float16"] == pytest.approx(gpu.fastest_16_bit / 2, rel=1e-3)


def test_two_gpus_have_twice_the_peak_and_an_unknown_one_has_none() -> None:
    both = find_gpu_peak("NVIDIA L4, NVIDIA L4", "float32")
    assert both.flops_per_s == 2 * 30.3e12
    assert "L4 data sheet" in both.source
    mixed = find_gpu_peak("NVIDIA L4, NVIDIA L5", "float32")
    assert (mixed.flops_per_s, mixed.reason) == (None, "no published peak is known for 'NVIDIA L5'")


def test_a_precision_without_units_has_no_peak_but_a_reason() -> None:
    assert find_gpu_peak("Tesla T4", "bfloat16").reason == (
        "no bfloat16 peak is published for the T4"
    )
    assert find_gpu_peak("NVIDIA L4", "float64").flops_per_s is None


@pytest.mark.parametrize(("cpu", "per_cycle"), CPU_NAMES.items())
def test_a_core_is_found_by_the_kernels_name_and_its_instructions(
    cpu: tuple[str, str], per_cycle: int
) -> None:
    found = find_core(*cpu)
    assert found is not None
    assert found.flops_per_cycle["float32"] == per_cycle


def test_matrix_units_are_known_by_their_instructions_whatever_the_name() -> None:
    """A hypervisor may hide the model, as in `Intel(R) Xeon(R) Processor`."""
    peak = find_cpu_peak("Intel(R) Xeon(R) Processor", "avx512f amx_bf16", 2, 2000.0, "bfloat16")
    assert peak.flops_per_s == 2 * 1024 * 2e9
    assert peak.source.startswith("2 cores x 1024 FLOP a cycle x 2000 MHz, as the node reports")


def test_a_cpu_has_no_peak_without_a_name_its_instructions_or_a_clock() -> None:
    ice_lake = "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz"
    unknown = find_cpu_peak("Intel(R) Xeon(R) CPU @ 2.20GHz", "avx2 avx512f", 1, 2200.0, "float32")
    assert "no published peak" in unknown.reason
    assert "no published peak" in find_cpu_peak(ice_lake, "avx2", 1, 2900.0, "float32").reason
    assert "clock" in find_cpu_peak(ice_lake, "avx2 avx512f", 1, None, "float32").reason
    assert "no bfloat16" in find_cpu_peak(ice_lake, "avx512f", 1, 2900.0, "bfloat16").reason
