"""Short names of cells in a comparison, no longer than needed to tell them apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from velodrome.agents.task import USUAL_DTYPE, batch_size_name, device_name
from velodrome.scheduler.comparison.fingerprints import FINGERPRINT, CellRules
from velodrome.scheduler.comparison.outcome import ComparisonOutcome
from velodrome.scheduler.disambiguation import make_distinct
from velodrome.scheduler.results.typed_rows import TaskRow

_Cell = tuple[str, ...]


@dataclass(frozen=True)
class CellNames:
    """Names cells by what is not compared. has_types: there are several node types.

    has_places: there are several node types, devices, thread counts or precisions. suffixes: of
    cells that would have the same name.
    """

    rules: CellRules
    has_types: bool
    has_places: bool
    suffixes: Mapping[_Cell, str] = field(default_factory=dict)

    def format_full(self, row: TaskRow) -> str:
        """Return e.g. `torch eager lenet b64 cpu 1t`."""
        place = " ".join(_format_place(row, self.rules, with_type=self.has_types))
        return f"{_format_workload(row, self.rules)} {place}".rstrip() + self._find_suffix(row)

    def format_short(self, row: TaskRow) -> str:
        """Return `torch eager lenet b64` if all cells share a place."""
        if self.has_places:
            return self.format_full(row)
        return _format_workload(row, self.rules) + self._find_suffix(row)

    def _find_suffix(self, row: TaskRow) -> str:
        return self.suffixes.get(_identify_cell(row, self.rules), "")


def name_cells(outcome: ComparisonOutcome) -> CellNames:
    rules = CellRules(outcome.subjects)
    compared = (time.pair.candidate[0] for time in outcome.times)
    places = {tuple(_format_place(row, rules, with_type=True)) for row in compared}
    types = {row.node_type for row in _list_rows(outcome)}
    has_types = len(types) > 1 and "node_type" not in rules.free
    unsuffixed = CellNames(rules, has_types, has_places=len(places) > 1)
    rows = {_identify_cell(row, rules): row for row in _select_representatives(outcome)}
    names = {key: unsuffixed.format_full(row) for key, row in rows.items()}
    fields = {key: {name: row.text(name) for name in _DISTINGUISHING} for key, row in rows.items()}
    full_names = make_distinct(names, fields)
    suffixes = {key: name.removeprefix(names[key]) for key, name in full_names.items()}
    return CellNames(rules, has_types, unsuffixed.has_places, suffixes)


_IN_NAMES = ("threads", "gpu_count", "processes", "nodes")
_DISTINGUISHING = tuple(name for name in FINGERPRINT if name not in _IN_NAMES)


def _identify_cell(row: TaskRow, rules: CellRules) -> _Cell:
    return (*rules.identify(row), *rules.read_fingerprint(row))


def _select_representatives(outcome: ComparisonOutcome) -> Iterable[TaskRow]:
    """Yield a row of each cell, from which its name is made."""
    yield from (time.pair.candidate[0] for time in outcome.times)
    yield from (change.pair.candidate[0] for change in outcome.changes)
    yield from (entry.pair.candidate[0] for entry in outcome.refused)
    yield from (rows[0] for rows in (*outcome.vanished, *outcome.appeared))


def _list_rows(outcome: ComparisonOutcome) -> Iterable[TaskRow]:
    """Yield these, and the base rows of refused pairs."""
    yield from _select_representatives(outcome)
    yield from (entry.pair.base[0] for entry in outcome.refused)


def _format_workload(row: TaskRow, rules: CellRules) -> str:
    names = [row.text(name) for name in ("framework", "variant") if name not in rules.free]
    size = batch_size_name(row.batch_size, row.batch_size_rule)
    return " ".join([*names, f"{row.model} {size}"])


def _format_place(row: TaskRow, rules: CellRules, *, with_type: bool) -> list[str]:
    device = device_name(row.device, row.devices, row.gpu_model, row.node_count)
    fields = {"device": device, "threads": f"{row.threads}t"}
    fields |= {} if row.dtype == USUAL_DTYPE else {"dtype": row.dtype}
    parts = fields | ({"node_type": row.node_type} if with_type else {})
    return [text for field, text in parts.items() if text and field not in rules.free]
