"""Verdicts of acceptance as text tables and as flat rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from velodrome.scheduler.reports.acceptance.evidence import UnitKind
from velodrome.scheduler.reports.acceptance.verdicts import (
    Acceptance,
    Slowness,
    UnitVerdict,
)
from velodrome.scheduler.statistics.peer_tests import ALPHA

TITLE = "Acceptance"
LEFT = 4  # columns of words
NAMED = 2  # reasons in a table
LONGEST = 100  # characters of a row's reason
LEGEND = (
    "ratio: median over its cells, to the mean of the machines of its type · detects: the smallest "
    "slow-down of all its cells that would be detected with 80 % · at most "
    f"{100 * ALPHA:.0f} % of fleets without a fault have a machine that fails"
)
NOTHING = "no machine has a result"


def table_rows(verdicts: Sequence[UnitVerdict]) -> list[dict[str, str]]:
    """Build rows of text, with a GPU column only if there is a GPU."""
    has_gpus = any(one.unit.kind is UnitKind.GPU for one in verdicts)
    return [
        {"node": one.unit.machine.hostname}
        | ({"GPU": " ".join(one.unit.machine.gpu_uuids) or "-"} if has_gpus else {})
        | {
            "verdict": one.verdict.value,
            "hardware": one.hardware or "-",
            "reason": "; ".join(describe_reasons(one)[:NAMED]) or "-",
            "cells": str(one.cells),
            "peers": str(one.peers),
            "ratio": "-" if one.ratio is None else f"{one.ratio:.3f}x",
            "detects": "-" if one.detectable is None else f"{100 * one.detectable:.1f} %",
        }
        for one in verdicts
    ]


def count_left(verdicts: Sequence[UnitVerdict]) -> int:
    """Return the number of columns of words."""
    return LEFT + any(one.unit.kind is UnitKind.GPU for one in verdicts)


def describe_reasons(one: UnitVerdict) -> list[str]:
    """Describe the reasons of a verdict, those of a failure first; empty for most that pass."""
    faults = [
        f"{fault.status} in {fault.label}, where {fault.others} "
        f"other{'s' if fault.others > 1 else ''} did not: {_shorten(fault.reason)}"
        for fault in one.faults
        if fault.is_its_own
    ]
    return [*faults, *map(_describe_slowness, one.slow), *one.reasons]


def summarize(verdicts: Sequence[UnitVerdict]) -> str:
    """Count the verdicts: `32 machines: 30 pass, 1 fails, 1 cannot tell`."""
    if not verdicts:
        return NOTHING
    counts = Counter(one.verdict for one in verdicts)
    parts = [f"{counts[verdict]} {verdict}" for verdict in Acceptance if counts[verdict]]
    return f"{len(verdicts)} machine{'s' if len(verdicts) > 1 else ''}: {', '.join(parts)}"


def build_flat_rows(verdicts: Sequence[UnitVerdict]) -> list[dict[str, object]]:
    """Build a flat row per machine; `worst_` columns are of the cell with the largest slow-down."""
    return [{name: read(one) for name, read in _FIELDS.items()} for one in verdicts]


def _describe_slowness(slow: Slowness) -> str:
    percent = f"{100 * (slow.ratio - 1):.1f} % slower than {slow.against}"
    where = slow.cell.label if slow.cell else "the median of its cells"
    noise = f", with interference: {slow.interference}" if slow.interference else ""
    return f"{percent} in {where} (p {slow.p:.1g}{noise})"


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _find_worst(one: UnitVerdict) -> Slowness | None:
    return max((each for each in one.slow if each.cell), key=lambda each: each.ratio, default=None)


def _describe_worst(one: UnitVerdict) -> str:
    worst = _find_worst(one)
    return worst.cell.label if worst and worst.cell else ""


def _read_worst_ratio(one: UnitVerdict) -> float | None:
    worst = _find_worst(one)
    return worst.ratio if worst else None


_FIELDS: Mapping[str, Callable[[UnitVerdict], object]] = {
    "kind": lambda one: one.unit.kind.value,
    "hostname": lambda one: one.unit.machine.hostname,
    "node_id": lambda one: one.unit.machine.node_id,
    "gpu_uuids": lambda one: ",".join(one.unit.machine.gpu_uuids),
    "node_type": lambda one: one.unit.node_type,
    "hardware": lambda one: one.hardware,
    "verdict": lambda one: one.verdict.value,
    "reason": lambda one: "; ".join(describe_reasons(one)),
    "cells": lambda one: one.cells,
    "peers": lambda one: one.peers,
    "ratio": lambda one: one.ratio,
    "detectable": lambda one: one.detectable,
    "slow_cells": lambda one: sum(each.cell is not None for each in one.slow),
    "worst_cell": _describe_worst,
    "worst_ratio": _read_worst_ratio,
    "p": lambda one: min((each.p for each in one.slow), default=None),
    "faults": lambda one: sum(fault.is_its_own for fault in one.faults),
}
COLUMNS = tuple(_FIELDS)
