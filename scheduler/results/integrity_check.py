"""Every file of a results folder that is not sound."""

from collections.abc import Iterator

from velodrome.scheduler.results.file_faults import Fault, Ill
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.store import Store


def unsound(store: Store) -> Iterator[Fault]:
    """Reads everything; what lies where nobody looks for it is named, too."""
    for table in TABLES:
        yield from store.unsound(table)
        for path in store.strays(table):
            place = f"{table}/sweep=ID/"
            problem = f"it lies where no rows are looked for, which is in {place}"
            yield Fault(path, table, "", Ill.STRAY, problem, "Move it there, or away.")
    for sweep_id in store.sweep_ids():
        if fault := store.unsound_plan(sweep_id):
            yield fault
