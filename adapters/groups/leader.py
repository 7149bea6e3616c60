"""The adapter of a whole group, in the process that leads it: each call is made by all processes.

To the worker it is an adapter like every other: batches are whole ones, results those of all
devices. Only the calls of a sample need announcing, so that while the clock runs nothing is said:
the followers get the numbers of its batches before, and begin at a word.
"""

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Adapter, Batch, Handle
from velodrome.adapters.groups.examples import split_batches
from velodrome.adapters.groups.messages import (
    GO,
    PHASE,
    RUN,
    SKETCH_GRADIENTS,
    SKETCH_PARAMETERS,
    Order,
    Run,
)
from velodrome.adapters.proof.disagreement import Disagreed
from velodrome.adapters.proof.relative_errors import measure_distance
from velodrome.adapters.proof.sketch import compute_sketches
from velodrome.adapters.protocol import Phase, monotonic_ns
from velodrome.adapters.tolerances import COPY_TOLERANCE

if TYPE_CHECKING:  # what starts processes is imported for groups alone: it takes tens of ms
    from velodrome.adapters.groups.ranks import Rank


class GroupHandle(object):
    """A result on every device: this process's own, and its number with the followers."""

    __slots__ = ("_released", "number", "own")

    def __init__(self, own: Handle, number: int, released: List[int]) -> None:
        self.own, self.number, self._released = own, number, released

    def __del__(self) -> None:
        if self.number:
            self._released.append(self.number)


class GroupAdapter(Adapter):
    """One framework's way to run one model on a group of processes.

    A follower that fails ends this process by its watch (velodrome.adapters.groups.ranks).
    """

    def __init__(self, own: Adapter, ranks: "Sequence[Rank]") -> None:
        self.own, self._ranks = own, ranks
        self.waits_by_design, self.early_epsilon = own.waits_by_design, own.early_epsilon
        self._size = len(ranks) + 1
        self._number = 0
        self._released: List[int] = []
        self._announced = 0  # calls of a sample that are still to be made
        self._running = False
        self._begun_ns = 0  # of the sample that is running

    def device_name(self) -> str:
        return self.own.device_name()

    def build(self, weights: Dict[str, numpy.ndarray]) -> None:
        self._all("build", weights)

    def load(self, batches: Tuple[Batch, ...]) -> None:
        shares = split_batches(batches, self._size)
        for rank, share in zip(self._ranks, shares[1:]):
            rank.send(self._order("load", (share,)))
        self.own.load(shares[0])
        self._answers()

    def set_parameter(self, name: str, values: numpy.ndarray) -> None:
        self._all("set_parameter", name, values)

    def set_dropout(self, active: bool) -> None:  # noqa: FBT001 - as in Adapter
        self._all("set_dropout", active)

    def forward(self, index: int) -> Handle:
        return self._call("forward", self.own.forward, index)

    def gradient(self, index: int) -> Handle:
        return self._call("gradient", self.own.gradient, index)

    def synchronize(self) -> None:
        self._all("synchronize")

    def stopwatch(self) -> Any:
        return self.own.stopwatch()

    def loss(self, handle: Handle) -> float:
        """Return the mean of all processes' losses, whose batches are of one size."""
        losses = self._read("loss", handle, self.own.loss)
        return float(sum(losses) / len(losses))

    def gradients(self, handle: Handle) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield the leader's gradients. Disagreed if another process's differ from them."""
        self._send(SKETCH_GRADIENTS, handle.number)
        return self._compare("gradient", self.own.gradients(handle.own))

    def output(self, handle: Handle) -> numpy.ndarray:
        return numpy.concatenate(self._read("output", handle, self.own.output))

    def start_inference(self, statistics: Dict[str, numpy.ndarray]) -> None:
        self._all("start_inference", statistics)

    def inference(self, index: int) -> Handle:
        return self._call("inference", self.own.inference, index)

    def end_inference(self) -> None:
        self._all("end_inference")

    def start_training(self, optimizer: str, weights: Dict[str, numpy.ndarray]) -> None:
        self._all("start_training", optimizer, weights)

    def keep_gradients(self, index: int) -> Handle:
        return self._call("keep_gradients", self.own.keep_gradients, index)

    def update(self) -> Handle:
        return self._call("update", self.own.update)

    def step(self, index: int) -> Handle:
        return self._call("step", self.own.step, index)

    def parameters(self) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield the leader's parameters. Disagreed if another process's differ from them."""
        self._send(SKETCH_PARAMETERS)
        return self._compare("value", self.own.parameters())

    def kept_shares(self) -> Dict[str, float]:
        found = self._all("kept_shares")
        return {name: float(numpy.mean([own[name] for own in found])) for name in found[0]}

    def peak_memory_bytes(self) -> int:
        return int(sum(self._all("peak_memory_bytes")))

    def kernels(self) -> Tuple[str, ...]:
        return self.own.kernels()

    def notes(self) -> Tuple[str, ...]:
        return self.own.notes()

    def announce(self, method: str, indices: Sequence[int]) -> None:
        """Let the followers make the calls of a sample, which begins when this returns."""
        self._number += 1
        self._send(RUN, method, tuple(indices), number=self._number)
        self._answers()
        self._announced, self._running = len(indices), True
        self._begun_ns = monotonic_ns()
        for rank in self._ranks:
            rank.orders.send_bytes(GO)

    def finish(self) -> int:
        """Wait for the followers' end of a sample; return when the last was done, in ns.

        Clocks of nodes differ: elsewhere, a sample is as long there as it took from the word on.
        """
        if not self._running:
            return 0
        self._running = False
        runs: List[Run] = self._answers()
        return max(
            run.ended_ns if rank.shares_clock else self._begun_ns + run.elapsed_ns
            for rank, run in zip(self._ranks, runs)
        )

    def relay_phases(self, send: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a `send` that also tells the other nodes' agents of each phase, before it begins.

        No sample is running then, so that the followers answer at once.
        """
        others = [rank for rank in self._ranks if not rank.shares_clock]

        def relay(event: Any) -> None:
            if isinstance(event, Phase):
                for rank in others:
                    rank.send(Order(PHASE, (event.name,)))
                for rank in others:
                    rank.receive()
            send(event)

        return relay

    def _call(self, method: str, call: Callable[..., Handle], *arguments: int) -> Handle:
        """Make a call on all devices; of an announced one only the own share."""
        if self._announced:
            self._announced -= 1
            number = 0 if self._announced else self._number
            return GroupHandle(call(*arguments), number, self._released)
        self._number += 1
        self._send(method, *arguments, number=self._number)
        handle = GroupHandle(call(*arguments), self._number, self._released)
        self.own.synchronize()
        self._answers()
        return handle

    def _all(self, method: str, *arguments: Any) -> List[Any]:
        """Call a method in every process; return the results, the leader's first."""
        self._send(method, *arguments)
        return [getattr(self.own, method)(*arguments)] + self._answers()

    def _read(self, method: str, handle: GroupHandle, read: Callable[[Handle], Any]) -> List[Any]:
        self._send(method, handle.number)
        return [read(handle.own)] + self._answers()

    def _compare(
        self, what: str, own: Iterator[Tuple[str, numpy.ndarray]]
    ) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield each array, compared with the followers' sketches, which are on their way.

        The arrays are read first: reading one of a sharded parameter is a collective operation.
        """
        values = list(own)
        expected = compute_sketches(values)
        for rank, sketches in zip(self._ranks, self._answers()):
            for name, sketch in expected.items():
                apart = _measure_apart(sketches.get(name), sketch)
                if not apart <= COPY_TOLERANCE:
                    text = "the {} of {} on rank {} of {} differs from that on rank 0 by {:.2g}"
                    raise Disagreed(text.format(what, name, rank.rank, self._size, apart))
        return iter(values)

    def _send(self, method: str, *arguments: Any, number: int = 0) -> None:
        order = self._order(method, arguments, number)
        for rank in self._ranks:
            rank.send(order)

    def _order(self, method: str, arguments: Tuple[Any, ...], number: int = 0) -> Order:
        released = tuple(self._released)
        del self._released[:]
        return Order(method, arguments, number, released)

    def _answers(self) -> List[Any]:
        return [rank.receive() for rank in self._ranks]


def _measure_apart(found: Optional[numpy.ndarray], expected: numpy.ndarray) -> float:
    """Return the distance of two sketches; infinite if one is missing or has another shape."""
    if found is None or found.shape != expected.shape:
        return float("inf")
    return measure_distance(found, expected)
