"""How often a row that is called stable has an interval that misses the true median.

    python benchmarks/calibration.py [--trials 10000] [--json FILE]

Every trial is a run of velodrome.adapters.timing.time_calls, as a worker does it, with its stopping
rules; only that the stopwatch takes its lengths from a series whose true median is known. Shown
are the share of rows called stable, and of these the share whose 95 % interval holds the true
median; a series whose time drifts has no true median, and no row of it should be stable.

The noise is given in targets (of 1 %): with 1, a standard deviation of 1 %, an independent series
is known well enough within the least number of samples, so that there is no choice when to stop;
with 3, it is looked at several times, and stopped when it looks narrow.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
from scipy.signal import lfilter
from scipy.special import ndtri

from velodrome.adapters.protocol import Timed, Timing
from velodrome.adapters.timing import Calls, Warm, time_calls

Draw = numpy.random.Generator
Series = Callable[[Draw, int], numpy.ndarray]  # of true median 0 and a deviation of about 1

CALL_NS = 20_000_000
MOST = 1000  # samples or so: the cap of a trial
TIMING = Timing(min_seconds=0.2, max_seconds=MOST * CALL_NS / 1e9)


def independent(draw: Draw, count: int) -> numpy.ndarray:
    return draw.standard_normal(count)


def autoregressive(phi: float) -> Series:
    """Normal, of the first order, begun in its own distribution."""

    def series(draw: Draw, count: int) -> numpy.ndarray:
        steps = draw.standard_normal(count)
        steps[0] /= (1 - phi * phi) ** 0.5
        return lfilter([1.0], [1.0, -phi], steps) * (1 - phi * phi) ** 0.5

    return series


def bimodal(lasting: float) -> Series:
    """65 % in a fast mode, the rest slower by 30 deviations; a mode lasts `lasting` samples or so.

    The true median lies in the fast mode, where half of all lie below it.
    """

    def series(draw: Draw, count: int) -> numpy.ndarray:
        slow, into, out_of = draw.random() < 0.35, 0.35 / lasting, 0.65 / lasting
        modes = numpy.empty(count)
        for index, lot in enumerate(draw.random(count)):
            modes[index] = slow
            slow = lot >= out_of if slow else lot < into
        return draw.standard_normal(count) + 30 * modes - ndtri(0.5 / 0.65)

    return series


def heavy(draw: Draw, count: int) -> numpy.ndarray:
    """Student's t of 2 degrees: of infinite variance."""
    return draw.standard_t(2, count)


def skewed(draw: Draw, count: int) -> numpy.ndarray:
    """A dependent lognormal: mostly near its least, with slow stretches."""
    return numpy.exp(autoregressive(0.6)(draw, count)) - 1


def two_speeds(draw: Draw, count: int) -> numpy.ndarray:
    """A third of the variance lasts some 20 samples, the rest none: the hardest to see."""
    slow, quick = autoregressive(0.95)(draw, count), draw.standard_normal(count)
    return (0.3**0.5) * slow + (0.7**0.5) * quick


def drifting(percent_a_hundred: float) -> Series:
    """Slower by so many percent every hundred samples; given noise of one target."""

    def series(draw: Draw, count: int) -> numpy.ndarray:
        return draw.standard_normal(count) + percent_a_hundred * numpy.arange(count) / 100

    return series


def speeding_up(draw: Draw, count: int) -> numpy.ndarray:
    """A warm-up that was not waited for: at first slower by 20 deviations, halved every 50."""
    return draw.standard_normal(count) + 20 * 0.5 ** (numpy.arange(count) / 50)


def waving(draw: Draw, count: int) -> numpy.ndarray:
    """Faster and slower by 5 deviations in turns that last 120 samples."""
    turn = draw.random() + numpy.arange(count) / 120
    return draw.standard_normal(count) + 5 * numpy.sin(2 * numpy.pi * turn)


SERIES: dict[str, tuple[Series, bool]] = {  # and whether it has a true median
    "independent": (independent, True),
    "AR(1) 0.3": (autoregressive(0.3), True),
    "AR(1) 0.5": (autoregressive(0.5), True),
    "AR(1) 0.7": (autoregressive(0.7), True),
    "AR(1) 0.9": (autoregressive(0.9), True),
    "heavy-tailed, t of 2": (heavy, True),
    "skewed, AR(1) 0.6": (skewed, True),
    "bimodal": (bimodal(1.0), True),
    "bimodal, modes that last": (bimodal(3.0), True),
    "two time scales": (two_speeds, True),
    "drift of 3 % in 100": (drifting(3.0), False),
    "drift of 5 % in 100": (drifting(5.0), False),
    "drift of 10 % in 100": (drifting(10.0), False),
    "speeding up": (speeding_up, False),
    "a wave of 5 %": (waving, False),
}


class Script:
    """A stopwatch whose lengths are written down beforehand; time moves by them alone."""

    def __init__(self, lengths_ns: numpy.ndarray) -> None:
        self._lengths = iter(lengths_ns.tolist())
        self._now_ns = 10**12

    def start(self) -> int:
        return self._now_ns

    def stop(self) -> int:
        elapsed_ns: int = next(self._lengths)
        self._now_ns += elapsed_ns
        return elapsed_ns


def trial(values: numpy.ndarray, noise: float) -> Timed:
    """noise: the deviation of a value of 1, relative to the true median."""
    lengths_ns = numpy.maximum(CALL_NS * (1 + noise * values), CALL_NS / 100).astype(int)
    calls = Calls(lambda index: None, 1, Script(lengths_ns))
    return time_calls("forward", calls, Warm(1, 1), TIMING, lambda chunk: None)


def trials(series: Series, noise: float, count: int, seed: int) -> Iterator[Timed]:
    draw = numpy.random.default_rng(seed)
    for _ in range(count):
        # The cap is one of seconds: a series of short samples needs more of them.
        yield trial(series(draw, 2 * MOST), noise)


def holds(timed: Timed) -> bool:
    return timed.low_ns <= CALL_NS <= timed.high_ns


def tried(name: str, noise: float, count: int) -> dict[str, object]:
    """A row of the table. missed: stable and yet beside the true median, of all trials."""
    series, has_median = SERIES[name]
    seed = sum(name.encode()) + int(1000 * noise)
    found = list(trials(series, noise, count, seed))
    stable = [timed for timed in found if timed.stable]
    covered = sum(map(holds, stable))
    return {
        "series": name,
        "noise_percent": 100 * noise,
        "trials": count,
        "stable": round(len(stable) / count, 4),
        "coverage_of_stable": round(covered / len(stable), 4) if has_median and stable else None,
        "missed": round((len(stable) - covered) / count, 4) if has_median else None,
        "median_samples": int(numpy.median([timed.samples for timed in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--only", default="", help="a part of a series' name")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    gc.freeze()  # time_calls collects garbage before it begins; what is imported is none
    rows = []
    for name, (_, has_median) in SERIES.items():
        for noise in (0.01, 0.03) if has_median else (0.01,):
            if asked.only in name:
                rows.append(tried(name, noise, asked.trials))
                print(*(f"{value}" for value in rows[-1].values()), sep="\t", flush=True)
    if asked.json:
        lines = ",\n".join(json.dumps(row) for row in rows)
        asked.json.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    sys.exit(main())
