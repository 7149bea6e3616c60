"""Matching of cells between base and candidate.

Cells with equal fingerprints match. Of the rest, cells with equal identity are paired by the fewest
mismatches and refused; the others vanished or appeared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.comparison.fingerprints import CellRules, Mismatch, group_rows
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.typed_rows import TaskRow

Key = tuple[str, ...]
Rows = tuple[TaskRow, ...]


@dataclass(frozen=True)
class CellPair:
    """The repeats of one cell on both sides."""

    base: Rows
    candidate: Rows


@dataclass(frozen=True)
class RefusedPair:
    """Two cells of the same identity that are not comparable, with the reasons."""

    pair: CellPair
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True)
class Matching:
    """The result of matching. vanished: cells of the base alone; appeared: of the candidate."""

    pairs: tuple[CellPair, ...]
    refused: tuple[RefusedPair, ...]
    vanished: tuple[Rows, ...]
    appeared: tuple[Rows, ...]


def match_cells(
    base: Iterable[TaskRow], candidate: Iterable[TaskRow], rules: CellRules
) -> Matching:
    """Match cells. ConfigError if a cell of one side mixes values of a compared field."""
    sides = (_cells(base, rules, "BASE"), _cells(candidate, rules, "CANDIDATE"))
    common = dict.fromkeys(key for key in sides[0] if key in sides[1])
    pairs = [CellPair(tuple(sides[0][key]), tuple(sides[1][key])) for key in common]
    left = [
        _by_identity({key: rows for key, rows in side.items() if key not in common}, rules)
        for side in sides
    ]
    refused: list[RefusedPair] = []
    vanished: list[Rows] = []
    appeared: list[Rows] = []
    for asked in dict.fromkeys([*left[0], *left[1]]):
        found, alone = _pair_rest(left[0].get(asked, []), left[1].get(asked, []), rules)
        pairs += [entry.pair for entry in found if not entry.mismatches]
        refused += [entry for entry in found if entry.mismatches]
        vanished += alone[0]
        appeared += alone[1]
    return Matching(tuple(pairs), tuple(refused), tuple(vanished), tuple(appeared))


def _cells(rows: Iterable[TaskRow], rules: CellRules, name: str) -> dict[Key, list[TaskRow]]:
    found = group_rows(rows, lambda row: (*rules.identity(row), *rules.fingerprint(row)))
    for group in found.values():
        if ambiguous := rules.ambiguous(group):
            field, values = ambiguous
            problem = f"one cell holds more than one {field}: {', '.join(values)}"
            raise ConfigError(name, problem, f"Add {field}={values[0]}, or another of them.")
    return found


def _by_identity(cells: dict[Key, list[TaskRow]], rules: CellRules) -> dict[Key, list[Rows]]:
    found: dict[Key, list[Rows]] = {}
    for rows in cells.values():
        found.setdefault(rules.identity(rows[0]), []).append(tuple(rows))
    return found


def _pair_rest(
    base: Sequence[Rows], candidate: Sequence[Rows], rules: CellRules
) -> tuple[list[RefusedPair], tuple[list[Rows], list[Rows]]]:
    """Pair cells, the fewest differences first; return the pairs and the rest of each side."""
    possible = [
        RefusedPair(CellPair(one, other), rules.mismatches(one[0], other[0]))
        for one in base
        for other in candidate
    ]
    found: list[RefusedPair] = []
    taken: set[int] = set()
    for entry in sorted(possible, key=lambda entry: len(entry.mismatches)):
        both = {id(entry.pair.base), id(entry.pair.candidate)}
        if not both & taken:
            taken |= both
            found.append(entry)
    alone = [[rows for rows in side if id(rows) not in taken] for side in (base, candidate)]
    return found, (alone[0], alone[1])
