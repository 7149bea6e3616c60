"""Core use of each framework, as text tables and flat rows."""

from collections.abc import Sequence

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports.core_utilization import CoreUse, PhaseCores

LEFT = 3  # columns of words
UNREAD = PhaseCores(None, 0)
LEGEND = (
    "cores: CPU time of the worker and its children over wall time, during the timed phase · "
    "of n: share of the assigned threads · ! more cores than assigned threads"
)
TOO_MANY = 1.05  # cores over threads; above it a framework ignored its thread limit
MIB = 2**20


def table_rows(found: Sequence[CoreUse]) -> list[dict[str, str]]:
    """Build rows of text, with GPU columns only if any task used a GPU."""
    has_gpu = any(use.platform.device == "gpu" for use in found)
    phases = list_phases(found)
    return [_format_row(use, phases) | (_format_gpu(use) if has_gpu else {}) for use in found]


def list_phases(found: Sequence[CoreUse]) -> tuple[str, ...]:
    """List the phases that any of them has, in their order."""
    return tuple(phase for phase in TIMED_PHASES if any(phase in use.phases for use in found))


def build_flat_rows(found: Sequence[CoreUse]) -> list[dict[str, object]]:
    """Build a flat row per implementation, model and platform, for JSON and CSV."""
    phases = list_phases(found)
    return [
        {
            "hardware": use.platform.hardware,
            "node_type": use.platform.node_type,
            "device": use.platform.device,
            "gpu_count": use.platform.gpu_count,
            "gpu_model": use.platform.gpu_model,
            "processes": use.platform.processes,
            "threads": use.platform.threads,
            "dtype": use.platform.dtype,
            "framework": use.impl.framework,
            "variant": use.impl.variant,
            "model": use.workload.model,
            "batch_size": use.workload.batch_size,
            **_list_phase_columns(use, phases),
            "share": use.share,
            "peak_rss_bytes": use.peak_rss_bytes,
            "gpu_percent": use.gpu_percent,
            "peak_gpu_memory_bytes": use.peak_gpu_memory_bytes,
        }
        for use in found
    ]


def _list_phase_columns(use: CoreUse, phases: Sequence[str]) -> dict[str, object]:
    columns: dict[str, object] = {}
    for phase in phases:
        one = use.phases.get(phase, UNREAD)
        columns |= {f"{phase}_cores": one.cores, f"{phase}_readings": one.readings}
    return columns


def _format_row(use: CoreUse, phases: Sequence[str]) -> dict[str, str]:
    return {
        "framework": use.impl.label,
        "model": use.workload.label,
        "device": use.platform.device_and_dtype,
        "threads": str(use.platform.total_threads),
        **{
            f"{phase} cores": _format_cores(
                use.phases.get(phase, UNREAD).cores, use.platform.total_threads
            )
            for phase in phases
        },
        "of n": "-" if use.share is None else f"{100 * use.share:.0f} %",
        "readings": str(use.readings),
        "peak MiB": _format_mib(use.peak_rss_bytes),
    }


def _format_gpu(use: CoreUse) -> dict[str, str]:
    percent = "-" if use.gpu_percent is None else f"{use.gpu_percent:.0f} %"
    return {"GPU": percent, "GPU peak MiB": _format_mib(use.peak_gpu_memory_bytes)}


def _format_cores(cores: float | None, threads: int) -> str:
    """Format the number, marked if it exceeds the assigned threads."""
    if cores is None:
        return "no reading"
    return f"{cores:.2f}{' !' if cores > TOO_MANY * threads else ''}"


def _format_mib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / MIB:.0f}"
