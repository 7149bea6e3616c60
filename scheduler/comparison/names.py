"""What a cell is called in a comparison: no longer than tells it from the others."""

from collections.abc import Iterable
from dataclasses import dataclass

from velodrome.scheduler.comparison.fingerprints import Rules, told
from velodrome.scheduler.comparison.outcome import Outcome
from velodrome.scheduler.reports.task_rows import Row


@dataclass(frozen=True)
class Names:
    """What is compared is no part of a name. has_types: whether there are several types of node.

    has_places: whether what was compared is of several, or of several devices or threads.
    """

    rules: Rules
    has_types: bool
    has_places: bool

    def full(self, row: Row) -> str:
        """E.g. `torch eager lenet b64 cpu 1t`."""
        place = " ".join(_place(row, self.rules, with_type=self.has_types))
        return f"{_course(row, self.rules)} {place}".rstrip()

    def short(self, row: Row) -> str:
        """Without the place where all are of one: `torch eager lenet b64`."""
        return self.full(row) if self.has_places else _course(row, self.rules)


def names_in(outcome: Outcome) -> Names:
    rules = Rules(outcome.subjects)
    compared = (duel.pair.candidate[0] for duel in outcome.duels)
    places = {tuple(_place(row, rules, with_type=True)) for row in compared}
    types = {told(row, "node_type") for row in _cells(outcome)}
    has_types = len(types) > 1 and "node_type" not in rules.free
    return Names(rules, has_types, has_places=len(places) > 1)


def _cells(outcome: Outcome) -> Iterable[Row]:
    """A row of each."""
    yield from (duel.pair.candidate[0] for duel in outcome.duels)
    yield from (change.pair.candidate[0] for change in outcome.changes)
    yield from (
        row for entry in outcome.refused for row in (entry.pair.base[0], entry.pair.candidate[0])
    )
    yield from (rows[0] for rows in (*outcome.vanished, *outcome.appeared))


def _course(row: Row, rules: Rules) -> str:
    names = [told(row, name) for name in ("framework", "variant") if name not in rules.free]
    return " ".join([*names, f"{told(row, 'model')} b{row['batch_size']}"])


def _place(row: Row, rules: Rules, *, with_type: bool) -> list[str]:
    fields = {"device": told(row, "device"), "threads": f"{row['threads']}t"}
    all_of_it = fields | ({"node_type": told(row, "node_type")} if with_type else {})
    return [text for field, text in all_of_it.items() if text and field not in rules.free]
