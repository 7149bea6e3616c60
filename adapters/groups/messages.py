"""Messages between the leading process of a group, which runs the worker, and its followers.

Over a pair of pipes to each follower: orders one way with answers the other, and alarms, which are
read by a thread of the leader while it may be waiting in a collective operation for a follower that
has failed.
"""

from typing import Any, NamedTuple, Tuple

# An order by which a follower gives each parameter's sketch: of gradients, or of present values.
SKETCH_GRADIENTS, SKETCH_PARAMETERS = "sketch_gradients", "sketch_parameters"
RUN, END = "run", "end"
PHASE = "phase"  # tells another node's process which phase begins
GO = b"go"  # begins the calls of an announced sample, once all followers are ready


class Start(NamedTuple):
    """The first message to a follower on another node: its rank, and where the group meets.

    others: addresses of other nodes that it must reach before, for it alone on its node.
    """

    rank: int
    meeting: str
    others: Tuple[str, ...] = ()


class Order(NamedTuple):
    """A method of the adapter to call. number: under which its handle is kept; 0: it is dropped.

    released: numbers of handles that nothing will read.
    """

    method: str
    arguments: Tuple[Any, ...] = ()
    number: int = 0
    released: Tuple[int, ...] = ()


class Run(NamedTuple):
    """A follower's finished sample: its end and length by its node's CLOCK_MONOTONIC, in ns.

    processor_ns: its processor time meanwhile.
    """

    ended_ns: int
    elapsed_ns: int
    processor_ns: int
