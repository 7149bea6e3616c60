"""Upper bounds of each device's speed, which no correct time exceeds.

CPUs: no core sold to date retires more than two fused multiply-adds of 512 bits a cycle in float32,
64 operations, nor runs above 6.5 GHz; no socket moves more than 2 TB/s. That is far above what any
real node reaches, so it only finds what cannot be. GPUs: the vendor's figure for float32 without
tensor cores, and for memory.
"""

from typing import NamedTuple, Optional

FLOPS_PER_CYCLE = 64.0
CYCLES_PER_S = 6.5e9
CPU_BYTES_PER_S = 2e12


class PeakRates(NamedTuple):
    """A device's float32 FLOP/s and B/s; source: the origin of the figures."""

    flops_per_s: float
    bytes_per_s: float
    source: str


# By a part of the device's name, the first that fits. FLOP/s and B/s of NVIDIA's data sheets.
GPUS = (
    ("H200", PeakRates(67e12, 4.8e12, "NVIDIA H200 data sheet, 2024")),
    (
        "H100",
        PeakRates(67e12, 3.9e12, "NVIDIA H100 data sheet, 2023: the largest of SXM, PCIe and NVL"),
    ),
    ("A100", PeakRates(19.5e12, 2.039e12, "NVIDIA A100 data sheet, 2021")),
    (
        "V100",
        PeakRates(16.4e12, 1.134e12, "NVIDIA V100 data sheet, 2020: V100S, the fastest of them"),
    ),
    ("L40S", PeakRates(91.6e12, 0.864e12, "NVIDIA L40S data sheet, 2023")),
    ("L40", PeakRates(90.5e12, 0.864e12, "NVIDIA L40 data sheet, 2022")),
    ("L4", PeakRates(30.3e12, 0.3e12, "NVIDIA L4 data sheet, 2023")),
    ("A10G", PeakRates(35.0e12, 0.6e12, "NVIDIA A10G, as of Amazon's G5 instances, 2021")),
    ("A10", PeakRates(31.2e12, 0.6e12, "NVIDIA A10 data sheet, 2021")),
    ("A30", PeakRates(10.3e12, 0.933e12, "NVIDIA A30 data sheet, 2021")),
    ("A40", PeakRates(37.4e12, 0.696e12, "NVIDIA A40 data sheet, 2020")),
    ("T4", PeakRates(8.1e12, 0.32e12, "NVIDIA T4 data sheet, 2019")),
    ("RTX 4090", PeakRates(82.6e12, 1.008e12, "NVIDIA Ada GPU architecture, 2022")),
    ("RTX 3090", PeakRates(35.6e12, 0.936e12, "NVIDIA Ampere GA102 GPU architecture, 2020")),
    ("RTX 6000 Ada", PeakRates(91.1e12, 0.96e12, "NVIDIA RTX 6000 Ada data sheet, 2022")),
    ("RTX A6000", PeakRates(38.7e12, 0.768e12, "NVIDIA RTX A6000 data sheet, 2020")),
)


def find_peak(device: str, device_name: str, threads: int) -> Optional[PeakRates]:
    """Return the peak of `threads` cores or of a GPU by its name; None for an unknown GPU."""
    if device == "cpu":
        per_thread = FLOPS_PER_CYCLE * CYCLES_PER_S
        source = "64 operations a cycle at 6.5 GHz, which no core reaches"
        return PeakRates(threads * per_thread, CPU_BYTES_PER_S, source)
    return next((peak for part, peak in GPUS if part in device_name), None)
