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
    sides = (_group_cells(base, rules, "BASE"), _group_cells(candidate, rules, "CANDIDATE"))
    common = dict.fromkeys(key for key in sides[0] if key in sides[1])
    pairs = [CellPair(tuple(sides[0][key]), tuple(sides[1][key])) for key in common]
    rest = [
        _group_by_identity({key: rows for key, rows in side.items() if key not in common}, rules)
        for side in sides
    ]
    refused: list[RefusedPair] = []
    vanished: list[Rows] = []
    appeared: list[Rows] = []
    for identity in dict.fromkeys([*rest[0], *rest[1]]):
        matched, alone = _pair_rest(rest[0].get(identity, []), rest[1].get(identity, []), rules)
        pairs += [entry.pair for entry in matched if not entry.mismatches]
        refused += [entry for entry in matched if entry.mismatches]
        vanished += alone[0]
        appeared += alone[1]
    return Matching(tuple(pairs), tuple(refused), tuple(vanished), tuple(appeared))


def _group_cells(rows: Iterable[TaskRow], rules: CellRules, name: str) -> dict[Key, list[TaskRow]]:
    found = group_rows(rows, lambda row: (*rules.identify(row), *rules.read_fingerprint(row)))
    for group in found.values():
        if ambiguous := rules.find_ambiguity(group):
            field, values = ambiguous
            problem = f"one cell has several values of {field}: {', '.join(values)}"
            raise ConfigError(name, problem, f"Add {field}={values[0]}, or another of them.")
    return found


def _group_by_identity(cells: dict[Key, list[TaskRow]], rules: CellRules) -> dict[Key, list[Rows]]:
    found: dict[Key, list[Rows]] = {}
    for rows in cells.values():
        found.setdefault(rules.identify(rows[0]), []).append(tuple(rows))
    return found


def _pair_rest(
    base: Sequence[Rows], candidate: Sequence[Rows], rules: CellRules
) -> tuple[list[RefusedPair], tuple[list[Rows], list[Rows]]]:
    """Pair cells, the fewest differences first; return the pairs and the rest of each side."""
    possible = [
        RefusedPair(CellPair(left, right), rules.find_mismatches(left[0], right[0]))
        for left in base
        for right in candidate
    ]
    pairs: list[RefusedPair] = []
    paired: set[int] = set()
    for entry in sorted(possible, key=lambda entry: len(entry.mismatches)):
        both = {id(entry.pair.base), id(entry.pair.candidate)}
        if not both & paired:
            paired |= both
            pairs.append(entry)
    alone = [[rows for rows in side if id(rows) not in paired] for side in (base, candidate)]
    return pairs, (alone[0], alone[1])
