import math

import numpy
import pytest

from velodrome.adapters.timing.low_frequency import (
    LIKELY,
    MIN_SAMPLES,
    compute_cosine_powers,
    estimate_inflation,
    rises_towards_zero,
)


def test_the_lowest_cosines_worked_by_hand():
    # Half a cycle over 4 values: cos of 22.5, 67.5, 112.5 and 157.5 degrees are 0.92388, 0.38268,
    # -0.38268 and -0.92388; of 1 1 -1 -1 their sum is 2.61313, its square 6.82843, and half of
    # that is the power, 3.41421. A whole cycle, 0.70711 -0.70711 -0.70711 0.70711, sums to none.
    found = compute_cosine_powers(numpy.array([1.0, 1, -1, -1]), 2)
    assert found == pytest.approx([3.41421, 0.0], abs=1e-5)


def test_joining_neighbours_keeps_the_lowest_frequencies():
    slow = numpy.cos(numpy.pi / 4000 * (numpy.arange(4000) + 0.5))
    (whole,) = compute_cosine_powers(slow, 1)
    assert whole == pytest.approx(2000, rel=0.01)  # n / 2 of a cosine of its own frequency


def test_fewer_than_thirty_samples_show_no_low_frequency_noise():
    signs = numpy.sign(numpy.arange(MIN_SAMPLES - 1) - 14.0)
    assert estimate_inflation(signs) == 0.0
    assert not rises_towards_zero(signs)


def test_equal_samples_show_no_low_frequency_noise():
    assert estimate_inflation(numpy.zeros(100)) == 0.0
    assert not rises_towards_zero(numpy.zeros(100))


def test_the_inflation_of_independent_samples_follows_students_t():
    draw = numpy.random.default_rng(1)
    found = [estimate_inflation(numpy.sign(draw.standard_normal(200))) for _ in range(500)]
    # (2.4469 / 1.96) ** 2 = 1.5586 on average.
    assert numpy.mean(found) == pytest.approx(1.5586, rel=0.08)


def test_slow_noise_is_detected_where_autocorrelation_misses_it():
    # A hundredth of the variance in a wave of 2000 samples, which is worth 4000 / 100 in its power.
    draw = numpy.random.default_rng(2)
    wave = 0.1 * 2**0.5 * numpy.cos(numpy.pi / 1000 * numpy.arange(4000))
    found = estimate_inflation(wave + draw.standard_normal(4000))
    assert found > 5


@pytest.mark.parametrize("count", [40, 100, 1000, 5000])
def test_a_flat_spectrum_seldom_seems_to_rise(count):
    draw = numpy.random.default_rng(count)
    runs = [numpy.sign(draw.standard_normal(count)) for _ in range(500)]
    assert 0.06 < sum(map(rises_towards_zero, runs)) / 500 < 0.14  # 10 % by the F distribution
    assert 0.42 < sum(rises_towards_zero(run, LIKELY) for run in runs) / 500 < 0.58


@pytest.mark.parametrize(("count", "least"), [(100, 0.75), (1000, 0.75)])
def test_a_1_over_f_spectrum_rises_at_any_length(count, least):
    draw = numpy.random.default_rng(count)
    frequencies = numpy.fft.rfftfreq(8 * count)[1:]

    def record():
        parts = draw.standard_normal((2, len(frequencies))) * frequencies**-0.5
        slow = numpy.fft.irfft(numpy.append(0, parts[0] + 1j * parts[1]))[:count]
        return numpy.sign(slow - numpy.median(slow))

    assert sum(rises_towards_zero(record()) for _ in range(200)) / 200 > least


def test_the_spectrum_of_a_lasting_state_rises():
    states = numpy.repeat([1.0, -1, 1, -1, -1, 1], 50)
    assert rises_towards_zero(states)
    assert estimate_inflation(states) > math.sqrt(300)
