"""Warm-up and timing of calls, until the median is known well enough.

A sample is a number of calls in a row between two moments at which the device is idle. It lasts at
least MIN_SAMPLE_NS, so that the clock's own cost does not matter, and holds complete passes over
all batches if these differ in shape. Warm-up samples are discarded. Latencies are timed call by
call instead.
"""

import contextlib
import gc
import itertools
import time
from typing import Any, Callable, Iterator, List, NamedTuple, Sequence, Tuple

from velodrome.adapters.protocol import Sampled, Timed, Timing, monotonic_ns
from velodrome.adapters.timing.stopping import (
    MIN_SAMPLES,
    SECOND_NS,
    find_stop_reason,
    has_converged,
    judge,
    schedule_next_check,
)
from velodrome.adapters.worker.process_times import ProcessTimes, read_process_times

TakeSample = Callable[[], Tuple[int, int, int]]  # see make_sampler

MIN_SAMPLE_NS = 1000000
CHUNK_NS = SECOND_NS // 2  # of samples in one event, to show progress
WARMUP_MIN_NS = SECOND_NS // 5
WARMUP_MAX_S = 15.0


class WarmUp(NamedTuple):
    """A finished warm-up: samples discarded, and passes per sample (see Calls.unit).

    converged: the speed became constant; else the time was over.
    """

    samples: int
    passes: int
    converged: bool = True


class Calls(NamedTuple):
    """The timed calls: call(index) for index in 0 .. batches - 1.

    unit: a sample holds a multiple of so many calls: 1 if all batches cost the same, 0 for a whole
    pass. is_single: a sample is one such unit, however short, so that quantiles are those of calls.
    announce: tells other processes the batches of a sample, which begins then. finish: waits for
    them behind it; returns the CLOCK_MONOTONIC ns at which the last one was done, 0 without any.
    """

    call: Callable[[int], Any]
    batches: int
    stopwatch: Any  # see contract.Adapter.stopwatch
    unit: int = 0
    is_single: bool = False
    announce: Callable[[Sequence[int]], None] = lambda indices: None
    finish: Callable[[], int] = lambda: 0

    @property
    def calls_per_pass(self) -> int:
        """Return the smallest number of calls in a sample."""
        return self.unit or self.batches


class TimedSamples(NamedTuple):
    """The samples of a timed phase.

    own_ns: each sample by the worker's clock, around the stopwatch. process_times: those of the
    process meanwhile.
    """

    timed: Timed
    elapsed_ns: Tuple[int, ...]
    own_ns: Tuple[int, ...]
    process_times: ProcessTimes


class RetainedSample(NamedTuple):
    """An additional sample, of chosen batches, with the last call's result.

    processor_ns: the process's processor time, which other processes do not lengthen.
    """

    elapsed_ns: int
    processor_ns: int
    handle: Any


def make_sampler(calls: Calls, passes: int) -> TakeSample:
    """Return a function that takes one sample. Only the calls run between start and stop.

    It returns, in ns, the sample's begin, its length, and that by this module's own clock.
    """
    call, start, stop = calls.call, calls.stopwatch.start, calls.stopwatch.stop
    announce, finish = calls.announce, calls.finish
    rounds = _rounds(calls.batches, passes * calls.calls_per_pass)

    def take() -> Tuple[int, int, int]:
        indices = next(rounds)
        announce(indices)
        began_ns = monotonic_ns()
        started_ns = start()
        for index in indices:
            call(index)
        length_ns = stop()
        clocked_ns = monotonic_ns() - began_ns
        late_ns = max(0, finish() - started_ns - length_ns)
        return started_ns, length_ns + late_ns, clocked_ns + late_ns

    return take


def take_retained_sample(calls: Calls, indices: Sequence[int]) -> RetainedSample:
    """Take a sample and keep its last result; to an adapter it looks like every other sample."""
    call, start, stop = calls.call, calls.stopwatch.start, calls.stopwatch.stop
    first, last = tuple(indices[:-1]), indices[-1]
    calls.announce(indices)
    before_s = time.process_time()
    started_ns = start()
    for index in first:
        call(index)
    handle = call(last)
    elapsed_ns = stop()
    processor_ns = int((time.process_time() - before_s) * 1e9)
    elapsed_ns = max(elapsed_ns, calls.finish() - started_ns)
    return RetainedSample(elapsed_ns, processor_ns, handle)


def _rounds(batches: int, count: int) -> Iterator[Tuple[int, ...]]:
    """Iterate over the samples' batch numbers; each begins where the one before ended."""
    numbers = list(range(batches)) * (count // batches + 2)
    starts = [0]
    while (starts[-1] + count) % batches:
        starts.append((starts[-1] + count) % batches)
    return itertools.cycle([tuple(numbers[start : start + count]) for start in starts])


def warm_up(calls: Calls, timing: Timing) -> WarmUp:
    """Run until the speed is constant or the time is over; the latter is not an error."""
    cap_ns = min(timing.max_seconds / 2, WARMUP_MAX_S) * SECOND_NS
    per_pass_ns: List[float] = []
    passes, total_ns, check_at, converged = 1, 0, MIN_SAMPLES, False
    take = make_sampler(calls, passes)
    with collect_and_disable_gc():
        while total_ns < cap_ns and not converged:
            elapsed_ns = take()[1]
            per_pass_ns.append(elapsed_ns / float(passes))
            total_ns += elapsed_ns
            if elapsed_ns < MIN_SAMPLE_NS and not calls.is_single:
                passes = compute_passes(passes, elapsed_ns)
                take = make_sampler(calls, passes)
            if len(per_pass_ns) >= check_at and total_ns >= WARMUP_MIN_NS:
                converged = has_converged(per_pass_ns)
                check_at = schedule_next_check(len(per_pass_ns))
        gc.collect()  # so that no phase begins with a collection
    return WarmUp(len(per_pass_ns), passes, converged)


def time_calls(
    phase: str, calls: Calls, warm: WarmUp, timing: Timing, send: Callable[[Sampled], None]
) -> Timed:
    """Take samples until find_stop_reason returns a reason; send them in chunks in between."""
    return take_samples(phase, calls, warm, timing, send).timed


def take_samples(
    phase: str, calls: Calls, warm: WarmUp, timing: Timing, send: Callable[[Sampled], None]
) -> TimedSamples:
    """Time calls as time_calls does; return all that velodrome.adapters.proof needs."""
    take = make_sampler(calls, warm.passes)
    per_sample = warm.passes * calls.calls_per_pass
    chunks = _Chunks(phase, per_sample, send)
    elapsed_ns: List[int] = []
    own_ns: List[int] = []
    total_ns, check_at, reason = 0, MIN_SAMPLES, ""
    with disable_gc():
        before = read_process_times()
        while not reason:
            started_ns, length_ns, clocked_ns = take()
            own_ns.append(clocked_ns)
            elapsed_ns.append(length_ns)
            total_ns += length_ns
            chunks.add(started_ns, length_ns)
            if len(elapsed_ns) >= check_at or total_ns >= timing.max_seconds * SECOND_NS:
                reason = find_stop_reason(elapsed_ns, timing)
                check_at = schedule_next_check(len(elapsed_ns))
        spent = read_process_times().since(before)
    chunks.flush()
    timed = summarize(phase, elapsed_ns, per_sample, warm, reason, timing.target)
    return TimedSamples(timed, tuple(elapsed_ns), tuple(own_ns), spent)


def compute_passes(passes: int, elapsed_ns: int) -> int:
    """Return the passes that make a sample last MIN_SAMPLE_NS, plus a tenth.

    At most tenfold at a time: the fixed cost of a short sample is misleading.
    """
    wanted = int(passes * 1.1 * MIN_SAMPLE_NS / max(elapsed_ns, 1)) + 1
    return max(passes + 1, min(wanted, 10 * passes))


def summarize(
    phase: str, elapsed_ns: Sequence[int], calls: int, warm: WarmUp, reason: str, target: float
) -> Timed:
    """Return the timing per call. stable: the target is met, whatever ended the timing."""
    judgement = judge(elapsed_ns, target)
    interval = judgement.interval
    return Timed(
        phase=phase,
        median_ns=interval.median / calls,
        low_ns=interval.low / float(calls),
        high_ns=interval.high / float(calls),
        samples=len(elapsed_ns),
        calls=calls,
        warmup_samples=warm.samples,
        stop_reason=reason,
        stable=judgement.stable,
        settled=warm.converged,
        worth=len(elapsed_ns) / interval.inflation,
        drift=judgement.drift,
        doubt=judgement.instability,
        bounded=judgement.bounded,
    )


@contextlib.contextmanager
def collect_and_disable_gc() -> Iterator[None]:
    """Collect garbage once, then disable collections, which would hit only some samples."""
    gc.collect()  # takes tenths of a second after the import of a framework
    with disable_gc():
        yield


@contextlib.contextmanager
def disable_gc() -> Iterator[None]:
    """Disable garbage collection within the context."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Chunks(object):
    """Samples that are not sent yet. Used only between samples."""

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
        """Send the samples, then free the young garbage that they left."""
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
