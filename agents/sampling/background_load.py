"""What others did on the machine while a task was timed, and what a hypervisor took."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling import interference_thresholds as bounds
from velodrome.agents.sampling.interference_finding import Disturbance, Weight
from velodrome.agents.sampling.interference_sources import NOBODY, culprits
from velodrome.agents.sampling.process_counters import TICK_NS
from velodrome.agents.sampling.utilization import TIMED
from velodrome.agents.sampling.windows import Stretch

# A sandbox may count what a CPU does otherwise than what a process does, or not at all.
COUNTED_SHARE = 0.5
# Who disturbed at the end may be looked for just after it.
LATE_LOOK_NS = 2 * 10**9


@dataclass(frozen=True)
class Place:
    """How many CPUs: those a task's threads run on; with their SMT siblings; of the machine."""

    task_cpus: int
    core_cpus: int
    machine_cpus: int


def other_cpu_percent(stretch: Stretch) -> float | None:
    """Of others on the task's cores. None: too few readings, or the kernel's counts are no use."""
    foreign = stretch.mean(_foreign)
    if foreign is None or stretch.count(_foreign) < bounds.FEWEST_READINGS:
        return None
    own = _own_percent(stretch)
    return None if own > 0 and foreign < -own * COUNTED_SHARE else foreign


def on_its_cores(readings: Sequence[Reading], place: Place) -> list[Disturbance]:
    """Others' work there while the task was timed, or else before."""
    timed = Stretch(readings, TIMED)
    during = other_cpu_percent(timed)
    earlier = _before(readings)
    before = other_cpu_percent(earlier)
    early = before is not None and before > bounds.BEFORE_PERCENT
    if during is not None and during > _bound(timed, during, place):
        when = "before and while" if early else "while"
        story = f"its cores were used by others {when} it was timed, {during:.0f} % of one core"
        return [Disturbance(f"{story}: {_who(readings, timed, during)}")]
    if before is not None and early:
        story = f"its cores were used by others before it was timed, {before:.0f} % of one core"
        names = ", ".join(culprits(earlier.inside, near=True))
        return [Disturbance(f"{story}: {names}" if names else story, Weight.REPORTED)]
    return []


def elsewhere(readings: Sequence[Reading], place: Place) -> list[Disturbance]:
    """Others' work on the rest of the machine, while the task was timed."""
    timed = Stretch(readings, TIMED)
    percent = timed.mean(lambda reading: reading.other_cores_percent)
    room = 100 * (place.machine_cpus - place.core_cpus)
    if percent is None or percent <= bounds.TOLERATED_PERCENT:
        return []
    no_cpu_free = percent > room - 100 + bounds.TOLERATED_PERCENT
    crowded = percent > room * bounds.CROWDED_SHARE + bounds.TOLERATED_PERCENT
    names = ", ".join(culprits(_since_timed(readings), near=False))
    story = f"others used {percent / 100:.1f} of the {room // 100} other CPUs while it was timed"
    weight = Weight.FLAGGED if no_cpu_free or crowded else Weight.REPORTED
    return [Disturbance(f"{story}: {names}" if names else story, weight)]


def stolen(readings: Sequence[Reading]) -> list[Disturbance]:
    percent = Stretch(readings, TIMED).mean(lambda reading: reading.steal_percent)
    if percent is None or percent <= bounds.STEAL_PERCENT:
        return []
    return [Disturbance(f"other machines took {percent:.1f} % of its cores' time (steal)")]


def _foreign(reading: Reading) -> float | None:
    return reading.other_cpu_percent


def _own_percent(stretch: Stretch) -> float:
    return stretch.mean(lambda reading: reading.cpu_percent) or 0.0


def _before(readings: Sequence[Reading]) -> Stretch:
    first = next((r.at_ns for r in readings if r.phase in TIMED), math.inf)
    early = [reading for reading in readings if reading.at_ns < first]
    return Stretch(early, {reading.phase for reading in early})


def _bound(timed: Stretch, foreign: float, place: Place) -> float:
    """Percent of one core, with what chance may add to it."""
    ticks = place.core_cpus * timed.known_s(_foreign) * 1e9 / TICK_NS
    busy = (foreign + _own_percent(timed)) / (100 * place.core_cpus)
    share = min(max(busy, 0.0), 1.0)
    deviation = math.sqrt(share * (1 - share) / ticks) * 100 * place.core_cpus
    return bounds.foreign_bound(place.task_cpus) + bounds.CERTAINTY_SIGMAS * deviation


def _who(readings: Sequence[Reading], timed: Stretch, foreign: float) -> str:
    """Who did it, as far as it can be told."""
    interrupts = timed.mean(lambda reading: reading.interrupt_percent) or 0.0
    names = list(culprits(_since_timed(readings), near=True))
    if interrupts > foreign / 2:
        names.append("interrupts")
    return ", ".join(names) or NOBODY


def _since_timed(readings: Sequence[Reading]) -> Sequence[Reading]:
    """From the first timed phase to the look that ends after the last one, if that is soon."""
    places = [place for place, reading in enumerate(readings) if reading.phase in TIMED]
    first, last = places[0], places[-1]
    until_ns = readings[last].at_ns + LATE_LOOK_NS
    after = next(
        (
            place
            for place, reading in enumerate(readings)
            if place > last and reading.suspects and reading.at_ns < until_ns
        ),
        last,
    )
    return readings[first : after + 1]
