"""Generator of docs/peaks.md, which prints it: `python -m velodrome.scheduler.peaks_page`."""

import sys
from collections.abc import Iterable, Sequence

from velodrome.adapters.vendor_peaks import CORES, DTYPES, GPUS, CorePeak, GpuPeak
from velodrome.scheduler.reports.csv_markdown import escape_markdown

HEAD = """\
# Peaks that vendors publish

This page is generated (`make docs`) from `adapters/gpu_peaks.csv` and `adapters/cpu_peaks.csv`;
[ceilings.md](ceilings.md#the-vendors-peak-and-mfu) explains how they are used. An empty cell is not
published, or the device has no such units.

The last column tells how a row was confirmed. `copy`: every figure agrees with a public copy of the
vendor's. `table`: with another project's table or a public database. `partly`: some figures do.
`no`: none was found, and the row rests on memory of its source.
"""
GPU_HEAD = """\
## GPUs

TFLOP/s, dense: without structured sparsity, which doubles the figures of tensor cores. float32 is
without tensor cores; 16-bit products accumulate in float32, where the vendor distinguishes. A name
has to fit the whole row: GPUs of laptops, MIG instances and virtual GPUs have none.
"""
CPU_HEAD = """\
## CPU cores

FLOP per cycle of one core, for CPUs of a fitting name that have the instructions. The first row
that fits counts.
"""


def build_page() -> str:
    """Return the page as Markdown."""
    return "\n".join([HEAD, GPU_HEAD, *_list_gpus(GPUS), "", CPU_HEAD, *_list_cores(CORES)]) + "\n"


def _list_gpus(gpus: Iterable[GpuPeak]) -> list[str]:
    names = ("GPU", *DTYPES, "memory, GB/s", "memory, GB", "source", "checked")
    rows = (
        (
            gpu.name,
            *(_format_figure(gpu.flops_per_s[dtype], 1e12) for dtype in DTYPES),
            _format_figure(gpu.bytes_per_s, 1e9),
            gpu.memory_gb,
            gpu.source,
            gpu.checked,
        )
        for gpu in gpus
    )
    return _build_table(names, rows)


def _list_cores(cores: Sequence[CorePeak]) -> list[str]:
    dtypes = [dtype for dtype in DTYPES if any(core.flops_per_cycle[dtype] for core in cores)]
    names = ("CPU", "instructions", *dtypes, "source", "checked")
    rows = (
        (
            core.name,
            " ".join(core.instructions),
            *(_format_figure(core.flops_per_cycle[dtype], 1.0) for dtype in dtypes),
            core.source,
            core.checked,
        )
        for core in cores
    )
    return _build_table(names, rows)


def _build_table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = [*names]
    lines = ("| " + " | ".join(map(escape_markdown, row)) + " |" for row in rows)
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]


def _format_figure(value: float | None, scale: float) -> str:
    return f"{value / scale:g}" if value else ""


if __name__ == "__main__":
    sys.stdout.write(build_page())
