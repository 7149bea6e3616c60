"""Dense peak rates that vendors publish for their GPUs and CPU cores, with the source of each.

`gpu_peaks.csv` and `cpu_peaks.csv` hold the figures; an empty one is unknown, or the device has no
such units. FLOP/s are dense (without structured sparsity); 16-bit products accumulate in float32,
where the vendor distinguishes. `fastest_16_bit` is the largest figure of any 16-bit product, so
that it bounds what is possible. `checked` tells how a row was confirmed: `copy` of the vendor's
figures, `table` of others, `partly` or `no`.
"""

import csv
import os
import re
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = ("float32", "tf32", "bfloat16", "float16")
# In front of a model, or not: it depends on the version of the driver and on the framework.
BRANDS = re.compile(r"(NVIDIA |Tesla |GeForce )*")
INSTANCE = re.compile(r"\bMIG\b")


class GpuPeak(NamedTuple):
    """One GPU's dense peaks: FLOP/s by precision, bytes/s. None: not published, or no such units.

    pattern: a regular expression for its whole name, without brands. memory_gb: as text.
    """

    name: str
    pattern: str
    flops_per_s: Dict[str, Optional[float]]
    fastest_16_bit: float
    bytes_per_s: float
    memory_gb: str
    source: str
    checked: str


class CorePeak(NamedTuple):
    """FLOP per cycle of one core by precision, for CPUs whose name and instructions fit."""

    name: str
    pattern: str
    instructions: Tuple[str, ...]
    flops_per_cycle: Dict[str, Optional[float]]
    source: str
    checked: str


class DevicePeak(NamedTuple):
    """A device's dense peak in FLOP/s, or None with the reason."""

    flops_per_s: Optional[float]
    source: str = ""
    reason: str = ""


def read_gpus() -> Tuple[GpuPeak, ...]:
    """Read the table of GPUs."""
    return tuple(
        GpuPeak(
            row["name"],
            row["pattern"],
            _read_figures(row, 1e12),
            float(row["fastest_16_bit"]) * 1e12,
            float(row["gb_per_s"]) * 1e9,
            row["memory_gb"],
            row["source"],
            row["checked"],
        )
        for row in _read_rows("gpu_peaks.csv")
    )


def read_cores() -> Tuple[CorePeak, ...]:
    """Read the table of CPU cores."""
    return tuple(
        CorePeak(
            row["name"],
            row["pattern"],
            tuple(row["instructions"].split()),
            _read_figures(row, 1.0),
            row["source"],
            row["checked"],
        )
        for row in _read_rows("cpu_peaks.csv")
    )


def find_gpu(name: str) -> Optional[GpuPeak]:
    """Find a GPU by its name, as NVML, CUDA or a framework gives it; None if it is not listed.

    The whole name has to fit: a laptop's GPU or a part of another form has other figures.
    """
    bare = BRANDS.sub("", name.strip(), count=1)
    return next((gpu for gpu in GPUS if re.match(_whole(gpu.pattern), bare, re.IGNORECASE)), None)


def find_gpu_peak(names: str, dtype: str) -> DevicePeak:
    """Find the peak of a task's GPUs together. names: separated by commas."""
    total, sources = 0.0, []
    for name in (part.strip() for part in names.split(",")):
        if INSTANCE.search(name):
            return DevicePeak(None, reason="{} is a part of a GPU".format(name))
        gpu = find_gpu(name)
        if gpu is None:
            return DevicePeak(None, reason="no published peak is known for {!r}".format(name))
        flops = gpu.flops_per_s.get(dtype)
        if flops is None:
            reason = "no {} peak is published for the {}".format(dtype, gpu.name)
            return DevicePeak(None, reason=reason)
        total += flops
        sources.append(gpu.source)
    return DevicePeak(total, sources[0])


def find_core(cpu_model: str, instructions: str) -> Optional[CorePeak]:
    """Find a CPU by its name and its instruction sets, separated by spaces."""
    present = set(instructions.split())
    return next(
        (
            core
            for core in CORES
            if present.issuperset(core.instructions)
            and re.match(_whole(core.pattern), cpu_model, re.IGNORECASE)
        ),
        None,
    )


def find_cpu_peak(
    cpu_model: str, instructions: str, cores: int, clock_mhz: Optional[float], dtype: str
) -> DevicePeak:
    """Compute the peak of some cores. clock_mhz: measured while they worked; None: unknown.

    SMT threads of a core share its units, so cores count, not threads.
    """
    core = find_core(cpu_model, instructions)
    if core is None:
        return DevicePeak(None, reason="no published peak is known for {!r}".format(cpu_model))
    per_cycle = core.flops_per_cycle.get(dtype)
    if per_cycle is None:
        return DevicePeak(None, reason="no {} peak is known for {}".format(dtype, core.name))
    if not clock_mhz:
        return DevicePeak(None, reason="the clock of the cores cannot be read on this node")
    source = "{} cores x {:g} FLOP a cycle x {:.0f} MHz, as the node reports; {}"
    return DevicePeak(
        cores * per_cycle * clock_mhz * 1e6,
        source.format(cores, per_cycle, clock_mhz, core.source),
    )


def _read_rows(file_name: str) -> Iterator[Dict[str, str]]:
    with open(os.path.join(HERE, file_name), newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield dict(row)


def _read_figures(row: Dict[str, str], scale: float) -> Dict[str, Optional[float]]:
    return {name: float(row[name]) * scale if row.get(name) else None for name in DTYPES}


def _whole(pattern: str) -> str:
    return "(?:{})$".format(pattern)


GPUS = read_gpus()
CORES = read_cores()
