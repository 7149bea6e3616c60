import random
import time

import pytest

from velodrome.adapters import stopping
from velodrome.adapters.protocol import Timing
from velodrome.adapters.stopping import next_check, settled, stop_reason

MS = 1_000_000
# Half-width 3.5 of 99.5, see test_intervals.
TEN = [
    95 * MS,
    104 * MS,
    96 * MS,
    103 * MS,
    97 * MS,
    102 * MS,
    98 * MS,
    101 * MS,
    99 * MS,
    100 * MS,
]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"target": 0.036, "min_samples": 10, "min_seconds": 0.9}, "target"),
        ({"target": 0.035, "min_samples": 10, "min_seconds": 0.9}, ""),
        ({"target": 0.036, "min_samples": 11, "min_seconds": 0.9}, ""),
        ({"target": 0.036, "min_samples": 10, "min_seconds": 1.0}, ""),
        ({"target": 0.035, "min_samples": 10, "max_seconds": 0.99}, "max_seconds"),
        ({"target": 0.036, "min_samples": 99, "max_seconds": 0.99}, "target"),
        ({"target": 0.036, "min_samples": 99, "max_seconds": 1.0}, ""),
    ],
)
def test_ten_samples_of_995_ms_in_all(limits, reason):
    assert stop_reason(TEN, Timing(**limits)) == reason


def test_the_cap_holds_only_from_three_samples_on():
    timing = Timing(max_seconds=1.0)
    assert stop_reason([5000 * MS] * 2, timing) == ""
    assert stop_reason([5000 * MS] * 3, timing) == "max_seconds"


def test_five_equal_samples_meet_no_target_since_five_cannot_cover_a_median():
    timing = Timing(min_samples=3, min_seconds=0.0)
    assert stop_reason([MS] * 5, timing) == ""
    assert stop_reason([MS] * 6, timing) == "target"


def test_speed_that_drifts_settles_before_the_cap():
    drifting = [int(50 * MS * (1 + 0.002 * i)) for i in range(200)]
    assert stop_reason(drifting, Timing(max_seconds=30)) == "settled"
    assert stop_reason(drifting[:99], Timing(max_seconds=30)) == ""
    assert stop_reason(drifting, Timing(max_seconds=300)) == ""


def test_independent_noise_is_given_all_its_time():
    draw = random.Random(3)
    ends = [last_reason(lambda: int(50 * MS * draw.lognormvariate(0, 0.2))) for _ in range(20)]
    assert ends.count("settled") <= 2


@pytest.mark.parametrize(
    ("samples", "answer"),
    [
        ([100] * 9, False),  # two windows of five are needed
        ([100] * 10, True),
        ([100] * 5 + [96] * 5, True),
        ([100] * 5 + [94] * 5, False),
        ([50] * 5 + [100] * 5, True),  # slower does not mean that it still warms up
        ([900, 300] + [100] * 8, True),  # one sample alone decides nothing
        ([100 - i for i in range(40)], False),
        ([100 * 0.98**i for i in range(20)], False),
        ([100 * 0.999**i for i in range(20)], True),
    ],
)
def test_a_warm_up_is_over_when_the_later_window_is_not_five_percent_faster(samples, answer):
    assert settled(samples) is answer


def test_a_slow_gain_is_seen_over_windows_that_grow_with_the_samples():
    creeping = [100 - 0.1 * i for i in range(400)]
    assert settled(creeping[-10:])
    assert not settled(creeping)


def test_a_million_samples_are_looked_at_so_seldom_that_each_is_read_five_times():
    looks = [3]
    while looks[-1] < 1_000_000:
        looks.append(next_check(looks[-1]))
    assert looks[:6] == [3, 4, 5, 6, 7, 8]
    assert sum(looks[:-1]) <= 5 * 1_000_000
    cost_us = 5 * microseconds_of_a_look(20_000) / 20_000
    print(f"deciding when to stop costs {cost_us:.1f} us a sample, between samples")


def microseconds_of_a_look(count):
    draw = random.Random(1)
    samples = [draw.randrange(MS, 2 * MS) for _ in range(count)]
    started_ns = time.perf_counter_ns()
    stop_reason(samples, Timing(target=0.0))
    return (time.perf_counter_ns() - started_ns) / 1000


def last_reason(draw):
    samples, check_at, timing = [], stopping.FEWEST, Timing(max_seconds=20)
    while True:
        samples.append(draw())
        if len(samples) >= check_at:
            check_at = next_check(len(samples))
            reason = stop_reason(samples, timing)
            if reason:
                return reason
