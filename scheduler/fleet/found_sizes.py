"""The batch sizes that nodes found for `auto` in this run, for the other nodes of their type.

So one search serves a type, and its nodes are timed at one size. Nodes that begin at the same time
each search.
"""

from dataclasses import replace

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.fleet.attempts import Attempt


class FoundSizes:
    """Found batch sizes by task and node type. The first that was measured counts."""

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, str], int] = {}

    def record(self, measurement: Measurement) -> None:
        """Record the size of a measurement with a number, if its node found it."""
        task = measurement.task
        if task.batch_size_rule and task.batch_size > 0 and measurement.status.has_number:
            self._sizes.setdefault((task.key, measurement.node_type), task.batch_size)

    def apply(self, attempt: Attempt, node_type: str) -> Attempt:
        """Return the attempt as a node of this type should get it: with the size if it is known."""
        if not attempt.task.batch_size_rule:
            return attempt
        size = self._sizes.get((attempt.task.key, node_type))
        return replace(attempt, task=replace(attempt.task, batch_size=size)) if size else attempt
