"""The share of intervals that miss the true median: of one process, and of a cell.

    python benchmarks/calibration.py [--trials 10000] [--json FILE]

Every trial runs velodrome.adapters.worker.call_timing.time_calls with its stopping rules, as a
worker does; but the stopwatch takes its times from a series with a known true median. The table has
the share of rows that are stable, the share whose samples bound the median, and the share of these
whose bounds contain the true one. A series that drifts has no true median, and none of its rows
should be stable. Samples do not show noise that lasts longer than they do, so no report prints
these bounds.

The intervals of a report are tested on cells whose processes are drawn from these trials, by
velodrome.scheduler.reports.cell_times.combine_repeats: of 1, 3 and 6 processes, and of 1 and 3 with
six other sweeps. `printed` is the share of cells that get an interval, and `coverage` the share of
these intervals that contain the median of all processes.

The noise is given in targets (of 1 %). With 0.3, even slow noise leaves the median mostly within
the target. With 1, a standard deviation of 1 %, the minimum number of samples is enough for an
independent series, so that the rule never chooses when to stop. With 3, the rule tests several
times and stops when the interval is narrow.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy
from scipy.signal import lfilter
from scipy.special import ndtri

from velodrome.adapters.protocol import Timed, Timing
from velodrome.adapters.worker.call_timing import Calls, WarmUp, time_calls
from velodrome.scheduler.reports.cell_times import Time, combine_repeats, make_repeat
from velodrome.scheduler.statistics.cell_interval import estimate_from_sweeps
from velodrome.scheduler.statistics.replication import Repeat

Draw = numpy.random.Generator
Series = Callable[[Draw, int], numpy.ndarray]  # of true median 0 and a deviation of about 1

CALL_NS = 20_000_000
MOST = 1000  # samples, about: the limit of a trial
RECORD = 7500  # samples, 150 s
CELLS = 2000  # drawn from the trials of a series, for each number of processes
OTHER_SWEEPS = 6
TIMING = Timing(min_seconds=0.2, max_seconds=MOST * CALL_NS / 1e9)


def independent(draw: Draw, count: int) -> numpy.ndarray:
    return draw.standard_normal(count)


def autoregressive(phi: float) -> Series:
    """Return a Gaussian AR(1) series that starts in its stationary distribution."""

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


def flicker(share: float) -> Series:
    """1/f noise over a record of 150 s, with `share` of the variance; the rest is independent.

    The true median is that of the record, of which a trial takes a part at random.
    """

    def series(draw: Draw, count: int) -> numpy.ndarray:
        frequencies = numpy.fft.rfftfreq(RECORD)[1:]
        parts = draw.standard_normal((2, len(frequencies))) * frequencies**-0.5
        slow = numpy.fft.irfft(numpy.append(0, parts[0] + 1j * parts[1]), RECORD)
        quick = draw.standard_normal(RECORD)
        record = share**0.5 * slow / slow.std() + (1 - share) ** 0.5 * quick
        begin = draw.integers(0, RECORD - count)
        return (record - numpy.median(record))[begin : begin + count]

    return series


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
    "AR(1) 0.95": (autoregressive(0.95), True),
    "AR(1) 0.98": (autoregressive(0.98), True),
    "heavy-tailed, t of 2": (heavy, True),
    "skewed, AR(1) 0.6": (skewed, True),
    "bimodal": (bimodal(1.0), True),
    "bimodal, modes that last": (bimodal(3.0), True),
    "states that last 30 s": (bimodal(1500.0), True),
    "two time scales": (two_speeds, True),
    "1/f": (flicker(1.0), True),
    "1/f, half of the variance": (flicker(0.5), True),
    "1/f, a fifth of the variance": (flicker(0.2), True),
    "drift of 3 % in 100": (drifting(3.0), False),
    "drift of 5 % in 100": (drifting(5.0), False),
    "drift of 10 % in 100": (drifting(10.0), False),
    "speeding up": (speeding_up, False),
    "a wave of 5 %": (waving, False),
}


KINDS_OF_CELLS = (  # name, processes, other sweeps
    ("of_1", 1, 0),
    ("of_3", 3, 0),
    ("of_6", 6, 0),
    ("of_1_by_history", 1, OTHER_SWEEPS),
    ("of_3_by_history", 3, OTHER_SWEEPS),
)


class Script:
    """A stopwatch with fixed times; the clock moves by these only."""

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
    return time_calls("forward", calls, WarmUp(1, 1), TIMING, lambda chunk: None)


def trials(series: Series, noise: float, count: int, seed: int) -> Iterator[Timed]:
    draw = numpy.random.default_rng(seed)
    for _ in range(count):
        # The cap is one of seconds: a series of short samples needs more of them.
        yield trial(series(draw, 2 * MOST), noise)


def holds(timed: Timed) -> bool:
    return timed.low_ns <= CALL_NS <= timed.high_ns


def is_off(timed: Timed) -> bool:
    return timed.stable and abs(timed.median_ns / CALL_NS - 1) > TIMING.target


def try_series(name: str, noise: float, count: int) -> dict[str, object]:
    """Return a row of the table. missed: share of trials whose bounds miss the true median.

    off: share of trials that are stable but further from the true median than the target.
    """
    series, has_median = SERIES[name]
    seed = sum(name.encode()) + int(1000 * noise)
    found = list(trials(series, noise, count, seed))
    bounded = [timed for timed in found if timed.bounded]
    covered = sum(map(holds, bounded))
    row = {
        "series": name,
        "noise_percent": 100 * noise,
        "trials": count,
        "stable": round(sum(timed.stable for timed in found) / count, 4),
        "bounded": round(len(bounded) / count, 4),
        "coverage_of_bounds": round(covered / len(bounded), 4) if has_median and bounded else None,
        "missed": round((len(bounded) - covered) / count, 4) if has_median else None,
        "off": round(sum(map(is_off, found)) / count, 4) if has_median else None,
        "median_samples": int(numpy.median([timed.samples for timed in found])),
    }
    return {**row, **(_cells(found, numpy.random.default_rng(seed)) if has_median else {})}


def _cells(found: Sequence[Timed], draw: Draw) -> dict[str, object]:
    """Summarize these processes' cells as a report does."""
    true_ns = float(numpy.median([timed.median_ns for timed in found]))
    shares: dict[str, object] = {"cells": CELLS}
    for name, processes, sweeps in KINDS_OF_CELLS:
        times = [_cell(found, draw, processes, sweeps) for _ in range(CELLS)]
        printed = [time.bounds for time in times if time.bounds]
        held = sum(low_ns <= true_ns <= high_ns for low_ns, high_ns in printed)
        shares[f"{name}_printed"] = round(len(printed) / CELLS, 4)
        shares[f"{name}_coverage"] = round(held / len(printed), 4) if printed else None
    return shares


def _cell(found: Sequence[Timed], draw: Draw, processes: int, sweeps: int) -> Time:
    picked = [found[i] for i in draw.choice(len(found), processes + sweeps, replace=False)]
    before = estimate_from_sweeps(timed.median_ns for timed in picked[processes:])
    return combine_repeats(
        [_repeat(timed) for timed in picked[:processes]], [before] if before else []
    )


def _repeat(timed: Timed) -> Repeat:
    """Convert a row as a report does."""
    bounds = (timed.low_ns, timed.high_ns) if timed.bounded else (None, None)
    return make_repeat(timed.median_ns, *bounds, timed.samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--only", default="", help="a part of a series' name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    gc.freeze()  # time_calls collects garbage before it begins; what is imported is none
    rows = []
    for name, (_, has_median) in SERIES.items():
        for noise in (0.003, 0.01, 0.03) if has_median else (0.01,):
            if options.only in name:
                rows.append(try_series(name, noise, options.trials))
                print(*(f"{value}" for value in rows[-1].values()), sep="\t", flush=True)
    if options.json:
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.json.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    sys.exit(main())
