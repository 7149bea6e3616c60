"""Selection of tasks by `--only`, as in `framework=torch model=lenet|alexnet*`.

Conditions are separated by spaces or commas and must all hold. `=` matches one of the patterns
between `|`, `!=` none of them; `*` and `?` are wildcards; a family stands for all its parts.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.sweeps.conditions import FIELDS, FieldCondition, holds, list_fields

OPTION = "--only"
EXAMPLE = "--only 'framework=torch model=lenet|alexnet* threads=1'"
KEY = "task"  # the task's key, which is not one of its fields
_GAP = re.compile(r"[\s,]*")
_VALUE = r"[^\s,=!|][^\s,|]*"  # an `=` may follow: torch==2.12.1
_CONDITION = re.compile(rf"([^\s,=!|]*)\s*(!?=)\s*({_VALUE}(?:\s*\|\s*{_VALUE})*)")


@dataclass(frozen=True)
class Selection:
    """Conditions that all hold for a selected task."""

    text: str
    conditions: tuple[FieldCondition, ...]

    def matches(self, task: Task) -> bool:
        fields = list_fields(task)
        if any(condition.field == KEY for condition in self.conditions):
            fields[KEY] = task.key
        return all(holds(condition, fields) for condition in self.conditions)


@dataclass(frozen=True)
class Word:
    """A word among conditions that is not a condition. place: its position, for errors."""

    text: str
    place: str


def parse_selection(text: str) -> Selection:
    """Parse an expression. ConfigError names the column of the first error."""
    conditions, words = read_conditions(text, OPTION, (*FIELDS, KEY))
    if words:
        raise make_condition_error(words[0], EXAMPLE)
    if not conditions:
        raise ConfigError(OPTION, "there is not a condition", f"Write it like {EXAMPLE}.")
    return Selection(text, conditions)


def read_conditions(
    text: str, name: str, fields: Sequence[str]
) -> tuple[tuple[FieldCondition, ...], tuple[Word, ...]]:
    """Split a text into conditions on these fields and other words.

    name: of the option or argument, for errors. ConfigError if a field is unknown.
    """
    conditions, words = [], []
    at = _skip(text, 0)
    while at < len(text):
        place = f"{name}:1:{at + 1}"
        found = _CONDITION.match(text, at)
        if found:
            conditions.append(_build_condition(found, place, fields))
            end = found.end()
        else:
            words.append(Word(text[at:].split()[0], place))
            end = at + len(words[-1].text)
        at = _skip(text, end)
    return tuple(conditions), tuple(words)


def make_condition_error(word: Word, example: str) -> ConfigError:
    return ConfigError(word.place, f"'{word.text}' is not a condition", f"Write it like {example}.")


def narrow_plan(plan: Plan, selection: Selection) -> Plan:
    """Return the selected part of a plan. ConfigError if it is empty."""
    chosen = {task for task in plan.tasks if selection.matches(task)}
    if not chosen:
        raise _make_no_task_error(selection, plan.tasks)
    return Plan(
        tuple(placement for placement in plan.placements if placement.task in chosen),
        tuple(entry for entry in plan.unplaceable if entry.task in chosen),
    )


def _skip(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _build_condition(found: "re.Match[str]", place: str, fields: Sequence[str]) -> FieldCondition:
    name, operator, patterns = found.groups()
    if name not in fields:
        raise ConfigError(place, f"no such field '{name}'", did_you_mean(name, fields))
    split = tuple(pattern.strip() for pattern in patterns.split("|"))
    return FieldCondition(name, split, is_negated=operator == "!=", place=place)


def _make_no_task_error(selection: Selection, tasks: Collection[Task]) -> ConfigError:
    """Name the first condition that no task meets, and the values that exist."""
    for condition in selection.conditions:
        values = {
            task.key if condition.field == KEY else list_fields(task)[condition.field]
            for task in tasks
        }
        if not any(holds(condition, {condition.field: value}) for value in values):
            patterns = "|".join(condition.patterns)
            problem = f"no task of the sweep has the {condition.field} '{patterns}'"
            return ConfigError(condition.place, problem, did_you_mean(patterns, values))
    problem = f"no task of the sweep is '{selection.text}' in every condition"
    return ConfigError(OPTION, problem, "Take a condition out.")
