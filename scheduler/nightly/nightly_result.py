"""The result of a nightly run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from statistics import median

from velodrome.scheduler.errors import INCOMPLETE
from velodrome.scheduler.history.cell_series import Condition, NodeCell, label_cells
from velodrome.scheduler.history.false_alarms import FalseAlarms
from velodrome.scheduler.history.latest_run import RunVerdict
from velodrome.scheduler.nightly.explanations import Explanation
from velodrome.scheduler.nightly.missing_cells import Unmeasured, Vanished

NOISY = 0.25  # of the cells


@dataclass(frozen=True)
class NightlyRun:
    """The result of one nightly run. number: its number among those of its name.

    seconds: duration. unexpected: repeats with an unexpected outcome, of `repeats`. budget_s:
    infinite without one. left_out: repeats for which there was no time. measured: repeats with a
    time. unmeasured, vanished: missing cells. unreadable: files that the history lacks, described.
    """

    name: str
    verdict: RunVerdict
    false_alarms: FalseAlarms
    explanations: Mapping[NodeCell, Explanation]
    number: int
    started_at: datetime
    seconds: float
    repeats: int = 0
    unexpected: int = 0
    budget_s: float = math.inf
    left_out: int = 0
    measured: int = 0
    unmeasured: tuple[Unmeasured, ...] = ()
    vanished: tuple[Vanished, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """1 for a regression, and only for that."""
        if self.verdict.alarms:
            return 1
        return 0 if self.is_complete else INCOMPLETE

    @property
    def is_complete(self) -> bool:
        """True if the run measured all that its sweep promises."""
        lost = any(cell.is_promised for cell in self.vanished)
        return self.measured > 0 and not self.unmeasured and not lost

    @property
    def sweep_id(self) -> str:
        return self.verdict.sweep_id

    @cached_property
    def names(self) -> Mapping[NodeCell, str]:
        """Distinct names of the cells; without a node for cells that no node fits."""
        cells = [verdict.cell for verdict in self.verdict.cells]
        cells += [each.cell for each in self.unmeasured] + [each.cell for each in self.vanished]
        return {cell: name.removesuffix(" on ") for cell, name in label_cells(cells).items()}

    @property
    def quarantined(self) -> int:
        """The number of cells in quarantine."""
        return sum(cell.quarantine is not None for cell in self.verdict.cells)

    @property
    def unstable(self) -> int:
        """The number of cells whose time is not within its target."""
        return sum(cell.latest.condition is Condition.UNSTABLE for cell in self.verdict.cells)

    @property
    def with_interference(self) -> int:
        """The number of cells with interference."""
        return sum(cell.latest.has_interference for cell in self.verdict.cells)

    @property
    def is_noisy(self) -> bool:
        """True if so many cells are unstable or had interference that this is reported first."""
        most = max(self.unstable, self.with_interference)
        return most >= max(1, NOISY * len(self.verdict.cells))

    @property
    def detectable_range(self) -> tuple[float, float, float] | None:
        """The smallest, median and largest detectable change over cells; None: unknown."""
        steps = [step for cell in self.verdict.cells for _, step in cell.detectable[:1] if step]
        return (min(steps), median(steps), max(steps)) if steps else None
