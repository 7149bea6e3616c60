"""The batch sizes that nodes found for `auto` in this run, for the other nodes of their type.

So one search serves a type, and its nodes are timed at one size. Nodes that begin at the same time
each search.
"""

from dataclasses import replace

from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.fleet.attempts import Attempt


class FoundSizes:
    """Found batch sizes by task and node type. The first that was measured counts.

    Until a task runs out of memory at it: the node of the next repeat then searches a smaller one.
    """

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, str], int] = {}

    def record(self, measurement: Measurement) -> None:
        """Record the size of a measurement with a number; forget one that has no memory now."""
        task = measurement.task
        if not task.batch_size_rule or task.batch_size <= 0:
            return
        key = (task.key, measurement.node_type)
        if measurement.status.has_number:
            self._sizes.setdefault(key, task.batch_size)
        elif measurement.status is Status.OUT_OF_MEMORY and self._sizes.get(key) == task.batch_size:
            del self._sizes[key]

    def apply(self, attempt: Attempt, node_type: str) -> Attempt:
        """Return the attempt as a node of this type should get it: with the size if it is known."""
        if not attempt.task.batch_size_rule:
            return attempt
        size = self._sizes.get((attempt.task.key, node_type))
        return replace(attempt, task=replace(attempt.task, batch_size=size)) if size else attempt
