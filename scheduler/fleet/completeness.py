"""What a sweep is to have kept by its end, held against what is really there.

A results folder that is moved or deleted while it is written to is made anew by the next row, and
nothing fails: only the rows before it are elsewhere.
"""

from collections.abc import Collection, Mapping, Sequence

from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.plans.planning import Plan
from velodrome.scheduler.results.committed_attempts import Identity
from velodrome.scheduler.results.store import Store

FEW = 6  # that are named


def expected_rows(plan: Plan, left_out: Collection[Attempt] = ()) -> dict[Identity, str]:
    """The names of all that is to have a row: the plan, without what there was no time for."""
    named = {(one.task.key, one.repeat): one.task.label for one in plan.placements}
    named |= {(one.task.key, 0): one.task.label for one in plan.unplaceable}
    for attempt in left_out:
        named.pop((attempt.task.key, attempt.repeat), None)
    return named


def find_missing_rows(
    expected: Mapping[Identity, str], store: Store, sweep_id: str
) -> tuple[str, ...]:
    """The names of those that have no row on disk."""
    rows = store.read("tasks", sweep_id, ("task_id", "repeat"))
    there = set(zip(rows["task_id"].to_pylist(), rows["repeat"].to_pylist(), strict=True))
    return tuple(name for identity, name in expected.items() if identity not in there)


def describe_missing_rows(names: Sequence[str], of: int, place: str, again: str) -> str:
    """Of names that are missing, and the command that measures them again."""
    few = ", ".join(dict.fromkeys(names[:FEW]))
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return (
        f"{place}: {len(names)} of {of} runs are not there: {few}{more}. Was the folder moved or "
        "deleted while the sweep ran? What was finished before is where it went. "
        f"Measure these again with: {again}"
    )
