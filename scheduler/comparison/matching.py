"""Which cell of the candidate belongs to which of the base, and which have no like.

Cells of one fingerprint belong together. Of what is left, cells that were asked for alike are
paired by the fewest differences, and refused with these; what is still alone vanished or appeared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.comparison.fingerprints import Mismatch, Rules, grouped
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.task_rows import Row

Key = tuple[str, ...]
Rows = tuple[Row, ...]


@dataclass(frozen=True)
class Pair:
    """One cell on both sides: its repeats."""

    base: Rows
    candidate: Rows


@dataclass(frozen=True)
class Refused:
    """Two cells that were asked for alike and are not comparable, and why."""

    pair: Pair
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True)
class Matched:
    """vanished: cells of the base alone; appeared: of the candidate alone."""

    pairs: tuple[Pair, ...]
    refused: tuple[Refused, ...]
    vanished: tuple[Rows, ...]
    appeared: tuple[Rows, ...]


def match(base: Iterable[Row], candidate: Iterable[Row], rules: Rules) -> Matched:
    """ConfigError where a cell of one side holds what should be told apart."""
    sides = (_cells(base, rules, "BASE"), _cells(candidate, rules, "CANDIDATE"))
    common = dict.fromkeys(key for key in sides[0] if key in sides[1])
    pairs = [Pair(tuple(sides[0][key]), tuple(sides[1][key])) for key in common]
    left = [
        _asked({key: rows for key, rows in side.items() if key not in common}, rules)
        for side in sides
    ]
    refused: list[Refused] = []
    vanished: list[Rows] = []
    appeared: list[Rows] = []
    for asked in dict.fromkeys([*left[0], *left[1]]):
        found, alone = _paired(left[0].get(asked, []), left[1].get(asked, []), rules)
        pairs += [entry.pair for entry in found if not entry.mismatches]
        refused += [entry for entry in found if entry.mismatches]
        vanished += alone[0]
        appeared += alone[1]
    return Matched(tuple(pairs), tuple(refused), tuple(vanished), tuple(appeared))


def _cells(rows: Iterable[Row], rules: Rules, name: str) -> dict[Key, list[Row]]:
    found = grouped(rows, lambda row: (*rules.asked(row), *rules.fingerprint(row)))
    for group in found.values():
        if ambiguous := rules.ambiguous(group):
            field, values = ambiguous
            problem = f"one cell holds more than one {field}: {', '.join(values)}"
            raise ConfigError(name, problem, f"Add {field}={values[0]}, or another of them.")
    return found


def _asked(cells: dict[Key, list[Row]], rules: Rules) -> dict[Key, list[Rows]]:
    found: dict[Key, list[Rows]] = {}
    for rows in cells.values():
        found.setdefault(rules.asked(rows[0]), []).append(tuple(rows))
    return found


def _paired(
    base: Sequence[Rows], candidate: Sequence[Rows], rules: Rules
) -> tuple[list[Refused], tuple[list[Rows], list[Rows]]]:
    """Pairs of the fewest differences first; then who is left over on each side."""
    possible = [
        Refused(Pair(one, other), rules.mismatches(one[0], other[0]))
        for one in base
        for other in candidate
    ]
    found: list[Refused] = []
    taken: set[int] = set()
    for entry in sorted(possible, key=lambda entry: len(entry.mismatches)):
        both = {id(entry.pair.base), id(entry.pair.candidate)}
        if not both & taken:
            taken |= both
            found.append(entry)
    alone = [[rows for rows in side if id(rows) not in taken] for side in (base, candidate)]
    return found, (alone[0], alone[1])
