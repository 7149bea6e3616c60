"""Figures over the readings of some phases: mean, growth, covered time."""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from velodrome.agents.measurement import Reading

Figure = Callable[[Reading], float | None]


class PhaseReadings:
    """The readings of some phases. readings: all readings, in order."""

    def __init__(self, readings: Sequence[Reading], phases: Collection[str]) -> None:
        self._readings = readings
        self._phases = phases

    @property
    def inside(self) -> list[Reading]:
        return [reading for reading in self._readings if reading.phase in self._phases]

    def mean(self, figure: Figure) -> float | None:
        """Return the mean; each value counts for the time since the one before. None: no value."""
        steps = self._steps(figure)
        total_ns = sum(elapsed_ns for _, elapsed_ns in steps)
        weighted = sum(value * elapsed_ns for value, elapsed_ns in steps)
        return weighted / total_ns if total_ns else None

    def count(self, figure: Figure) -> int:
        """Return the number of values in the mean."""
        return len(self._steps(figure))

    def covered_s(self, figure: Figure) -> float:
        """Return the time that the values cover."""
        return sum(elapsed_ns for _, elapsed_ns in self._steps(figure)) / 1e9

    def growth(self, total: Figure) -> float:
        """Return a counter's growth, from the last value before a phase on; 0 if unknown."""
        values = [(reading.phase, total(reading)) for reading in self._readings]
        known = [(phase, value) for phase, value in values if value is not None]
        steps = [b - a for (_, a), (phase, b) in pairwise(known) if phase in self._phases]
        return sum(step for step in steps if step > 0)

    def _steps(self, figure: Figure) -> list[tuple[float, int]]:
        """(value, ns). The first reading's value covers the time before it, so it is left out."""
        steps = []
        last_ns = self._readings[0].at_ns if self._readings else 0
        for reading in self._readings[1:]:
            value = figure(reading)
            if value is None:
                continue
            if reading.phase in self._phases:
                steps.append((value, reading.at_ns - last_ns))
            last_ns = reading.at_ns
        return steps
