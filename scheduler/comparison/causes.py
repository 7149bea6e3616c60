"""Recorded changes between two sides, ranked by how likely they caused the moved times.

Everything that is recorded of a run and is not part of its fingerprint may have changed. A change
is a likely cause if it occurs in the cells that moved and not in the others: the difference of the
two shares. If the canaries attribute the moves to the machine, its changes come first; if to the
framework, those of the software. Ties are ordered as in ATTRIBUTES.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.recorded_attributes import ATTRIBUTES, Attribute, Realm
from velodrome.scheduler.results.detail_rows import NodeRow
from velodrome.scheduler.statistics.canary_attribution import ChangeSource

SHOWN = 3  # values of one side
NOTHING = frozenset({""})

Nodes = Mapping[tuple[str, str], NodeRow]  # by sweep and node


@dataclass(frozen=True)
class LikelyCause:
    """A recorded change. moved: in how many of the of_moved moved cells; still: of the others."""

    name: str
    realm: Realm
    is_setting: bool
    base: str
    candidate: str
    moved: int
    of_moved: int
    still: int
    of_still: int

    @property
    def score(self) -> float:
        """1: in all cells that moved and in no other. 0: as often in either."""
        return _divide(self.moved, self.of_moved) - _divide(self.still, self.of_still)


def index_nodes(rows: Iterable[NodeRow]) -> Nodes:
    """Index the `nodes` table for look-up from a row of `tasks`."""
    return {(row.sweep_id, row.node_id): row for row in rows}


def find_changes(
    moved: Sequence[CellPair],
    still: Sequence[CellPair],
    nodes: Nodes,
    *,
    subjects: Collection[str] = (),
    sources: Collection[ChangeSource] = (),
) -> tuple[LikelyCause, ...]:
    """List all recorded changes, the likeliest cause of the moved times first."""
    attributes = [each for each in ATTRIBUTES if not set(each.comes_with) & set(subjects)]
    found = [
        cause
        for attribute in attributes
        for framework in _list_frameworks(attribute, (*moved, *still))
        if (cause := _build_cause(attribute, framework, moved, still, nodes))
    ]
    preferred = find_realm(sources)
    return tuple(sorted(found, key=lambda cause: (cause.realm is not preferred, -cause.score)))


def select_likely(causes: Iterable[LikelyCause]) -> tuple[LikelyCause, ...]:
    """Select the changes that are in a moved cell, and at least as often there as elsewhere."""
    return tuple(cause for cause in causes if cause.moved and cause.score >= 0)


def find_realm(sources: Collection[ChangeSource]) -> Realm | None:
    """Return the realm that the canaries point to; None if they point to both or neither."""
    realms = set(sources) - {ChangeSource.UNKNOWN}
    return Realm(realms.pop()) if len(realms) == 1 else None


def _list_frameworks(attribute: Attribute, pairs: Iterable[CellPair]) -> Iterable[str]:
    if not attribute.is_by_framework:
        return ("",)
    return dict.fromkeys(_read_framework(pair) for pair in pairs)


def _build_cause(
    attribute: Attribute,
    framework: str,
    moved: Sequence[CellPair],
    still: Sequence[CellPair],
    nodes: Nodes,
) -> LikelyCause | None:
    """Build a cause; None if nothing changed."""
    counts, values = [], (Counter[str](), Counter[str]())
    for pairs in (moved, still):
        changes = [
            change
            for pair in pairs
            if not framework or _read_framework(pair) == framework
            if (change := _find_change(attribute, pair, nodes))
        ]
        counts.append(len(changes))
        for base, candidate in changes:
            values[0].update(base)
            values[1].update(candidate)
    if not any(counts):
        return None
    name = f"{framework} {attribute.name}" if framework else attribute.name
    texts = [_join_values(each) for each in values]
    sizes = (counts[0], len(moved), counts[1], len(still))
    return LikelyCause(name, attribute.realm, attribute.is_setting, texts[0], texts[1], *sizes)


def _find_change(
    attribute: Attribute, pair: CellPair, nodes: Nodes
) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return the values on both sides; None if they are equal or one is unknown."""
    base, candidate = (
        frozenset(attribute.read(row, nodes.get((row.sweep_id, row.node_id))) for row in rows)
        - NOTHING
        for rows in (pair.base, pair.candidate)
    )
    if not base or not candidate or base == candidate:
        return None
    if attribute.is_of_chance and base & candidate:
        return None
    return base, candidate


def _read_framework(pair: CellPair) -> str:
    return pair.candidate[0].framework


def _join_values(values: Counter[str]) -> str:
    names = sorted(values)
    rest = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *rest])


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
