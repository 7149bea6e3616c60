"""Looking at files that a compaction may take away between their listing and their reading."""

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from velodrome.scheduler.errors import StoreError

TRIES = 5
Seen = TypeVar("Seen")


def settled(what: str, look: Callable[[], Seen]) -> Seen:
    """What `look` returns: a file that is gone was compacted since it was listed, so look again.

    StoreError if it cannot be read, or never settles. what: for messages.
    """
    for _ in range(TRIES):
        try:
            return look()
        except FileNotFoundError:
            continue
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{what} cannot be read: {error}") from error
    raise StoreError(f"{what} changes faster than it can be read.")
