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
from velodrome.scheduler.results.typed_rows import NodeRow
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
        return _share(self.moved, self.of_moved) - _share(self.still, self.of_still)


def index_nodes(rows: Iterable[NodeRow]) -> Nodes:
    """Index the `nodes` table for look-up from a row of `tasks`."""
    return {(row.sweep_id, row.node_id): row for row in rows}


def find_changes(
    moved: Sequence[CellPair],
    still: Sequence[CellPair],
    nodes: Nodes,
    *,
    subjects: Collection[str] = (),
    blamed: Collection[ChangeSource] = (),
) -> tuple[LikelyCause, ...]:
    """Everything that changed in any cell, the likeliest to have moved what moved first."""
    known = [each for each in ATTRIBUTES if not set(each.comes_with) & set(subjects)]
    found = [
        cause
        for attribute in known
        for who in _frameworks(attribute, (*moved, *still))
        if (cause := _cause(attribute, who, moved, still, nodes))
    ]
    preferred = attributed_realm(blamed)
    return tuple(sorted(found, key=lambda cause: (cause.realm is not preferred, -cause.score)))


def select_likely(causes: Iterable[LikelyCause]) -> tuple[LikelyCause, ...]:
    """Select the changes that are in a moved cell, and at least as often there as elsewhere."""
    return tuple(cause for cause in causes if cause.moved and cause.score >= 0)


def attributed_realm(blamed: Collection[ChangeSource]) -> Realm | None:
    """Return the realm that the canaries point to; None if they point to both or neither."""
    told = set(blamed) - {ChangeSource.UNKNOWN}
    return Realm(told.pop()) if len(told) == 1 else None


def _frameworks(attribute: Attribute, pairs: Iterable[CellPair]) -> Iterable[str]:
    if not attribute.is_by_framework:
        return ("",)
    return dict.fromkeys(_framework(pair) for pair in pairs)


def _cause(
    attribute: Attribute,
    who: str,
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
            if not who or _framework(pair) == who
            if (change := _change(attribute, pair, nodes))
        ]
        counts.append(len(changes))
        for base, candidate in changes:
            values[0].update(base)
            values[1].update(candidate)
    if not any(counts):
        return None
    name = f"{who} {attribute.name}" if who else attribute.name
    told = [_listed(each) for each in values]
    sizes = (counts[0], len(moved), counts[1], len(still))
    return LikelyCause(name, attribute.realm, attribute.is_setting, told[0], told[1], *sizes)


def _change(
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


def _framework(pair: CellPair) -> str:
    return pair.candidate[0].framework


def _listed(values: Counter[str]) -> str:
    names = sorted(values)
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
