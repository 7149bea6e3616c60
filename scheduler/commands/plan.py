"""`plan`: what would run where, and why the rest cannot; starts nothing."""

from collections import Counter
from pathlib import Path

from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take
from velodrome.scheduler.commands.output import closing, print_json, print_table
from velodrome.scheduler.plans.preparation import planned
from velodrome.scheduler.sweeps.sweep_file import load


def plan(path: Path, only: str, *, as_json: bool) -> int:
    """Exit status 0 if something can run, else 1."""
    node = take()
    made = planned(load(path), only, (node,), EnvironmentStore(default_root()))
    repeats = Counter(placement.task for placement in made.placements)
    rows = [
        {
            "task_id": task.key,
            "task": task.label,
            "repeats": count,
            "node": node.hostname,
            "why not": "",
        }
        for task, count in repeats.items()
    ]
    rows += [
        {
            "task_id": entry.task.key,
            "task": entry.task.label,
            "repeats": 0,
            "node": "",
            "why not": entry.reason,
        }
        for entry in made.unplaceable
    ]
    if as_json:
        print_json(rows)
        return 0 if repeats else 1
    print_table(rows, right=frozenset({"repeats"}))
    closing(
        f"{len(repeats)} tasks, {len(made.placements)} runs, {len(made.unplaceable)} fit nowhere",
        f"next: velodrome run {path}",
    )
    return 0 if repeats else 1
