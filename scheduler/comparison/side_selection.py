"""Selection of the two sides of a comparison by sweeps, conditions, or both.

`last~1`, `20261124`, `*` name sweeps; `framework_version=2.12.1` is a condition as in `--only`, on
more fields. A side without a sweep means the newest sweep with matching rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.selection import KEY, Word, make_condition_error, read_conditions
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.sweep_ids import resolve_sweep_id
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.sweeps.conditions import FIELDS, FieldCondition, holds

EXAMPLE = "last~1, or 'last framework=torch framework_version=2.12.1'"
RECORDED = (  # recorded of a row besides its task
    "framework_version",
    "optimizer",
    "environment_hash",
    "velodrome_version",
    "node_type",
    "node_id",
    "hostname",
    "cpu_model",
    "gpu_name",
)
SELECTABLE = (*FIELDS, *RECORDED, KEY)
_COLUMNS = {KEY: "task_id"}


@dataclass(frozen=True)
class Side:
    """A parsed side. name: BASE or CANDIDATE. words: sweeps; empty: the newest that matches."""

    name: str
    text: str
    words: tuple[Word, ...]
    conditions: tuple[FieldCondition, ...]

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(condition.field for condition in self.conditions)

    def pins(self, field: str) -> frozenset[tuple[tuple[str, ...], bool]]:
        """Return the conditions on a field, for comparison with the other side."""
        return frozenset(
            (condition.patterns, condition.is_negated)
            for condition in self.conditions
            if condition.field == field
        )

    def matches(self, row: TaskRow) -> bool:
        return all(
            holds(condition, {condition.field: _read_text(row, condition.field)})
            for condition in self.conditions
        )


def parse_side(text: str, name: str) -> Side:
    """Parse a side. ConfigError names the column of the error."""
    conditions, words = read_conditions(text, name, SELECTABLE)
    for word in words:
        if any(character in word.text for character in "=!|"):
            raise make_condition_error(word, EXAMPLE)
    if not (conditions or words):
        raise ConfigError(name, "there is no sweep and no condition", f"Write it like {EXAMPLE}.")
    return Side(name, text, words, conditions)


def find_subjects(base: Side, candidate: Side) -> frozenset[str]:
    """Return the compared fields: both sides pin them, to different values."""
    both = base.fields & candidate.fields
    return frozenset(field for field in both if base.pins(field) != candidate.pins(field))


def select_sweeps(side: Side, sweep_ids: Sequence[str]) -> tuple[str, ...]:
    """List the named sweeps, newest first; may be empty. ConfigError if a named one is missing."""
    chosen: set[str] = set()
    for word in side.words:
        chosen.update(_resolve_word(word, sweep_ids))
    return tuple(sweep_id for sweep_id in sweep_ids if sweep_id in chosen)


def select_rows(
    side: Side, sweep_ids: Sequence[str], rows_in: Callable[[str], Sequence[TaskRow]]
) -> tuple[tuple[str, ...], list[TaskRow]]:
    """Return a side's sweeps and matching rows. known: newest first.

    Only the last attempt of a task counts. ConfigError if no row matches.
    """
    chosen = select_sweeps(side, sweep_ids)
    if chosen:
        found = [row for sweep_id in chosen for row in _select_matching(side, rows_in(sweep_id))]
        if not found:
            raise _refuse(side, [row for sweep_id in chosen for row in rows_in(sweep_id)])
        return chosen, found
    for sweep_id in sweep_ids:
        if found := _select_matching(side, rows_in(sweep_id)):
            return (sweep_id,), found
    if not sweep_ids:
        resolve_sweep_id("last", sweep_ids, side.name)
    raise _refuse(side, [row for sweep_id in sweep_ids for row in rows_in(sweep_id)])


def subtract_runs(rows: Iterable[TaskRow], others: Iterable[TaskRow]) -> list[TaskRow]:
    """Return the runs that are not among the others."""
    other_runs = {_identify_run(row) for row in others}
    return [row for row in rows if _identify_run(row) not in other_runs]


def _identify_run(row: TaskRow) -> tuple[object, object, object]:
    return row.sweep_id, row.task_id, row.repeat


def _select_matching(side: Side, rows: Sequence[TaskRow]) -> list[TaskRow]:
    return [row for row in select_last_attempts(rows) if side.matches(row)]


def _resolve_word(word: Word, sweep_ids: Sequence[str]) -> Iterable[str]:
    if "*" not in word.text and "?" not in word.text:
        return [resolve_sweep_id(word.text, sweep_ids, word.place)]
    found = [sweep_id for sweep_id in sweep_ids if fnmatchcase(sweep_id, word.text)]
    if not found:
        raise ConfigError(word.place, f"there is no sweep '{word.text}'", f"Write {EXAMPLE}.")
    return found


def _refuse(side: Side, rows: Sequence[TaskRow]) -> ConfigError:
    """Build the error for the first condition that no row meets, with the existing values."""
    for condition in side.conditions:
        values = {_read_text(row, condition.field) for row in rows} - {""}
        fields = ({condition.field: value} for value in values)
        if not any(holds(condition, each) for each in fields):
            patterns = "|".join(condition.patterns)
            mend = f"There is: {', '.join(sorted(values)) or 'nothing'}."
            return ConfigError(condition.place, f"no {condition.field} is '{patterns}'", mend)
    problem = f"no result is '{side.text}'" if side.conditions else "these sweeps have no rows"
    return ConfigError(side.name, problem, "Take a condition out, or name other sweeps.")


def _read_text(row: TaskRow, field: str) -> str:
    return row.text(_COLUMNS.get(field, field))
