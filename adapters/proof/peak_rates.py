"""Upper bounds of each device's speed in each precision, which no correct time exceeds.

CPUs: no core sold to date retires more than two fused multiply-adds of 512 bits a cycle in float32,
64 operations, nor runs above 6.5 GHz; no socket moves more than 2 TB/s. In bfloat16 and float16 a
tile unit (AMX) multiplies 16 x 32 by 32 x 16 values every 16 cycles, 1024 operations a cycle (Intel
64 and IA-32 Architectures Optimization Reference Manual, 2023, on AMX). That is far above what
any real node reaches, so it only finds what cannot be. GPUs: the vendor's figures without sparsity
(velodrome.adapters.vendor_peaks), in 16 bits the fastest of them.
"""

from typing import Dict, NamedTuple, Optional

from velodrome.adapters.vendor_peaks import GpuPeak, find_gpu

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


def find_peak(
    device: str, device_name: str, threads: int, dtype: str, devices: int = 1
) -> Optional[PeakRates]:
    """Return the peak of `threads` cores or of a GPU by its name; None for an unknown GPU.

    devices: GPUs, or processes with so many threads each.
    """
    if device == "cpu":
        per_cycle = CPU_FLOPS_PER_CYCLE[dtype]
        source = "{:.0f} operations a cycle in {} at 6.5 GHz, which no core reaches"
        return PeakRates(
            devices * threads * per_cycle * CYCLES_PER_S,
            CPU_BYTES_PER_S,
            source.format(per_cycle, dtype),
        )
    gpu = find_gpu(device_name.partition(" MIG ")[0])  # a part is no faster than the whole
    if gpu is None:
        return None
    return PeakRates(devices * _bound_flops(gpu, dtype), devices * gpu.bytes_per_s, gpu.source)


def _bound_flops(gpu: GpuPeak, dtype: str) -> float:
    """Return the FLOP/s that a precision cannot exceed.

    Where the vendor halves a figure by accumulating in float32, or for another product of the same
    chip, the fast one bounds it, and half of it TF32. A GPU without TF32 computes it as float32.
    """
    float32 = gpu.flops_per_s["float32"] or gpu.fastest_16_bit / 2
    if dtype == "float32":
        return float32
    if dtype == "tf32":
        has_units = gpu.flops_per_s["bfloat16"] or not gpu.flops_per_s["float32"]
        return max(float32, gpu.fastest_16_bit / 2) if has_units else float32
    return gpu.fastest_16_bit
