"""Upper bounds of each device's speed in each precision, which no correct time exceeds.

CPUs: no core sold to date retires more than two fused multiply-adds of 512 bits a cycle in float32,
64 operations, nor runs above 6.5 GHz; no socket moves more than 2 TB/s. In bfloat16 and float16 a
tile unit (AMX) multiplies 16 x 32 by 32 x 16 values every 16 cycles, 1024 operations a cycle (Intel
64 and IA-32 Architectures Optimization Reference Manual, 2023, on AMX). That is far above what
any real node reaches, so it only finds what cannot be. GPUs: the vendor's figures without sparsity,
for float32 without tensor cores, for the other precisions with them, and for memory.
"""

from typing import Dict, NamedTuple, Optional, Tuple

CPU_FLOPS_PER_CYCLE: Dict[str, float] = {
    "float32": 64.0,
    "tf32": 64.0,
    "bfloat16": 1024.0,
    "float16": 1024.0,
}
CYCLES_PER_S = 6.5e9
CPU_BYTES_PER_S = 2e12


class PeakRates(NamedTuple):
    """A device's FLOP/s in one precision and B/s; source: the origin of the figures."""

    flops_per_s: float
    bytes_per_s: float
    source: str


class GpuRates(NamedTuple):
    """A GPU's FLOP/s by precision and B/s. half: in float16, or bfloat16 if that is faster."""

    float32: float
    tf32: float
    half: float
    bytes_per_s: float
    source: str

    def in_dtype(self, dtype: str) -> PeakRates:
        """Return the rates of a precision."""
        flops = {"float32": self.float32, "tf32": self.tf32}.get(dtype, self.half)
        return PeakRates(flops, self.bytes_per_s, self.source)


# By a part of the device's name, the first that fits. FLOP/s and B/s of NVIDIA's data sheets. A GPU
# without TF32 computes it as float32.
GPUS: Tuple[Tuple[str, GpuRates], ...] = (
    ("H200", GpuRates(67e12, 494.7e12, 989.5e12, 4.8e12, "NVIDIA H200 data sheet, 2024")),
    (
        "H100",
        GpuRates(
            67e12,
            494.7e12,
            989.5e12,
            3.9e12,
            "NVIDIA H100 data sheet, 2023: the largest of SXM, PCIe and NVL",
        ),
    ),
    ("A100", GpuRates(19.5e12, 156e12, 312e12, 2.039e12, "NVIDIA A100 data sheet, 2021")),
    (
        "V100",
        GpuRates(
            16.4e12,
            16.4e12,
            130e12,
            1.134e12,
            "NVIDIA V100 data sheet, 2020: V100S, the fastest of them",
        ),
    ),
    ("L40S", GpuRates(91.6e12, 183.2e12, 366.4e12, 0.864e12, "NVIDIA L40S data sheet, 2023")),
    (  # its data sheet gives half of what the same chip does in the L40S
        "L40",
        GpuRates(
            90.5e12,
            183.2e12,
            366.4e12,
            0.864e12,
            "NVIDIA L40 data sheet, 2022; tensor cores: of the L40S",
        ),
    ),
    ("L4", GpuRates(30.3e12, 60e12, 121e12, 0.3e12, "NVIDIA L4 data sheet, 2023")),
    (
        "A10G",
        GpuRates(
            35.0e12,
            62.5e12,
            125e12,
            0.6e12,
            "NVIDIA A10G, as of Amazon's G5 instances, 2021; tensor cores: of the A10",
        ),
    ),
    ("A10", GpuRates(31.2e12, 62.5e12, 125e12, 0.6e12, "NVIDIA A10 data sheet, 2021")),
    ("A30", GpuRates(10.3e12, 82e12, 165e12, 0.933e12, "NVIDIA A30 data sheet, 2021")),
    ("A40", GpuRates(37.4e12, 74.8e12, 149.7e12, 0.696e12, "NVIDIA A40 data sheet, 2020")),
    ("T4", GpuRates(8.1e12, 8.1e12, 65e12, 0.32e12, "NVIDIA T4 data sheet, 2019")),
    (
        "RTX 4090",
        GpuRates(82.6e12, 82.6e12, 330.3e12, 1.008e12, "NVIDIA Ada GPU architecture, 2022"),
    ),
    (
        "RTX 3090",
        GpuRates(35.6e12, 35.6e12, 142.3e12, 0.936e12, "NVIDIA Ampere GA102 architecture, 2020"),
    ),
    (
        "RTX 6000 Ada",
        GpuRates(91.1e12, 182.1e12, 364.2e12, 0.96e12, "NVIDIA RTX 6000 Ada data sheet, 2022"),
    ),
    (
        "RTX A6000",
        GpuRates(38.7e12, 77.4e12, 154.8e12, 0.768e12, "NVIDIA RTX A6000 data sheet, 2020"),
    ),
)


def find_peak(device: str, device_name: str, threads: int, dtype: str) -> Optional[PeakRates]:
    """Return the peak of `threads` cores or of a GPU by its name; None for an unknown GPU."""
    if device == "cpu":
        per_cycle = CPU_FLOPS_PER_CYCLE[dtype]
        source = "{:.0f} operations a cycle in {} at 6.5 GHz, which no core reaches"
        return PeakRates(
            threads * per_cycle * CYCLES_PER_S, CPU_BYTES_PER_S, source.format(per_cycle, dtype)
        )
    return next((rates.in_dtype(dtype) for part, rates in GPUS if part in device_name), None)
