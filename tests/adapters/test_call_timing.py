import gc
from itertools import pairwise

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.adapters.worker import call_timing
from velodrome.adapters.worker.call_timing import Calls, WarmUp, time_calls, warm_up

US, MS, SECOND = 1000, 1_000_000, 1_000_000_000
WARM = WarmUp(samples=7, passes=1)


class Track:
    """Calls of scripted lengths and the stopwatch that sees them: time moves by calls alone."""

    def __init__(self, length_ns, batches=1, overhead_ns=0):
        self._length_ns = length_ns
        self._overhead_ns = overhead_ns
        self.now_ns = 10**12
        self.began_ns = None
        self.indices = []
        self.collecting = set()
        self.calls = Calls(self.call, batches, self)

    def call(self, index):
        assert self.began_ns is not None, "a call outside a sample"
        self.now_ns += self._length_ns(len(self.indices))
        self.indices.append(index)
        self.collecting.add(gc.isenabled())

    def start(self):
        self.began_ns = self.now_ns
        return self.now_ns

    def stop(self):
        elapsed_ns = self.now_ns - self.began_ns + self._overhead_ns
        self.began_ns = None
        return elapsed_ns


def take_always(length_ns):
    return lambda number: length_ns


def time_phase(track, limits, warm=WARM):
    """(timed, chunks) of one phase; a chunk sent within a sample is an error."""
    chunks = []

    def send(chunk):
        assert track.began_ns is None, "sent within a sample"
        chunks.append(chunk)

    return time_calls("forward", track.calls, warm, limits, send), chunks


def test_a_stable_call_is_timed_for_the_minimum_time_only():
    timed, _ = time_phase(Track(take_always(100 * MS)), Timing(min_seconds=1.0))
    assert (timed.median_ns, timed.low_ns, timed.high_ns) == (100 * MS, 100 * MS, 100 * MS)
    assert (timed.stop_reason, timed.stable, timed.samples) == ("target", True, 10)
    assert (timed.calls, timed.warmup_samples) == (1, 7)


def test_a_call_longer_than_the_cap_is_timed_three_times_and_is_unstable():
    timed, _ = time_phase(Track(take_always(100 * SECOND)), Timing(max_seconds=60))
    assert (timed.samples, timed.stop_reason, timed.stable) == (3, "max_seconds", False)


def test_the_cap_applies_at_once_and_not_at_the_next_check():
    timed, _ = time_phase(Track(lambda number: (100 + number % 50) * MS), Timing(max_seconds=10))
    assert timed.stop_reason == "max_seconds"
    assert timed.samples == 83  # 100 + 101 + .. + 149, then 33 more: 10.053 s; the look is at 97


@pytest.mark.parametrize("length_ns", [2 * US, 7 * US, 300 * US, 999 * US])
def test_short_calls_are_grouped_into_samples_of_a_millisecond(length_ns):
    track = Track(take_always(length_ns))
    warm = warm_up(track.calls, Timing())
    timed, chunks = time_phase(track, Timing(min_seconds=0.1), warm)
    assert MS <= min(min(chunk.elapsed_ns) for chunk in chunks) <= 2.2 * MS
    assert {chunk.calls for chunk in chunks} == {warm.passes} == {timed.calls}
    assert timed.median_ns == length_ns


def test_a_call_of_a_millisecond_is_not_grouped():
    assert warm_up(Track(take_always(MS)).calls, Timing()).passes == 1


def test_a_stopwatch_slower_than_the_call_does_not_shorten_samples():
    track = Track(take_always(2 * US), overhead_ns=20 * US)
    warm = warm_up(track.calls, Timing())
    _, chunks = time_phase(track, Timing(min_seconds=0.1), warm)
    assert min(min(chunk.elapsed_ns) for chunk in chunks) >= MS


def test_a_slow_first_call_does_not_set_the_group_size():
    track = Track(lambda number: 5 * SECOND if number == 0 else 100 * US)
    assert warm_up(track.calls, Timing(max_seconds=60)).passes >= 10


def test_a_sample_of_several_batches_covers_all_and_is_reported_per_call():
    track = Track(lambda number: (number % 124 + 1) * MS, batches=124)
    timed, chunks = time_phase(track, Timing())
    assert track.indices[:248] == [*range(124), *range(124)]
    assert timed.calls == 124 and chunks[0].calls == 124
    assert timed.median_ns == 62.5 * MS  # the mean of 1 .. 124


def test_short_batches_are_grouped_by_whole_passes():
    track = Track(take_always(10 * US), batches=4)
    warm = warm_up(track.calls, Timing())
    assert warm.passes == 28  # 40 us a pass, a tenth more than 25
    assert time_phase(track, Timing(), warm)[1][0].calls == 4 * 28


def test_the_warm_up_ends_when_the_speed_has_converged():
    track = Track(lambda number: 200 * MS if number < 7 else 100 * MS)
    warm = warm_up(track.calls, Timing())
    timed, _ = time_phase(track, Timing(), warm)
    assert warm.converged and timed.settled
    assert warm.samples == 15  # looked at with 10 (five of each), 12, and 15
    assert timed.high_ns == 100 * MS


def test_a_warm_up_lasts_a_fifth_of_a_second_at_least():
    assert warm_up(Track(take_always(4 * MS)).calls, Timing()).samples >= 50


def test_a_call_that_never_converges_warms_up_for_half_of_the_cap():
    track = Track(lambda number: int(500 * MS * 0.98**number))
    warm = warm_up(track.calls, Timing(max_seconds=20))
    assert not warm.converged
    assert 10 * SECOND <= track.now_ns - 10**12 < 10.5 * SECOND


def test_a_speed_that_never_converges_is_reported_and_is_no_failure():
    timed, _ = time_phase(Track(take_always(100 * MS)), Timing(), WarmUp(7, 1, converged=False))
    assert not timed.settled and timed.stable


def test_a_call_that_slows_down_steadily_is_timed_to_the_cap_and_unstable():
    track = Track(lambda number: int(50 * MS * (1 + 0.002 * number)))
    timed, _ = time_phase(track, Timing(max_seconds=10))
    assert not timed.stable
    assert timed.drift > 0.1


def test_a_warm_up_lasts_fifteen_seconds_and_one_call_at_most():
    track = Track(lambda number: int(2 * SECOND * 0.9**number) + SECOND)
    warm_up(track.calls, Timing(max_seconds=1000))
    assert track.now_ns - 10**12 < 15 * SECOND + 3 * SECOND


def test_a_call_longer_than_any_warm_up_is_warmed_up_once():
    assert warm_up(Track(take_always(100 * SECOND)).calls, Timing()) == WarmUp(
        1, 1, converged=False
    )


def test_samples_are_sent_complete_and_in_order_every_half_second():
    track = Track(lambda number: (10 + number % 7) * MS)
    timed, chunks = time_phase(track, Timing(target=0.0, max_seconds=5))
    elapsed_ns = [length for chunk in chunks for length in chunk.elapsed_ns]
    started_ns = [start for chunk in chunks for start in chunk.started_ns]
    assert len(elapsed_ns) == timed.samples
    assert elapsed_ns == [(10 + number % 7) * MS for number in range(timed.samples)]
    assert [b - a for a, b in pairwise(started_ns)] == elapsed_ns[:-1]
    assert [chunk.first_index for chunk in chunks] == [
        sum(len(chunk.elapsed_ns) for chunk in chunks[:number]) for number in range(len(chunks))
    ]
    assert all(sum(chunk.elapsed_ns) < 0.52 * SECOND for chunk in chunks)
    assert len(chunks) <= 11


def test_the_garbage_collector_is_off_during_calls_and_on_afterwards():
    track = Track(take_always(100 * MS))
    warm_up(track.calls, Timing())
    time_phase(track, Timing())
    assert track.collecting == {False}
    assert gc.isenabled()


def test_the_garbage_collector_is_on_after_a_failed_call():
    with pytest.raises(ZeroDivisionError):
        warm_up(Track(lambda number: 1 // 0).calls, Timing())
    assert gc.isenabled()


def test_an_interval_that_misses_the_target_is_unstable():
    lengths_ns = [95, 104, 96, 103, 97, 102, 98, 101, 99, 100]
    timed = call_timing.summarize("forward", lengths_ns, 2, WarmUp(5, 1), "", 0.03)
    assert (timed.median_ns, timed.low_ns, timed.high_ns) == (49.75, 48, 51.5)
    assert not timed.stable
