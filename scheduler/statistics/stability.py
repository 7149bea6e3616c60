"""Stability of a time over repeats: the reason if it is unstable, and the repeats it needs.

n repeats with a spread of s between their medians give an interval of plus or minus t s / sqrt(n),
t Student's of n - 1 degrees; n is raised until that is within the target. For large n it becomes
(1.96 s / target)^2, which is pyperf's rule, n = 4 * 1.96^2 * s^2 / W^2, with W the whole width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.statistics import replication

TARGET = 0.05  # half of the interval over the median
MOST = 1000  # repeats


@dataclass(frozen=True)
class Stability:
    """The stability of a time. reason: one line, empty if stable. needed: further repeats.

    needed None: more repeats will not help, or one repeat cannot show it.
    """

    reason: str = ""
    needed: int | None = 0

    @property
    def is_stable(self) -> bool:
        return not self.reason


def assess_stability(repeats: Sequence[replication.Repeat], *, target: float = TARGET) -> Stability:
    """Judge one or more repeats, each stable by its own samples."""
    count = len(repeats)
    if count == 1:
        return Stability(needed=None)
    found = replication.combine_repeats(repeats)
    if found.half_width <= target:
        return Stability()
    needed = count_repeats_needed(math.sqrt(replication.compute_spread(repeats).variance), target)
    # There may be enough repeats for this spread already: then the interval is off-centre.
    needed = max(needed - count, 1) if needed is not None else None
    medians = [repeat.median_ns for repeat in repeats]
    spread = format_spread(max(medians) / min(medians))
    reason = f"{count} processes that differ by {spread} do not determine it to {100 * target:g} %"
    return Stability(reason, needed)


def format_spread(ratio: float) -> str:
    """Format the largest over the smallest: `3.4%`, and from twice as much on `27x`."""
    if ratio >= 2:
        return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"
    return f"{100 * (ratio - 1):.1f}%"


def count_repeats_needed(deviation: float, target: float) -> int | None:
    """Return the repeats that bring the interval within the target; None: above MOST.

    deviation: between the logarithms of process medians. target: 0.05 is plus or minus 5 %.
    """
    width = math.log1p(target)
    for count in range(max(2, math.floor((replication.Z * deviation / width) ** 2)), MOST + 1):
        if replication.half_width_factor(count - 1) * deviation / math.sqrt(count) <= width:
            return count
    return None
