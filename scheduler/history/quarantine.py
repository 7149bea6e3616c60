"""Which cells are too flaky to alarm: they are run and shown, but wake nobody.

Three failed or unstable nights in a row put a cell there, three good ones in a row let it out.
Three, as the release tests of Ray have it: one bad night is weather.
"""

from collections.abc import Iterable

from velodrome.scheduler.history.nights import Condition

IN_A_ROW = 3


def quarantined_since(conditions: Iterable[Condition]) -> int | None:
    """Of a cell's nights, oldest first: the index of that which put it there. None: it is not."""
    since: int | None = None
    good = bad = 0
    for index, condition in enumerate(conditions):
        is_good = condition is Condition.GOOD
        good, bad = (good + 1, 0) if is_good else (0, bad + 1)
        if since is None and bad >= IN_A_ROW:
            since = index
        elif since is not None and good >= IN_A_ROW:
            since = None
    return since
