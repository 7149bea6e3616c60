"""Share of a call on several devices that is communication, measured and predicted. Pure.

Measured: the time of all devices less that of one device on its own share of the batch, over the
time of all. It is 1 less the efficiency of weak scaling, and holds all that several devices add:
the part of the exchange that computing does not hide, waiting for the slowest, and what the devices
share, such as the memory of one CPU.

Predicted: the time of an all-reduce of the gradients' size, by the same framework on the same
devices, over the time of all, as if nothing hid it. Between two measured sizes the time lies on the
line through the nearest ones: latency and size over bandwidth (R. W. Hockney, Parallel Computing
20 (3), 1994). Beyond the measured sizes there is no prediction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import find_operation
from velodrome.adapters.models.shapes import list_trained
from velodrome.adapters.models.sizes import VALUE_BYTES
from velodrome.agents.task import USUAL_DTYPE
from velodrome.scheduler.reports.cell_keys import Platform, read_platform
from velodrome.scheduler.reports.cell_times import Time, combine_repeats, read_repeats
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.replication import Repeat

EXCHANGING_PHASES = ("gradient", "step")


@dataclass(frozen=True)
class TimeShare:
    """A share of a time with the bounds of its interval, None without one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Communication:
    """The share of a call that is communication; None where rows to tell it from are lacking.

    all_reduces: the models that the prediction is from. gradient_bytes: of all gradients; 0 without
    a prediction.
    """

    measured: TimeShare | None = None
    predicted: TimeShare | None = None
    all_reduces: tuple[str, ...] = ()
    gradient_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.measured or self.predicted)


UNKNOWN_COMMUNICATION = Communication()


class AllReduceTimes:
    """Times of all-reduces by size, of each framework on each platform."""

    def __init__(self, rows: Iterable[TaskRow]) -> None:
        """rows: last attempts of one sweep; others than verified all-reduces do not count."""
        runs: dict[tuple[Platform, str], dict[tuple[str, str], list[TaskRow]]] = {}
        for row in rows:
            operation = find_operation(MODELS.get(row.model))
            if operation == "allreduce" and row.has_number and row.verified:
                where = (_in_float32(read_platform(row)), row.framework)
                runs.setdefault(where, {}).setdefault((row.model, row.variant), []).append(row)
        self._times = {where: _find_fastest(own) for where, own in runs.items()}

    def predict(
        self, platform: Platform, framework: str, model: str, repeats: Sequence[Repeat]
    ) -> Communication:
        """Predict the share of a model's times on a platform; unknown without fitting rows."""
        known = self._times.get((_in_float32(platform), framework), {})
        size = count_gradient_bytes(model)
        if not known or not size or not repeats:
            return UNKNOWN_COMMUNICATION
        below = max((one for one in known if one <= size), default=0)
        above = min((one for one in known if one >= size), default=0)
        if not below or not above:
            return UNKNOWN_COMMUNICATION
        time = combine_repeats(repeats)
        if not time.median_ns > 0:
            return UNKNOWN_COMMUNICATION
        weight = (size - below) / (above - below) if above > below else 0.0
        (model_below, ends_below), (model_above, ends_above) = known[below], known[above]
        exchange = _interpolate(ends_below, ends_above, weight)
        names = tuple(dict.fromkeys((model_below, model_above)))
        return Communication(None, divide_times(exchange, time), names, size)


def count_gradient_bytes(model: str) -> int:
    """Count the bytes of all gradients, which are float32 in every precision; 0 if unknown."""
    known = MODELS.get(model)
    return sum(VALUE_BYTES * entry.size for entry in list_trained(known)) if known else 0


def measure_share(efficiency: float, bounds: tuple[float, float] | None) -> TimeShare:
    """Return the measured share from the efficiency of weak scaling and its interval.

    Slightly below 0 if several devices took less time than one: noise.
    """
    if bounds is None:
        return TimeShare(1 - efficiency)
    low, high = bounds
    return TimeShare(1 - efficiency, 1 - high, 1 - low)


def divide_times(part: Time, whole: Time) -> TimeShare:
    """Return a time over another; the interval is from the ends of both."""
    share = part.median_ns / whole.median_ns
    if part.bounds is None or whole.bounds is None or not whole.bounds[0] > 0:
        return TimeShare(share)
    return TimeShare(share, part.bounds[0] / whole.bounds[1], part.bounds[1] / whole.bounds[0])


def _find_fastest(
    runs: Mapping[tuple[str, str], Sequence[TaskRow]],
) -> dict[int, tuple[str, Time]]:
    """Return by size in bytes the model and the shortest time of any variant."""
    found: dict[int, tuple[str, Time]] = {}
    for (model, _), rows in runs.items():
        repeats = read_repeats(rows, "forward")
        if not repeats:
            continue
        size = VALUE_BYTES * MODELS[model].input.size  # type: ignore[union-attr]  # all Vectors
        time = combine_repeats(repeats)
        if size not in found or time.median_ns < found[size][1].median_ns:
            found[size] = (model, time)
    return found


def _interpolate(below: Time, above: Time, weight: float) -> Time:
    """Return the time on the line between two. weight: of the second, 0 to 1."""

    def between(first: float, second: float) -> float:
        return (1 - weight) * first + weight * second

    median_ns = between(below.median_ns, above.median_ns)
    if below.bounds is None or above.bounds is None:
        return Time(median_ns)
    low_ns, high_ns = map(between, below.bounds, above.bounds)
    return Time(median_ns, low_ns, high_ns)


def _in_float32(platform: Platform) -> Platform:
    """Return the platform as that of all-reduces: gradients are float32 in every precision."""
    return replace(platform, dtype=USUAL_DTYPE)
