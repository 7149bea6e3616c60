"""Speed-ups over devices as text tables and as flat rows."""

from collections.abc import Sequence

from velodrome.scheduler.reports.cell_times import format_duration
from velodrome.scheduler.reports.communication import TimeShare
from velodrome.scheduler.reports.scaling import MissingScaling, ScalingPoint, ScalingResult

TITLE = "Scaling over devices"
LEFT = 6  # columns of words
NOTHING = "no task of this sweep has several devices"
LEGEND = (
    "speed-up: examples per second over those on one device, with its 95 % interval · strong: the "
    "same whole batch, weak: the same batch per device · efficiency: speed-up over the number of "
    "devices · no interval: one process against one, or wider than the speed-up itself"
)
COMMUNICATION_LEGEND = (
    "communication, measured: the time on all devices less that of one device on its own share of "
    "the batch, over the time on all; it includes waiting and shared memory · communication, "
    "predicted: the time of an all-reduce of the gradients' size on the same devices over the time "
    "on all, as if nothing hid it · -: no gradients, or no rows in this sweep to tell it from"
)
COLUMNS = (
    "hardware",
    "node_type",
    "device",
    "devices",
    "gpu_model",
    "threads",
    "dtype",
    "framework",
    "variant",
    "qualifier",
    "model",
    "batch_size",
    "scaling",
    "phase",
    "one_device_ns",
    "time_ns",
    "speedup",
    "speedup_low",
    "speedup_high",
    "efficiency",
    "efficiency_low",
    "efficiency_high",
    "one_device_repeats",
    "repeats",
    "reason",
    "communication_measured",
    "communication_measured_low",
    "communication_measured_high",
    "communication_predicted",
    "communication_predicted_low",
    "communication_predicted_high",
    "communication_predicted_from",
    "gradient_bytes",
)


def table_rows(found: ScalingResult) -> list[dict[str, str]]:
    """Build a row of text per cell, kind of scaling and phase.

    With columns of communication if a point knows its share.
    """
    with_communication = tells_communication(found.points)
    return [
        {
            "framework": point.impl.label,
            "model": point.workload.label,
            "device": _format_device(point),
            "hardware": point.platform.hardware,
            "scaling": point.kind.value,
            "phase": point.phase,
            "one device": format_duration(point.base_ns),
            "time": format_duration(point.time_ns),
            "speed-up": format_speedup(point),
            "efficiency": format_efficiency(point),
            **(list_communication(point) if with_communication else {}),
        }
        for point in found.points
    ]


def tells_communication(points: Sequence[ScalingPoint]) -> bool:
    """Return True if a point knows the share of its call that is communication."""
    return any(point.communication for point in points)


def list_communication(point: ScalingPoint) -> dict[str, str]:
    """Return both shares of communication as text, by their column's title."""
    found = point.communication
    return {
        "communication, measured": format_share(found.measured),
        "communication, predicted": format_share(found.predicted),
    }


def describe_legend(found: ScalingResult) -> str:
    """Describe the columns of the table."""
    more = tells_communication(found.points)
    return f"{LEGEND} · {COMMUNICATION_LEGEND}" if more else LEGEND


def list_remarks(found: ScalingResult) -> list[str]:
    """List a line for each cell without a speed-up, and one if there is nothing to scale."""
    lines = [f"{_name(missing)}: {missing.reason}" for missing in found.missing]
    return lines or ([] if found else [NOTHING])


def build_flat_rows(found: ScalingResult) -> list[dict[str, object]]:
    """Build a flat row per cell, kind of scaling and phase; times in ns, None for no value.

    A cell without a speed-up has one row, with the reason.
    """
    return [dict(zip(COLUMNS, _list_point(point), strict=True)) for point in found.points] + [
        dict.fromkeys(COLUMNS, None)
        | dict(zip(COLUMNS, _list_cell(missing), strict=False))
        | {"reason": missing.reason}
        for missing in found.missing
    ]


def format_speedup(point: ScalingPoint) -> str:
    """Format as `1.88x (1.80 to 1.95)`; without the interval if there is none."""
    if point.low is None or point.high is None:
        return f"{point.speedup:.2f}x"
    return f"{point.speedup:.2f}x ({point.low:.2f} to {point.high:.2f})"


def format_efficiency(point: ScalingPoint) -> str:
    """Format as `94% (90 to 98%)`; without the interval if there is none."""
    return format_share(TimeShare(point.efficiency, *(point.efficiency_bounds or ())))


def format_share(share: TimeShare | None) -> str:
    """Format as `12% (10 to 14%)`, below 10 % with a decimal; without the interval if unknown.

    `-` without a share.
    """
    if share is None:
        return "-"
    digits = 1 if abs(share.value) < 0.1 else 0
    text = f"{100 * share.value:.{digits}f}%"
    if share.bounds is None:
        return text
    low, high = (f"{100 * bound:.{digits}f}" for bound in share.bounds)
    return f"{text} ({low} to {high}%)"


def _format_device(found: ScalingPoint | MissingScaling) -> str:
    platform = found.platform
    return f"{platform.device_and_dtype}, {platform.threads}t each"


def _name(missing: MissingScaling) -> str:
    return f"{missing.impl.label} {missing.workload.label} {_format_device(missing)}"


def _list_cell(found: ScalingPoint | MissingScaling) -> Sequence[object]:
    platform, impl = found.platform, found.impl
    return (
        platform.hardware,
        platform.node_type,
        platform.device,
        platform.devices,
        platform.gpu_model,
        platform.threads,
        platform.dtype,
        impl.framework,
        impl.variant,
        impl.qualifier.removeprefix(", "),
        found.workload.model,
        found.workload.batch_size,
    )


def _list_point(point: ScalingPoint) -> Sequence[object]:
    bounds = point.efficiency_bounds or (None, None)
    communication = point.communication
    return (
        *_list_cell(point),
        point.kind.value,
        point.phase,
        point.base_ns,
        point.time_ns,
        point.speedup,
        point.low,
        point.high,
        point.efficiency,
        *bounds,
        point.base_repeats,
        point.repeats,
        point.reason,
        *_list_share(communication.measured),
        *_list_share(communication.predicted),
        " ".join(communication.all_reduces) or None,
        communication.gradient_bytes or None,
    )


def _list_share(share: TimeShare | None) -> Sequence[object]:
    return (share.value, share.low, share.high) if share else (None, None, None)
