"""Baseline of an accepted fleet: the times of its machines in each cell, as a JSON file.

Per machine, not only a median and a spread: a later machine is tested over all cells at once, which
needs to know how far cells of one machine deviate together. Machines that failed are left out.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.acceptance.evidence import CellName, FleetEvidence, Unit, UnitKind
from velodrome.scheduler.reports.acceptance.verdicts import Acceptance, Times, UnitVerdict
from velodrome.scheduler.reports.outliers import ComparedMachine

FORMAT = "velodrome baseline"
VERSION = 1
MEND = "Write it again with `velodrome accept --write-baseline`."


def select_accepted(evidence: FleetEvidence, verdicts: Iterable[UnitVerdict]) -> Times:
    """Return the times of the machines that did not fail."""
    failed = {one.unit for one in verdicts if one.verdict is Acceptance.FAIL}
    found = {
        cell: {unit: ns for unit, ns in times.items() if unit not in failed}
        for cell, times in evidence.times_ns.items()
    }
    return {cell: times for cell, times in found.items() if times}


def format_baseline(times_ns: Times, sweep_id: str) -> str:
    """Write the file's text: a median and a spread per cell for readers, and a time per machine.

    spread: the standard deviation of logarithms, between machines.
    """
    cells = [
        {
            **cell._asdict(),
            "median_ns": statistics.median(times.values()),
            "spread": _compute_spread(times),
            "machines": [
                {
                    "kind": unit.kind.value,
                    "hostname": unit.machine.hostname,
                    "node_id": unit.machine.node_id,
                    "gpu_uuids": list(unit.machine.gpu_uuids),
                    "ns": ns,
                }
                for unit, ns in sorted(times.items())
            ],
        }
        for cell, times in times_ns.items()
    ]
    head = {"format": FORMAT, "version": VERSION, "sweep_id": sweep_id}
    return json.dumps({**head, "cells": cells}, indent=1) + "\n"


def read_baseline(path: Path) -> Times:
    """Read the file. ConfigError if it cannot be read, or is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise ConfigError(str(path), reason, "Name another with --baseline.") from None
    except ValueError as error:
        raise ConfigError(str(path), f"is not JSON ({error})", MEND) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(str(path), "is no baseline", MEND)
    if content.get("version") != VERSION:
        raise ConfigError(str(path), f"has version {content.get('version')!r}", MEND)
    try:
        return dict(map(_read_cell, content["cells"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(str(path), f"has a damaged cell ({error!r})", MEND) from None


def _read_cell(entry: Mapping[str, object]) -> tuple[CellName, Mapping[Unit, float]]:
    cell = CellName(**{name: entry[name] for name in CellName._fields})  # type: ignore[arg-type]
    machines = entry["machines"]
    if not isinstance(machines, list):
        raise TypeError("machines")
    return cell, dict(_read_machine(cell, machine) for machine in machines)


def _read_machine(cell: CellName, entry: Mapping[str, object]) -> tuple[Unit, float]:
    gpus = entry["gpu_uuids"]
    ns = float(str(entry["ns"]))
    if not isinstance(gpus, list) or not 0 < ns < math.inf:
        raise ValueError("ns" if isinstance(gpus, list) else "gpu_uuids")
    machine = ComparedMachine(
        str(entry["hostname"]), str(entry["node_id"]), tuple(str(gpu) for gpu in gpus)
    )
    return Unit(cell.node_type, UnitKind(str(entry["kind"])), machine), ns


def _compute_spread(times: Mapping[Unit, float]) -> float | None:
    logs = [math.log(ns) for ns in times.values()]
    return statistics.stdev(logs) if len(logs) > 1 else None
