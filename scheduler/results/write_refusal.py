"""What whoever writes to results does about a file that is not sound."""

from velodrome.scheduler.errors import StoreError
from velodrome.scheduler.results.file_faults import Fault


def refuse(fault: Fault) -> None:
    """StoreError where rows are missing: to go on would measure them again, or drop them for good.

    Rows that are there twice were counted once.
    """
    if fault.loses_rows:
        raise StoreError(str(fault))
