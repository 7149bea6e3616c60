"""Verdicts on nodes and GPUs: pass, fail, cannot tell.

A machine fails if it gives a wrong result, or none, in a task that more machines of its type end
well than badly; or if it is slower than the others of its type, or than a baseline, by at least
`least` and beyond chance (velodrome.scheduler.statistics.peer_tests). It passes if it does not fail
and a slow-down of MOST_MISSED in all its cells would have been detected; else nobody can tell.
The principle, that the fleet's own distribution sets the criteria: Y. Xiong et al., SuperBench:
Improving Cloud AI Infrastructure Reliability with Proactive Validation, USENIX ATC 2024.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from velodrome.scheduler.reports.acceptance.evidence import CellName, Fault, FleetEvidence, Unit
from velodrome.scheduler.statistics.bimodality import Array
from velodrome.scheduler.statistics.peer_tests import (
    FEWEST_PEERS,
    TESTED_AT,
    PeerTests,
    compare_among_peers,
    compare_with_reference,
    estimate_floor,
    find_peers,
)

LEAST = 0.03
MOST_MISSED = 0.10
FEWEST = FEWEST_PEERS + 1  # machines of a type

Times = Mapping[CellName, Mapping[Unit, float]]


class Acceptance(StrEnum):
    """The verdict on a machine."""

    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Slowness:
    """A column in which a machine is slow. cell: None for the median over all of its cells.

    ratio: to the mean of its peers. p: corrected for cells and machines. against: `its type` or
    `the baseline`. interference: its sources, if every process of the cell had some.
    """

    cell: CellName | None
    ratio: float
    p: float
    against: str
    interference: str = ""


@dataclass(frozen=True)
class UnitVerdict:
    """The verdict on one machine, with its evidence.

    ratio: the median over its cells, to the mean of its peers; None without any. peers: compared
    with. detectable: the slow-down of all cells that would be detected with 80 %, 0.05 for 5 %.
    """

    unit: Unit
    hardware: str
    verdict: Acceptance
    ratio: float | None
    cells: int
    peers: int
    detectable: float | None
    slow: tuple[Slowness, ...] = ()
    faults: tuple[Fault, ...] = ()
    reasons: tuple[str, ...] = ()  # why nobody can tell


@dataclass(frozen=True)
class GroupComparison:
    """Tests of the machines of a group against peers, or a baseline. against: which, in words."""

    units: tuple[Unit, ...]
    cells: tuple[CellName, ...]
    tests: PeerTests
    against: str


def judge_fleet(
    evidence: FleetEvidence, baseline: Times | None = None, least: float = LEAST
) -> tuple[UnitVerdict, ...]:
    """Judge every node and GPU of a sweep, those that fail first. least: slow-down that matters."""
    comparisons: dict[Unit, list[GroupComparison]] = defaultdict(list)
    # With a baseline there are two tests of each machine.
    tests = len(evidence.units) * (2 if baseline else 1)
    for comparison in _compare(evidence, baseline or {}, tests):
        for unit in comparison.units:
            comparisons[unit].append(comparison)
    found = [_judge(unit, evidence, comparisons[unit], tests, least) for unit in evidence.units]
    order = (Acceptance.FAIL, Acceptance.CANNOT_TELL, Acceptance.PASS).index
    return tuple(sorted(found, key=lambda one: (order(one.verdict), one.unit)))


def _compare(evidence: FleetEvidence, baseline: Times, tests: int) -> Iterator[GroupComparison]:
    groups: dict[object, list[Unit]] = defaultdict(list)
    for unit in evidence.units:
        groups[unit.group].append(unit)
    for group, units in groups.items():
        cells = [
            name
            for name, times in evidence.times_ns.items()
            if any(unit in times for unit in units)
        ]
        logs = _make_logs(evidence.times_ns, units, cells)
        floor = estimate_floor(_make_processes(evidence, units, cells))
        if len(units) >= FEWEST and cells:
            peers = find_peers(logs, tests, floor)
            found = compare_among_peers(logs, peers, tests, floor)
            yield GroupComparison(tuple(units), tuple(cells), found, "its type")
        earlier = sorted(
            {unit for name in cells for unit in baseline.get(name, {}) if unit.group == group}
        )
        if len(earlier) >= FEWEST_PEERS:
            found = compare_with_reference(logs, _make_logs(baseline, earlier, cells), tests, floor)
            yield GroupComparison(tuple(units), tuple(cells), found, "the baseline")


def _make_logs(times_ns: Times, units: Sequence[Unit], cells: Sequence[CellName]) -> Array:
    return np.array(
        [[math.log(times_ns.get(cell, {}).get(unit, math.nan)) for cell in cells] for unit in units]
    )


def _make_processes(
    evidence: FleetEvidence, units: Sequence[Unit], cells: Sequence[CellName]
) -> Array:
    """Make logarithms by machine, cell and process, filled up with NaN."""
    found = [[evidence.processes_ns.get((unit, cell), ()) for cell in cells] for unit in units]
    most = max((len(times) for line in found for times in line), default=0) or 1
    logs = np.full((len(units), len(cells), most), np.nan)
    for at, line in enumerate(found):
        for cell, times in enumerate(line):
            logs[at, cell, : len(times)] = np.log(times)
    return logs


def _judge(
    unit: Unit,
    evidence: FleetEvidence,
    comparisons: Sequence[GroupComparison],
    tests: int,
    least: float,
) -> UnitVerdict:
    slow = [
        each
        for found in comparisons
        for each in _list_slowness(unit, evidence, found, tests, least)
    ]
    faults = evidence.faults.get(unit, ())
    facts = [_read_facts(unit, found) for found in comparisons]
    tested = [fact for fact in facts if fact.detectable is not None]
    best = min(tested, key=lambda fact: fact.detectable or 0, default=None)
    verdict, reasons = _decide(unit, evidence, slow, faults, best)
    return UnitVerdict(
        unit,
        evidence.hardware[unit],
        verdict,
        best.ratio if best else None,
        sum(unit in times for times in evidence.times_ns.values()),
        best.peers if best else 0,
        best.detectable if best else None,
        tuple(sorted(slow, key=lambda each: (each.cell is not None, -each.ratio))),
        faults,
        reasons,
    )


@dataclass(frozen=True)
class _Facts:
    ratio: float
    peers: int
    detectable: float | None


def _read_facts(unit: Unit, found: GroupComparison) -> _Facts:
    at = found.units.index(unit)
    detectable = float(found.tests.detectable[at])
    return _Facts(
        math.exp(found.tests.deviation[at, -1]),
        int(found.tests.peers[at]),
        None if math.isnan(detectable) else math.expm1(detectable),
    )


def _list_slowness(
    unit: Unit, evidence: FleetEvidence, found: GroupComparison, tests: int, least: float
) -> Iterator[Slowness]:
    at = found.units.index(unit)
    for cell, deviation, share in zip(
        (*found.cells, None), found.tests.deviation[at], found.tests.p[at], strict=True
    ):
        p = float(share) * tests
        if p <= TESTED_AT and deviation >= math.log1p(least):
            interference = evidence.disturbed.get((unit, cell), "") if cell else ""
            yield Slowness(cell, math.exp(deviation), min(p, 1.0), found.against, interference)


def _decide(
    unit: Unit,
    evidence: FleetEvidence,
    slow: Sequence[Slowness],
    faults: Sequence[Fault],
    best: _Facts | None,
) -> tuple[Acceptance, tuple[str, ...]]:
    """Return the verdict, and the reasons if nobody can tell."""
    if any(fault.is_its_own for fault in faults):
        return Acceptance.FAIL, ()
    disturbed = {cell for one, cell in evidence.disturbed if one == unit}
    measured = {cell for cell, times in evidence.times_ns.items() if unit in times}
    is_noise = bool(slow) and (
        all(each.interference or each.cell is None for each in slow) and disturbed == measured
    )
    if slow and not is_noise:
        return Acceptance.FAIL, ()
    reasons = [
        *(["slow, but every process had interference: run it again"] if is_noise else []),
        *(
            f"{fault.status} in {fault.label}, as on {fault.failed} of "
            f"{fault.failed + fault.others} machines of its type"
            for fault in faults
            if fault.others or fault.failed == 1  # else it is the task that fails
        ),
        *evidence.unmeasured.get(unit, ()),
    ]
    if not measured:
        reasons.append("it has no time")
    elif best is None:
        reasons.append(f"fewer than {FEWEST} machines of its type, and no baseline")
    elif (best.detectable or 0) > MOST_MISSED:
        reasons.append(
            f"a slow-down below {100 * (best.detectable or 0):.0f} % might be missed: machines of "
            "its type differ too much, or are too few"
        )
    return (Acceptance.CANNOT_TELL, tuple(reasons)) if reasons else (Acceptance.PASS, ())
