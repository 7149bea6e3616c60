import math
import random

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.adapters.timing import stopping
from velodrome.adapters.timing.stopping import (
    find_stop_reason,
    has_converged,
    judge,
    schedule_next_check,
)

MS = 1_000_000
# Half-width 3.5 of 99.5, see test_intervals; 9 between the least and the greatest.
TEN = [ms * MS for ms in (95, 104, 96, 103, 97, 102, 98, 101, 99, 100)]
FORTY = 4 * TEN  # of 40, ranks 14 and 27: 98 and 101 ms, half-width 1.5 of 99.5


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"target": 0.0151, "min_samples": 40, "min_seconds": 3.98}, "target"),
        ({"target": 0.0150, "min_samples": 40, "min_seconds": 3.98}, ""),
        ({"target": 0.0151, "min_samples": 41, "min_seconds": 3.98}, ""),
        ({"target": 0.0151, "min_samples": 40, "min_seconds": 3.99}, ""),
        ({"target": 0.0150, "min_samples": 40, "max_seconds": 3.98}, "max_seconds"),
        ({"target": 0.0151, "min_samples": 99, "max_seconds": 3.98}, "target"),
        ({"target": 0.0151, "min_samples": 99, "max_seconds": 3.99}, ""),
    ],
)
def test_forty_samples_of_3980_ms_worked_by_hand(limits, reason):
    assert find_stop_reason(FORTY, Timing(**limits)) == reason


def test_ten_samples_suffice_only_within_a_quarter_of_the_target():
    timing = {"min_samples": 10, "min_seconds": 0.0}
    assert find_stop_reason(TEN, Timing(target=0.189, **timing)) == ""
    assert find_stop_reason(TEN, Timing(target=0.190, **timing)) == "target"  # 9 of 95 is 0.0947


def test_the_cap_ends_the_timing_with_the_samples_so_far():
    assert find_stop_reason(TEN, Timing(target=0.189, max_seconds=0.9)) == "max_seconds"
    assert find_stop_reason(TEN, Timing(target=0.190, max_seconds=0.9)) == "target"


def test_the_cap_applies_only_from_three_samples_on():
    timing = Timing(max_seconds=1.0)
    assert find_stop_reason([5000 * MS] * 2, timing) == ""
    assert find_stop_reason([5000 * MS] * 3, timing) == "max_seconds"


def test_five_equal_samples_meet_no_target_since_five_cannot_cover_a_median():
    timing = Timing(min_samples=3, min_seconds=0.0)
    assert find_stop_reason([MS] * 5, timing) == ""
    assert find_stop_reason([MS] * 6, timing) == "target"


def test_timing_a_drifting_speed_ends_before_the_cap():
    drifting = [int(50 * MS * (1 + 0.002 * i)) for i in range(200)]
    assert find_stop_reason(drifting, Timing(max_seconds=30)) == "settled"
    assert find_stop_reason(drifting[:99], Timing(max_seconds=30)) == ""
    assert find_stop_reason(drifting, Timing(max_seconds=300)) == ""


@pytest.mark.parametrize("percent", [3, 10, 50])
def test_a_drifting_speed_is_never_stable(percent):
    """Over 100 samples, with noise of 0.3 %, and whichever way."""
    draw = random.Random(percent)
    for sign in (1, -1):
        for _ in range(25):
            noise = [draw.gauss(0, 0.003) for _ in range(100)]
            drifting = [MS * (1 + sign * percent / 1e4 * i + e) for i, e in enumerate(noise)]
            assert not any(judge(drifting[:count], 0.01).stable for count in (60, 80, 100))
            assert judge(drifting, 0.01).drift > 0.6 * percent / 100


def test_a_wave_and_a_step_are_detected_too():
    wave = [MS * (1 + 0.02 * math.sin(i / 10)) for i in range(200)]
    step = [MS * (1.0 if i < 140 else 1.02) for i in range(200)]
    assert judge(step, 0.01).drift == pytest.approx(0.02)
    assert not judge(step, 0.01).stable and not judge(wave, 0.01).stable


def test_a_drift_below_the_target_is_reported_and_harmless():
    verdict = judge([MS * (1 + 0.00004 * i) for i in range(100)], 0.01)
    assert verdict.stable and 0.002 < verdict.drift < 0.004


def test_pure_noise_seldom_counts_as_drift():
    draw = random.Random(7)
    runs = [[MS * draw.lognormvariate(0, 0.02) for _ in range(80)] for _ in range(200)]
    found = sum(judge(run, 0.01).drift > 0 for run in runs)
    assert found < 0.2 * len(runs)  # three looks at 5 % each; then a few more samples are taken


def test_bimodal_samples_are_unstable_however_narrow_their_interval():
    draw = random.Random(4)
    runs = {
        share: [
            MS * (1.3 if draw.random() < share else 1) * draw.gauss(1, 0.001) for _ in range(400)
        ]
        for share in (0.1, 0.35)
    }
    assert judge(runs[0.35], 0.01).interval.relative_half_width < 0.001
    assert not judge(runs[0.35], 0.01).stable
    assert judge(runs[0.1], 0.01).stable  # the rarer ones are too few to move the median


def test_a_mode_in_three_long_stretches_does_not_count_as_rare():
    samples = [1.3 * MS if i % 100 < 12 else MS + i % 7 for i in range(300)]
    assert not judge(samples, 0.01).stable


def find_instability(samples, target=0.01):
    """Return (instability reason, True if the bounds are valid)."""
    found = judge(samples, target)
    return found.instability, found.bounded


def test_three_samples_give_no_interval_however_similar_they_are():
    assert find_instability([MS, MS, MS + 1]) == ("few", False)
    assert find_instability([MS, 2 * MS, 3 * MS]) == ("few", False)  # too few before too wide


def test_six_similar_samples_meet_the_target_and_give_no_interval():
    assert find_instability([MS + i for i in range(6)]) == ("", False)


def test_thirty_independent_samples_give_an_interval_of_the_median():
    draw = random.Random(8)
    samples = [MS * draw.gauss(1, 0.1) for _ in range(60)]
    assert find_instability(samples, target=0.08) == ("", True)
    assert find_instability(samples, target=0.01) == ("wide", True)


def test_slow_noise_under_fast_noise_is_reported_and_gives_no_interval():
    draw = random.Random(9)
    waves = [
        [
            MS * (1 + 0.01 * math.sin(math.pi * i / 300 + 1) + draw.gauss(0, 0.03))
            for i in range(1000)
        ]
        for _ in range(20)
    ]
    found = [find_instability(wave, target=0.02) for wave in waves]
    assert found.count(("slow", False)) >= 14
    assert {doubt for doubt, _ in found} <= {"slow", "drift"}


def test_slow_noise_small_against_the_target_meets_it_and_gives_no_interval():
    draw = random.Random(9)
    waves = [
        [
            MS * (1 + 0.004 * math.sin(math.pi * i / 300 + 1) + draw.gauss(0, 0.012))
            for i in range(1000)
        ]
        for _ in range(20)
    ]
    assert {find_instability(wave, target=0.05) for wave in waves} == {("", False)}


def test_alternating_speeds_miss_the_target_even_if_the_halves_are_alike():
    draw = random.Random(11)
    wave = [MS * (1 + 0.05 * (-1) ** (i // 120) + draw.gauss(0, 0.01)) for i in range(960)]
    doubt, bounded = find_instability(wave, target=0.01)
    assert doubt and not bounded


def test_a_drift_within_a_wide_interval_keeps_the_interval():
    draw = random.Random(10)
    samples = [MS * (1 + 0.0001 * i + draw.gauss(0, 0.3)) for i in range(100)]
    assert find_instability(samples, target=0.01) == ("wide", True)


def test_timing_bimodal_samples_ends_before_the_cap():
    draw = random.Random(4)
    samples = [int(MS * (60 if draw.random() < 0.35 else 50)) for _ in range(200)]
    assert find_stop_reason(samples, Timing(max_seconds=30)) == "settled"


def test_independent_noise_is_timed_to_the_cap():
    draw = random.Random(3)
    ends = [last_reason(lambda: int(50 * MS * draw.lognormvariate(0, 0.2))) for _ in range(20)]
    assert ends.count("settled") <= 4


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
    assert has_converged(samples) is answer


def test_a_slow_speed_up_is_detected_by_growing_windows():
    creeping = [100 - 0.1 * i for i in range(400)]
    assert has_converged(creeping[-10:])
    assert not has_converged(creeping)


def test_each_of_a_million_samples_is_read_five_times_at_most():
    looks = [3]
    while looks[-1] < 1_000_000:
        looks.append(schedule_next_check(looks[-1]))
    assert looks[:6] == [3, 4, 5, 6, 7, 8]
    assert sum(looks[:-1]) <= 5 * 1_000_000


def last_reason(draw):
    samples, check_at, timing = [], stopping.MIN_SAMPLES, Timing(max_seconds=20)
    while True:
        samples.append(draw())
        if len(samples) >= check_at:
            check_at = schedule_next_check(len(samples))
            reason = find_stop_reason(samples, timing)
            if reason:
                return reason
