"""Evidence on each node, GPU and link: its times, and the tasks in which it alone went wrong.

A link is the way between two nodes, which a task on both has used. A node's time with its partners
is the median over its pairs, which one bad link does not move; a bad node moves it.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from velodrome.agents.measurement import Status
from velodrome.agents.task import device_name
from velodrome.scheduler.reports.outliers import (
    ComparedMachine,
    TaskTimes,
    collect_task_times,
    read_machine,
    split_pair,
)
from velodrome.scheduler.reports.task_rows import is_unexpected, select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow

FAULTS = (Status.DISAGREED, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)
UNMEASURED = (Status.LOST, Status.ENVIRONMENT_FAILED)


class UnitKind(StrEnum):
    """The part of a fleet that is accepted or rejected."""

    NODE = "node"
    GPU = "GPU"
    LINK = "link"  # between two nodes


@dataclass(frozen=True, order=True)
class Unit:
    """A node, a GPU or several that ran tasks together, or a link between nodes.

    node_type: it is compared within it.
    """

    node_type: str
    kind: UnitKind
    machine: ComparedMachine

    @property
    def group(self) -> tuple[str, UnitKind, int]:
        """The type whose machines are alike: as many GPUs of one node type."""
        return self.node_type, self.kind, len(self.machine.gpu_uuids)

    @property
    def name(self) -> str:
        """Its name, as `node7` or `GPU-1a2b on node7`."""
        gpus = " ".join(self.machine.gpu_uuids)
        return f"{gpus} on {self.machine.hostname}" if gpus else self.machine.hostname


class CellName(NamedTuple):
    """The identity of a cell across sweeps, with the version and the phase that was timed."""

    node_type: str
    framework: str
    framework_version: str
    variant: str
    model: str
    batch_size: int
    batch_size_rule: str
    device: str
    devices: int
    gpu_model: str
    threads: int
    dtype: str
    phase: str
    nodes: int = 1
    of_pairs: bool = False  # the median over a node's pairs

    @property
    def label(self) -> str:
        """The cell in words, as `torch eager, lenet b8, cpu 1t`."""
        where = device_name(self.device, self.devices, "", self.nodes)
        dtype = "" if self.dtype == "float32" else f" {self.dtype}"
        size = f"b{self.batch_size_rule or self.batch_size}"
        what = f"{self.framework} {self.variant}, {self.model} {size}"
        pairs = ", median of its pairs" if self.of_pairs else ""
        return f"{what}, {where} {self.threads}t{dtype}{pairs}"


@dataclass(frozen=True)
class Fault:
    """A wrong result or none, in a task that others of the type ended well. others: their number.

    failed: the number of machines of the type, itself included, that failed in this task.
    """

    status: Status
    label: str
    reason: str
    others: int
    failed: int

    @property
    def is_its_own(self) -> bool:
        """True if more machines ended this task well than badly."""
        return self.others > self.failed


@dataclass(frozen=True)
class FleetEvidence:
    """Rows of a sweep by unit. times_ns: of each cell on each unit; processes_ns: of each process.

    disturbed: cells of which every process of the unit had interference, with its sources.
    unmeasured: reasons why tasks of a unit did not run.
    """

    units: tuple[Unit, ...]
    hardware: Mapping[Unit, str]
    times_ns: Mapping[CellName, Mapping[Unit, float]]
    processes_ns: Mapping[tuple[Unit, CellName], tuple[float, ...]]
    faults: Mapping[Unit, tuple[Fault, ...]]
    disturbed: Mapping[tuple[Unit, CellName], str]
    unmeasured: Mapping[Unit, tuple[str, ...]]


def collect_evidence(rows: Iterable[TaskRow]) -> FleetEvidence:
    """Collect the evidence; processes with interference count only for lack of others."""
    placed = (row for row in select_last_attempts(rows) if row.node_id)
    # Of a task on several nodes that reached none, the others are unknown.
    last = [row for row in placed if row.node_count == 1 + len(row.partner_node_ids)]
    kept, disturbed_rows = _drop_interference(last)
    times_ns: dict[CellName, dict[Unit, float]] = {}
    for task in collect_task_times(kept):
        name = name_cell(task)
        found = {_make_unit(name, machine): ns for machine, ns in task.times_ns.items()}
        times_ns[name] = {**found, **times_ns.get(name, {})}
    processes_ns = _collect_processes(kept)
    _add_medians_of_pairs(times_ns)
    hardware: dict[Unit, str] = {}
    unmeasured: dict[Unit, list[str]] = defaultdict(list)
    nodes: dict[Unit, str] = {}  # of pairs, which may have no task of their own
    for row in last:
        unit = read_unit(row)
        hardware[unit] = hardware.get(unit) or row.hardware
        for machine in split_pair(unit.machine) if unit.kind is UnitKind.LINK else ():
            nodes[Unit(row.node_type, UnitKind.NODE, machine)] = row.hardware
        if row.status in UNMEASURED:
            unmeasured[unit].append(f"{row.status}: {row.reason}")
    return FleetEvidence(
        tuple(sorted(hardware.keys() | nodes.keys())),
        nodes | hardware,
        times_ns,
        processes_ns,
        _find_faults(last),
        {
            (read_unit(row), name_cell(task)): row.interference
            for row in disturbed_rows
            for task in collect_task_times([row])
        },
        {unit: tuple(dict.fromkeys(reasons)) for unit, reasons in unmeasured.items()},
    )


def read_unit(row: TaskRow) -> Unit:
    """Return the node, GPU or link that a row is about."""
    return Unit(row.node_type, _find_kind(row.device, row.node_count), read_machine(row))


def name_cell(task: TaskTimes) -> CellName:
    """Return the name of a task's cell."""
    platform, workload, impl = task.platform, task.workload, task.impl
    return CellName(
        platform.node_type,
        impl.framework,
        task.framework_version,
        impl.variant,
        workload.model,
        workload.batch_size,
        workload.rule,
        platform.device,
        platform.devices,
        platform.gpu_model,
        platform.threads,
        platform.dtype,
        task.phase,
        platform.nodes,
    )


def _find_kind(device: str, nodes: int) -> UnitKind:
    if nodes > 1:
        return UnitKind.LINK
    return UnitKind.GPU if device == "gpu" else UnitKind.NODE


def _add_medians_of_pairs(times_ns: dict[CellName, dict[Unit, float]]) -> None:
    """Add, for each cell on two nodes, a cell of the medians of each node's pairs."""
    for name in [name for name in times_ns if name.nodes == 2]:
        by_node: dict[Unit, list[float]] = defaultdict(list)
        for link, ns in times_ns[name].items():
            for machine in split_pair(link.machine):
                by_node[Unit(name.node_type, UnitKind.NODE, machine)].append(ns)
        if by_node:
            medians = {unit: statistics.median(found) for unit, found in by_node.items()}
            times_ns[name._replace(of_pairs=True)] = medians


def _collect_processes(
    rows: Iterable[TaskRow],
) -> dict[tuple[Unit, CellName], tuple[float, ...]]:
    found: dict[tuple[Unit, CellName], tuple[float, ...]] = {}
    for row in rows:
        for task in collect_task_times([row]):
            key = (read_unit(row), name_cell(task))
            found[key] = (*found.get(key, ()), *task.times_ns.values())
    return found


def _make_unit(name: CellName, machine: ComparedMachine) -> Unit:
    return Unit(name.node_type, _find_kind(name.device, name.nodes), machine)


def _drop_interference(rows: Sequence[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
    """Return the rows that count, and those of them with interference, for lack of others."""
    groups: dict[object, list[TaskRow]] = defaultdict(list)
    for row in rows:
        groups[row.task_id, read_machine(row)].append(row)
    kept: list[TaskRow] = []
    disturbed: list[TaskRow] = []
    for group in groups.values():
        numbered = [row for row in group if row.has_number]
        free = [row for row in numbered if row.interference_free is not False]
        kept += free or numbered
        disturbed += [] if free else numbered
    return kept, disturbed


def _find_faults(rows: Sequence[TaskRow]) -> dict[Unit, tuple[Fault, ...]]:
    tasks: dict[object, list[TaskRow]] = defaultdict(list)
    for row in rows:
        tasks[row.node_type, row.task_id].append(row)
    found: dict[Unit, list[Fault]] = defaultdict(list)
    for task in tasks.values():
        for row, fault in _compare_outcomes(task):
            found[read_unit(row)].append(fault)
    return {unit: tuple(faults) for unit, faults in found.items()}


def _compare_outcomes(task: Sequence[TaskRow]) -> Iterator[tuple[TaskRow, Fault]]:
    """Yield the first bad row of each machine, with how the others ended the same task."""
    bad: dict[ComparedMachine, TaskRow] = {}
    for row in task:
        if row.status in FAULTS and is_unexpected(row):
            bad.setdefault(read_machine(row), row)
    good = {read_machine(row) for row in task if row.has_number} - bad.keys()
    for row in bad.values():
        label = f"{row.framework} {row.variant}, {row.model}"
        yield row, Fault(row.status, label, row.reason, len(good), len(bad))
