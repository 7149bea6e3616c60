"""`results check`: every file that is not sound, and what mends it."""

from pathlib import Path

from velodrome.scheduler.commands.output import print_json, print_lines
from velodrome.scheduler.errors import INCOMPLETE
from velodrome.scheduler.results.store import Store


def check_results(results: str | Path, *, as_json: bool) -> int:
    """Exit status: INCOMPLETE if one is not sound."""
    found = tuple(Store.for_reading(results).check())
    if as_json:
        print_json([{**vars(fault), "loses_rows": fault.loses_rows} for fault in found])
    else:
        print_lines(*(f"{fault.kind}  {fault}" for fault in found))
        print_lines(
            f"{len(found)} of the files in {results} are not sound"
            if found
            else f"every file in {results} is sound"
        )
    return INCOMPLETE if found else 0
