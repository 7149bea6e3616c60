"""The cells of a grid as rows of plain values, as a spreadsheet or a script wants them."""

from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.reports.cells import CellResult, Implementation, Platform, Time, Workload
from velodrome.scheduler.reports.uncertainty import interval_note


def build_cell_row(
    platform: Platform, workload: Workload, impl: Implementation, cell: CellResult
) -> dict[str, object]:
    """Times in ns, memory in bytes, None for what was not measured; then there is a reason."""
    return {
        "hardware": platform.hardware,
        "node_type": platform.node_type,
        "device": platform.device,
        "gpu_count": platform.gpu_count,
        "gpu_model": platform.gpu_model,
        "threads": platform.threads,
        "dtype": platform.dtype,
        "framework": impl.framework,
        "variant": impl.variant,
        "apart": impl.apart.removeprefix(", "),
        "model": workload.model,
        "batch_size": workload.batch_size,
        "status": cell.status.value,
        "expected": cell.expected or AGREED,
        "unexpected": cell.is_surprise,
        "repeats": cell.repeats,
        "verified": cell.verified,
        "proved": "; ".join(cell.proof.proved),
        "unproved": "; ".join(cell.proof.unproved),
        "stable": cell.is_stable,
        "more_repeats": cell.more_repeats,
        **_times("forward", cell.forward),
        **_times("gradient", cell.gradient),
        "gradient_error": cell.gradient_error,
        "peak_rss_bytes": cell.peak_rss_bytes or None,
        "cpu_percent_mean": cell.cpu_percent_mean,
        "reason": cell.reason,
    }


def _times(phase: str, time: Time | None) -> dict[str, object]:
    return {
        f"{phase}_{name}_ns": getattr(time, f"{name}_ns") if time else None
        for name in ("median", "low", "high")
    } | {
        f"{phase}_interval": interval_note(time) if time else None,
        f"{phase}_stable": time.is_stable if time else None,
        f"{phase}_instability": time.instability if time else None,
    }
