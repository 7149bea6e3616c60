"""Looking at files that a compaction may take away between their listing and their reading."""

from collections.abc import Callable
from typing import TypeVar

from velodrome.scheduler.results.deduplication import Tell
from velodrome.scheduler.results.file_faults import Fault, Ill

TRIES = 5
Seen = TypeVar("Seen")


def settled(look: Callable[[Tell], Seen], tell: Tell) -> Seen:
    """What `look` returns: a file that is gone was compacted since it was listed, so look again.

    look: tells of faults; those of its last try are told.
    """
    for left in reversed(range(TRIES)):
        faults: list[Fault] = []
        seen = look(faults.append)
        if not left or all(fault.ill is not Ill.VANISHED for fault in faults):
            break
    for fault in faults:
        tell(fault)
    return seen
