"""Bus bandwidths between devices: the best that any framework reached, by operation. Pure.

The best of all collective operations is the ceiling of communication of a task on the same devices:
bus bandwidth is what one link carries, so that operations and sizes may be compared
(doc/PERFORMANCE.md of nccl-tests).
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import ABOUT, find_exchange
from velodrome.scheduler.results.ceilings import ComputePlace, place_of
from velodrome.scheduler.results.typed_rows import TaskRow


@dataclass(frozen=True, order=True)
class LinkedDevices:
    """The devices of a task on one node or several, whichever leads it.

    hostnames, node_ids: sorted. place: on one node, for any precision.
    """

    hostnames: tuple[str, ...]
    node_ids: tuple[str, ...]
    place: ComputePlace


@dataclass(frozen=True)
class LinkRate:
    """The best bus bandwidth of one operation between some devices, with its source."""

    devices: LinkedDevices
    operation: str
    bus_bytes_per_s: float
    framework: str
    variant: str
    model: str

    @property
    def by(self) -> str:
        return f"{self.framework} {self.variant}, {self.model}"


def find_devices(row: TaskRow) -> LinkedDevices:
    """Return the devices that a row's task ran on."""
    return LinkedDevices(
        tuple(sorted((row.hostname, *row.partner_hostnames))),
        tuple(sorted((row.node_id, *row.partner_node_ids))),
        replace(place_of(row), computes_in=""),
    )


def find_link_rates(rows: Iterable[TaskRow]) -> tuple[LinkRate, ...]:
    """Find the best rate of each operation between the same devices, of the verified rows.

    rows: last attempts of one sweep. A rate is the median over repeats.
    """
    groups: dict[tuple[object, ...], list[TaskRow]] = {}
    for row in rows:
        if row.has_number and row.verified and find_exchange(MODELS.get(row.model), row.batch_size):
            name = (row.framework, row.variant, row.model, row.batch_size)
            groups.setdefault((find_devices(row), name), []).append(row)
    best: dict[tuple[LinkedDevices, str], LinkRate] = {}
    for group in groups.values():
        found = _measure_rate(group)
        key = (found.devices, found.operation)
        if key not in best or found.bus_bytes_per_s > best[key].bus_bytes_per_s:
            best[key] = found
    return tuple(best[key] for key in sorted(best))


def find_bus_ceiling(rates: Iterable[LinkRate], row: TaskRow) -> LinkRate | None:
    """Find the best rate of any collective operation between a row's devices; None: no such."""
    devices = find_devices(row)
    own = [rate for rate in rates if rate.devices == devices and rate.operation in ABOUT]
    return max(own, key=lambda rate: rate.bus_bytes_per_s, default=None)


def _measure_rate(rows: Sequence[TaskRow]) -> LinkRate:
    first = rows[0]
    exchange = find_exchange(MODELS.get(first.model), first.batch_size)
    assert exchange is not None  # as find_link_rates has chosen them
    took_ns = statistics.median(row.forward_median_ns or 0.0 for row in rows)
    per_s = exchange.bus_bytes / took_ns * 1e9 if took_ns > 0 else 0.0
    return LinkRate(
        find_devices(first),
        exchange.operation,
        per_s,
        first.framework,
        first.variant,
        first.model,
    )
