"""The end of an attempt on several nodes, from the ends of its nodes' parts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from velodrome.agents.group_members import MemberEnd
from velodrome.agents.measurement import EndOrigin, Measurement
from velodrome.agents.node import Node
from velodrome.agents.sampling.energy import MEASURED, UNAVAILABLE
from velodrome.scheduler.fleet.transport import WorkFailed


@dataclass(frozen=True)
class PartEnd:
    """The end of another node's part. lost: why its node is lost; empty: it is not.

    noticed_s: when the leading node learned of it, by that node's clock.
    """

    node: Node
    end: MemberEnd | None = None
    lost: str = ""
    noticed_s: float = 0.0


def judge_group(
    measurement: Measurement, noticed_s: float, parts: Sequence[PartEnd]
) -> Measurement | WorkFailed:
    """Return the measurement with the others' part in it, or WorkFailed if a node was lost.

    A process that ends takes all others along, and each says how. The attempt's end is that of the
    process whose end is most surely its own (EndOrigin; a lost node says nothing, but its peers'
    errors are not theirs), and of equals the one that was noticed first. noticed_s: of the
    measurement, as of the parts.
    """
    measurement = name_partners(measurement, parts)
    if measurement.status.has_number:
        return _add_figures(measurement, parts)
    ends = [
        (part.end.origin, part.noticed_s, part.end)
        for part in parts
        if part.end and not part.end.status.has_number
    ]
    origin, _, first = min(
        [(measurement.origin, noticed_s, None), *ends], key=lambda end: (end[0], end[1])
    )
    lost = next((part for part in parts if part.lost), None)
    if lost and origin is not EndOrigin.OWN:
        return WorkFailed(f"{measurement.reason}; {lost.node.hostname}: {lost.lost}")
    if origin is EndOrigin.PEER:
        return WorkFailed(measurement.reason)
    return _add_figures(_attribute(measurement, first) if first else measurement, parts)


def name_partners(measurement: Measurement, parts: Sequence[PartEnd]) -> Measurement:
    return replace(
        measurement,
        partner_node_ids=tuple(part.node.node_id for part in parts),
        partner_hostnames=tuple(part.node.hostname for part in parts),
    )


def _attribute(measurement: Measurement, first: MemberEnd) -> Measurement:
    """Return the measurement with the end of another node's part, and what the leader saw of it."""
    reason = f"{first.hostname}: {first.reason}"
    seen = f"{measurement.hostname} noticed: {measurement.reason}"
    log_tail = "\n".join(filter(None, (measurement.log_tail, first.log_tail)))
    return replace(
        measurement,
        status=first.status,
        reason=f"{reason}; {seen}",
        origin=first.origin,
        log_tail=log_tail,
    )


def _add_figures(measurement: Measurement, parts: Sequence[PartEnd]) -> Measurement:
    """Add what the other nodes used: means of each, the highest peak, the sum of energy."""
    others = ", ".join(part.node.hostname for part in parts)
    used = [part.end.used if part.end else None for part in parts]
    peaks = [each.peak_rss_bytes for each in used if each]
    known = [peak for peak in (measurement.peak_rss_bytes, *peaks) if peak is not None]
    measurement = replace(
        measurement,
        notes=(*measurement.notes, f"on {len(parts) + 1} nodes, with {others}"),
        peak_rss_bytes=max(known, default=None),
        partner_means=tuple(each.means if each else () for each in used),
    )
    return _add_energy(measurement, parts)


def _add_energy(measurement: Measurement, parts: Sequence[PartEnd]) -> Measurement:
    """Add the energy of all nodes, if all know theirs. That of a gradient is known of one alone."""
    if measurement.energy_j is None:
        return measurement
    total_j, source, reason = measurement.energy_j, measurement.energy_source, ""
    for part in parts:
        used = part.end.used if part.end else None
        if used is None or used.energy_j is None:
            why = used.energy_reason if used else "nothing was heard of it"
            reason = f"that of {part.node.hostname} is unknown: {why}"
            return replace(_without_energy(measurement), energy_reason=reason)
        total_j += used.energy_j
        if source == MEASURED and used.energy_source != MEASURED:
            source, reason = used.energy_source, f"{part.node.hostname}: {used.energy_reason}"
    return replace(
        _without_energy(measurement),
        energy_j=total_j,
        energy_source=source,
        energy_reason=reason or measurement.energy_reason,
        notes=(*measurement.notes, "its energy is that of all its nodes"),
    )


def _without_energy(measurement: Measurement) -> Measurement:
    return replace(
        measurement,
        energy_j=None,
        energy_source=UNAVAILABLE,
        energies=(),
        energy_deviation_percent=None,
    )
