"""The cells of a grid as rows of plain values, as a spreadsheet or a script wants them."""

from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.reports.cells import Block, Cell, Contestant, Course, Time
from velodrome.scheduler.reports.uncertainty import interval_note


def cell_row(block: Block, course: Course, who: Contestant, cell: Cell) -> dict[str, object]:
    """Times in ns, memory in bytes, None for what was not measured; then there is a reason."""
    return {
        "hardware": block.hardware,
        "node_type": block.node_type,
        "device": block.device,
        "gpu_count": block.gpu_count,
        "gpu_model": block.gpu_model,
        "threads": block.threads,
        "dtype": block.dtype,
        "framework": who.framework,
        "variant": who.variant,
        "apart": who.apart.removeprefix(", "),
        "model": course.model,
        "batch_size": course.batch_size,
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
        f"{phase}_instability": time.doubt if time else None,
    }
