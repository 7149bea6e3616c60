"""Ceilings of each node and the efficiency of each cell, as text tables and flat rows."""

from collections.abc import Iterator, Sequence

from velodrome.agents.task import device_name
from velodrome.scheduler.reports import cell_keys
from velodrome.scheduler.reports.links import LinkRate
from velodrome.scheduler.reports.roofline import Roofline, RooflinePoint
from velodrome.scheduler.results.ceilings import Ceiling, ComputePlace, RateUnit

CEILINGS_LEFT = 4  # columns of words
POINTS_LEFT = 5
LINKS_LEFT = 3
OVER = 1.0
LEGEND = (
    "GEMM, copy: highest rate of any framework · FLOP/B: arithmetic intensity of the model · "
    "efficiency: share of the GEMM rate · of roof: share of the roofline at that intensity · "
    "! above the ceiling: the ceiling was measured too low, or noise"
)
LINKS_LEGEND = (
    "bus: best bus bandwidth of any collective operation between the same devices, the ceiling of "
    "their communication; its definition is that of nccl-tests"
)


def build_ceiling_rows(rooflines: Sequence[Roofline]) -> list[dict[str, str]]:
    """Build a row of text per node, device, threads and type; per nodes, of a task on several.

    With columns of links if some are known.
    """
    with_bus = any(roofline.bus for roofline in rooflines)
    return [
        {
            "node": _join_hostnames((roofline.hostname, *roofline.partners)),
            "hardware": roofline.hardware,
            "device": _format_place(roofline.place),
            "computes in": roofline.place.computes_in,
            "GEMM": _format_ceiling(roofline.flops),
            "by": _format_source(roofline, roofline.flops),
            "copy": _format_ceiling(roofline.bytes),
            "copied by": _format_source(roofline, roofline.bytes),
            **(_list_bus(roofline) if with_bus else {}),
        }
        for roofline in rooflines
    ]


def build_link_rows(rates: Sequence[LinkRate]) -> list[dict[str, str]]:
    """Build a row of text per operation between the same devices."""
    return [
        {
            "node": _join_hostnames(rate.devices.hostnames),
            "device": _format_place(rate.devices.place),
            "operation": rate.operation,
            "best bus bandwidth": format_rate(rate.bus_bytes_per_s, RateUnit.BYTES),
            "by": rate.by,
        }
        for rate in rates
    ]


def build_efficiency_rows(rooflines: Sequence[Roofline]) -> list[dict[str, str]]:
    """Build a row of text per phase of each cell."""
    return [
        {
            "node": _join_hostnames((roofline.hostname, *roofline.partners)),
            "device": _format_place(roofline.place) + _format_type(roofline),
            "framework": f"{point.framework} {point.variant}",
            "model": f"{point.model} b{point.batch_size}",
            "phase": point.phase,
            "FLOP/B": f"{point.intensity:.1f}",
            "reached": format_rate(point.flops_per_s, RateUnit.FLOPS),
            "efficiency": _format_share(compute_efficiency(roofline, point)),
            "of roof": _format_share(compute_roof_share(roofline, point)),
        }
        for roofline, point in _pair_points(rooflines)
    ]


def build_flat_rows(rooflines: Sequence[Roofline]) -> list[dict[str, object]]:
    """Build a flat row per phase of each cell with its node's ceilings, for JSON and CSV."""
    return [
        {
            "node_id": roofline.node_id,
            "hostname": roofline.hostname,
            "hardware": roofline.hardware,
            "device": roofline.place.device,
            "gpu_count": roofline.place.gpu_count,
            "processes": roofline.place.processes,
            "threads": roofline.place.threads or None,
            "computes_in": roofline.place.computes_in,
            "gemm_flops_per_s": roofline.flops.per_s if roofline.flops else None,
            "gemm_by": roofline.flops.by if roofline.flops else None,
            "gemm_sweep_id": roofline.flops.sweep_id if roofline.flops else None,
            "copy_bytes_per_s": roofline.bytes.per_s if roofline.bytes else None,
            "copy_by": roofline.bytes.by if roofline.bytes else None,
            "copy_sweep_id": roofline.bytes.sweep_id if roofline.bytes else None,
            "nodes": roofline.place.nodes,
            "partner_hostnames": " ".join(roofline.partners) or None,
            "bus_bytes_per_s": roofline.bus.bus_bytes_per_s if roofline.bus else None,
            "bus_by": roofline.bus.by if roofline.bus else None,
            "framework": point.framework,
            "variant": point.variant,
            "model": point.model,
            "batch_size": point.batch_size,
            "phase": point.phase,
            "flops_per_byte": point.intensity,
            "flops_per_s": point.flops_per_s,
            "efficiency": compute_efficiency(roofline, point),
            "roof_share": compute_roof_share(roofline, point),
        }
        for roofline, point in _pair_points(rooflines)
    ]


def compute_efficiency(roofline: Roofline, point: RooflinePoint) -> float | None:
    """Return the share of the GEMM's rate; None without a GEMM."""
    return point.flops_per_s / roofline.flops.per_s if roofline.flops else None


def compute_roof_share(roofline: Roofline, point: RooflinePoint) -> float | None:
    """Return the share of the roof at this intensity; None unless both ceilings are known."""
    roof = roofline.roof(point.intensity)
    return point.flops_per_s / roof if roof and roofline.flops and roofline.bytes else None


def format_rate(per_s: float, unit: RateUnit) -> str:
    """Format with three figures: 812 GFLOP/s, 11.3 GB/s."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if per_s >= size:
            return f"{per_s / size:#.3g} {prefix}{unit}/s".replace(". ", " ")
    return f"{per_s:.0f} {unit}/s"


def _pair_points(rooflines: Sequence[Roofline]) -> Iterator[tuple[Roofline, RooflinePoint]]:
    for roofline in rooflines:
        for point in sorted(roofline.points, key=_rank):
            yield roofline, point


def _rank(point: RooflinePoint) -> tuple[object, ...]:
    workload = cell_keys.Workload(point.model, point.batch_size)
    impl = cell_keys.Implementation(point.framework, point.variant)
    return cell_keys.workload_order(workload), point.phase, cell_keys.implementation_order(impl)


def _format_place(place: ComputePlace) -> str:
    count = _count_on_node(place) * place.nodes
    device = device_name(place.device, count, "", place.nodes)
    if place.device == "gpu":
        return device
    return f"{device}, {place.threads} thread{'s' if place.threads != 1 else ''}"


def _join_hostnames(hostnames: Sequence[str]) -> str:
    return " + ".join(hostnames)


def _list_bus(roofline: Roofline) -> dict[str, str]:
    """Return the columns of links; one device has none."""
    if roofline.bus is None:
        is_group = roofline.place.nodes > 1 or _count_on_node(roofline.place) > 1
        return {"bus": "not measured" if is_group else "-", "exchanged by": "-"}
    rate = format_rate(roofline.bus.bus_bytes_per_s, RateUnit.BYTES)
    return {"bus": rate, "exchanged by": roofline.bus.by}


def _count_on_node(place: ComputePlace) -> int:
    return place.gpu_count if place.device == "gpu" else place.processes


def _format_type(roofline: Roofline) -> str:
    """Format the type of the products unless it is the usual one: `, bfloat16`."""
    computed = roofline.place.computes_in
    return "" if computed in ("", "float32") else f", {computed}"


def _format_ceiling(ceiling: Ceiling | None) -> str:
    return format_rate(ceiling.per_s, ceiling.unit) if ceiling else "not measured"


def _format_source(roofline: Roofline, ceiling: Ceiling | None) -> str:
    """Name the framework and, if it ran elsewhere, the node and the sweep."""
    if ceiling is None:
        return "-"
    elsewhere = f", on {ceiling.hostname}" if ceiling.node_id != roofline.node_id else ""
    earlier = f", in {ceiling.sweep_id}" if ceiling.sweep_id != roofline.sweep_id else ""
    return f"{ceiling.by}{elsewhere}{earlier}"


def _format_share(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.1f} %{' !' if share > OVER else ''}"
