"""How long one call takes: samples until the median is known well enough.

A sample is a number of calls in a row between two moments at which the device was idle, as many as
last MIN_SAMPLE_NS, so that the clock's own cost does not count: whole passes over all batches where
these differ in shape. Samples taken before the speed has settled are thrown away.
"""

import contextlib
import gc
import itertools
import time
from typing import Any, Callable, Iterator, List, NamedTuple, Sequence, Tuple

from velodrome.adapters.protocol import Sampled, Timed, Timing, monotonic_ns
from velodrome.adapters.timing.stopping import (
    FEWEST,
    SECOND_NS,
    judge,
    next_check,
    settled,
    stop_reason,
)
from velodrome.adapters.worker.process_times import Spent, spent_by_now

Take = Callable[[], Tuple[int, int]]  # takes one sample: when it began and its length, in ns

MIN_SAMPLE_NS = 1000000
CHUNK_NS = SECOND_NS // 2  # of samples are sent at once, so that progress is seen
WARMUP_MIN_NS = SECOND_NS // 5
WARMUP_MAX_S = 15.0


class Warm(NamedTuple):
    """A warm-up that is over: samples thrown away, and passes to a sample (see Calls.unit).

    settled: the speed had come to rest; else the time for it was over.
    """

    samples: int
    passes: int
    settled: bool = True


class Calls(NamedTuple):
    """What is timed: call(index) for index in 0 .. batches - 1.

    unit: how many calls a sample is a multiple of, 1 where one batch costs what another does; 0:
    those of a whole pass.
    """

    call: Callable[[int], Any]
    batches: int
    stopwatch: Any  # see contract.Adapter.stopwatch
    unit: int = 0

    @property
    def calls_per_pass(self) -> int:
        return self.unit or self.batches


class Taken(NamedTuple):
    """A phase that is timed. own_ns: each sample by the worker's own clock, around the stopwatch's.

    spent: what the process used of the processor meanwhile.
    """

    timed: Timed
    elapsed_ns: Tuple[int, ...]
    own_ns: Tuple[int, ...]
    spent: Spent


class Kept(NamedTuple):
    """One sample more, of chosen batches, of which the last call's result is kept.

    processor_ns: what the process used of the processor, which no other process can lengthen.
    """

    elapsed_ns: int
    processor_ns: int
    handle: Any


def sampler(calls: Calls, passes: int) -> Take:
    """What takes one sample. Nothing but the calls runs between start and stop."""
    call, start, stop = calls.call, calls.stopwatch.start, calls.stopwatch.stop
    rounds = _rounds(calls.batches, passes * calls.calls_per_pass)

    def take() -> Tuple[int, int]:
        indices = next(rounds)
        started_ns = start()
        for index in indices:
            call(index)
        return started_ns, stop()

    return take


def take_kept(calls: Calls, indices: Sequence[int]) -> Kept:
    """Taken like every sample; an adapter cannot tell it from those that count."""
    call, start, stop = calls.call, calls.stopwatch.start, calls.stopwatch.stop
    first, last = tuple(indices[:-1]), indices[-1]
    before_s = time.process_time()
    start()
    for index in first:
        call(index)
    handle = call(last)
    elapsed_ns = stop()
    return Kept(elapsed_ns, int((time.process_time() - before_s) * 1e9), handle)


def _rounds(batches: int, count: int) -> Iterator[Tuple[int, ...]]:
    """Each next sample's numbers: it goes on where the one before ended."""
    numbers = list(range(batches)) * (count // batches + 2)
    starts = [0]
    while (starts[-1] + count) % batches:
        starts.append((starts[-1] + count) % batches)
    return itertools.cycle([tuple(numbers[start : start + count]) for start in starts])


def warm_up(calls: Calls, timing: Timing) -> Warm:
    """Run until the speed has settled, or the time for it is over; that is told, and no error."""
    cap_ns = min(timing.max_seconds / 2, WARMUP_MAX_S) * SECOND_NS
    per_pass_ns: List[float] = []
    passes, total_ns, check_at, at_rest = 1, 0, FEWEST, False
    take = sampler(calls, passes)
    with collector_resting():
        while total_ns < cap_ns and not at_rest:
            elapsed_ns = take()[1]
            per_pass_ns.append(elapsed_ns / float(passes))
            total_ns += elapsed_ns
            if elapsed_ns < MIN_SAMPLE_NS:
                passes = more_passes(passes, elapsed_ns)
                take = sampler(calls, passes)
            if len(per_pass_ns) >= check_at and total_ns >= WARMUP_MIN_NS:
                at_rest = settled(per_pass_ns)
                check_at = next_check(len(per_pass_ns))
        gc.collect()  # here, so that no phase begins with it
    return Warm(len(per_pass_ns), passes, at_rest)


def time_calls(
    phase: str, calls: Calls, warm: Warm, timing: Timing, send: Callable[[Sampled], None]
) -> Timed:
    """Take samples until stop_reason names one; send them in chunks, in between."""
    return take_samples(phase, calls, warm, timing, send).timed


def take_samples(
    phase: str, calls: Calls, warm: Warm, timing: Timing, send: Callable[[Sampled], None]
) -> Taken:
    """As time_calls, with what the checks of velodrome.adapters.proof go by."""
    take = sampler(calls, warm.passes)
    per_sample = warm.passes * calls.calls_per_pass
    chunks = _Chunks(phase, per_sample, send)
    elapsed_ns: List[int] = []
    own_ns: List[int] = []
    total_ns, check_at, reason = 0, FEWEST, ""
    with collector_off():
        before = spent_by_now()
        while not reason:
            began_ns = monotonic_ns()
            started_ns, length_ns = take()
            own_ns.append(monotonic_ns() - began_ns)
            elapsed_ns.append(length_ns)
            total_ns += length_ns
            chunks.add(started_ns, length_ns)
            if len(elapsed_ns) >= check_at or total_ns >= timing.max_seconds * SECOND_NS:
                reason = stop_reason(elapsed_ns, timing)
                check_at = next_check(len(elapsed_ns))
        spent = spent_by_now().since(before)
    chunks.flush()
    timed = summary(phase, elapsed_ns, per_sample, warm, reason, timing.target)
    return Taken(timed, tuple(elapsed_ns), tuple(own_ns), spent)


def more_passes(passes: int, elapsed_ns: int) -> int:
    """How many passes make a sample last MIN_SAMPLE_NS, a tenth more for safety.

    At most tenfold at a time: what a sample costs besides its calls makes a short one misleading.
    """
    wanted = int(passes * 1.1 * MIN_SAMPLE_NS / max(elapsed_ns, 1)) + 1
    return max(passes + 1, min(wanted, 10 * passes))


def summary(
    phase: str, elapsed_ns: Sequence[int], calls: int, warm: Warm, reason: str, target: float
) -> Timed:
    """Per call. stable says whether the target was met, whatever ended the timing."""
    judged = judge(elapsed_ns, target)
    interval = judged.interval
    return Timed(
        phase=phase,
        median_ns=interval.median / calls,
        low_ns=interval.low / float(calls),
        high_ns=interval.high / float(calls),
        samples=len(elapsed_ns),
        calls=calls,
        warmup_samples=warm.samples,
        stop_reason=reason,
        stable=judged.stable,
        settled=warm.settled,
        worth=len(elapsed_ns) / interval.inflated,
        drift=judged.drift,
        doubt=judged.doubt,
        bounded=judged.bounded,
    )


@contextlib.contextmanager
def collector_resting() -> Iterator[None]:
    """No garbage collection by itself, which would fall into some samples and not into others."""
    gc.collect()  # tenths of a second, once a framework is imported
    with collector_off():
        yield


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Chunks(object):
    """Samples that are not sent yet. Only ever used between samples."""

    def __init__(self, phase: str, calls: int, send: Callable[[Sampled], None]) -> None:
        self._phase, self._calls, self._send = phase, calls, send
        self._first_index, self._total_ns = 0, 0
        self._started_ns: List[int] = []
        self._elapsed_ns: List[int] = []

    def add(self, started_ns: int, elapsed_ns: int) -> None:
        self._started_ns.append(started_ns)
        self._elapsed_ns.append(elapsed_ns)
        self._total_ns += elapsed_ns
        if self._total_ns >= CHUNK_NS:
            self.flush()

    def flush(self) -> None:
        """Send what there is, then free the young garbage that the samples left."""
        if self._elapsed_ns:
            self._send(
                Sampled(
                    self._phase,
                    self._first_index,
                    self._calls,
                    tuple(self._started_ns),
                    tuple(self._elapsed_ns),
                )
            )
        self._first_index += len(self._elapsed_ns)
        self._total_ns = 0
        del self._started_ns[:], self._elapsed_ns[:]
        gc.collect(0)
