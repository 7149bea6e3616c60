"""The data that all checks of a timed phase share, their helpers and the findings they return."""

from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Adapter, Batch
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import dropout_gradients
from velodrome.adapters.proof.feed import Feed
from velodrome.adapters.proof.reference import ExpectedResults, Reference
from velodrome.adapters.protocol import PASSED, Request
from velodrome.adapters.worker.call_timing import MIN_SAMPLE_NS, Calls, RetainedSample, TimedSamples

TRIES = 3  # of a timing check; the quickest counts
CLOSE_FACTOR, CLOSE_NS = 1.3, 200000  # differences of times without interference
MAX_CALLS = 256  # in one sample of a check


class ProofContext(NamedTuple):
    """The data of one request. expected: results of the checked batches, by place.

    weights: the first ones, float32, if a phase changes them; else empty. feed: the data set of the
    phases that read one.
    """

    adapter: Adapter
    model: Model
    reference: Reference
    request: Request
    batches: Tuple[Batch, ...]
    weights: Dict[str, numpy.ndarray] = {}
    feed: Optional[Feed] = None

    @property
    def data(self) -> Feed:
        """Return the feed of a phase that has one."""
        assert self.feed is not None
        return self.feed

    @property
    def places(self) -> Tuple[int, ...]:
        return self.reference.checked

    @property
    def expected(self) -> ExpectedResults:
        own = self.reference
        losses = tuple(own.losses[number] for number in own.checked) if own.losses else ()
        return ExpectedResults(losses, own.norms, own.sketches)

    @property
    def on_cpu(self) -> bool:
        return self.request.device == "cpu"

    @property
    def drops(self) -> bool:
        return dropout_gradients.has_dropout(self.model)


class TimedPhase(NamedTuple):
    """A timed phase. call_ns: the median of one call."""

    name: str
    calls: Calls
    samples: TimedSamples

    @property
    def call_ns(self) -> float:
        return self.samples.timed.median_ns


class CallCost(NamedTuple):
    """The cost of some calls in ns: elapsed time and processor time."""

    elapsed_ns: float
    processor_ns: float


class CheckFinding(NamedTuple):
    """A check's result: outcome, figures as (name, value), and the reason if it did not pass."""

    outcome: str
    figures: Tuple[Tuple[str, float], ...] = ()
    reason: str = ""


def choose_batches(proof: ProofContext, phase: TimedPhase, place: int = -1) -> Tuple[int, ...]:
    """Choose checked batches in turn, as many as a sample has calls; that at `place` comes last.

    If a sample is a whole pass, as many as last MIN_SAMPLE_NS.
    """
    places, count = proof.places, phase.samples.timed.calls
    if not phase.calls.unit or phase.calls.is_single:
        count = int(MIN_SAMPLE_NS / max(phase.call_ns, 1.0)) + 1
    count = max(1, min(count, MAX_CALLS))
    end = place % len(places) + 1
    turned = places[end:] + places[:end]
    return (turned * (count // len(turned) + 1))[-count:]


def to_cost(sample: RetainedSample) -> CallCost:
    return CallCost(sample.elapsed_ns, sample.processor_ns)


def mean_processor_ns(phase: TimedPhase) -> float:
    """Return the mean processor time of one timed sample."""
    return phase.samples.process_times.processor_ns / float(len(phase.samples.elapsed_ns))


def is_interference_free(times_ns: Sequence[float]) -> bool:
    """Return True if the times are so close, or so short, that no other process interfered."""
    return max(times_ns) <= CLOSE_FACTOR * min(times_ns) + CLOSE_NS


def merge_findings(found: Sequence[CheckFinding]) -> CheckFinding:
    """Return the first finding that did not pass, else the worst figures of all, by name."""
    for finding in found:
        if finding.outcome != PASSED:
            return finding
    worst: Dict[str, float] = {}
    for finding in found:
        for name, value in finding.figures:
            worst[name] = max(worst.get(name, value), value)
    return CheckFinding(PASSED, tuple(worst.items()))
