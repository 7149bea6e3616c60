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
from velodrome.scheduler.history.latest_run import Finding, Kind, Proof, RunVerdict, Watched
from velodrome.scheduler.nightly.explanations import Explanation
from velodrome.scheduler.nightly.missing_cells import Lacking, Vanished

NOISY = 0.25  # of the cells


@dataclass(frozen=True)
class Night:
    """The result of one nightly run. number: its number among those of its name. seconds: duration.

    surprises: runs with an unexpected outcome, of `runs`. budget_s: infinite without one. left_out:
    runs for which there was no time. measured: runs with a time. lacking, vanished: missing
    promised cells. unread: files that the history lacks, described.
    """

    name: str
    verdict: RunVerdict
    false_alarms: FalseAlarms
    explanations: Mapping[NodeCell, Explanation]
    number: int
    began: datetime
    seconds: float
    runs: int = 0
    surprises: int = 0
    budget_s: float = math.inf
    left_out: int = 0
    measured: int = 0
    lacking: tuple[Lacking, ...] = ()
    vanished: tuple[Vanished, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """1 for a regression, and only for that."""
        if self.verdict.alarms:
            return 1
        return 0 if self.is_whole else INCOMPLETE

    @property
    def is_whole(self) -> bool:
        """True if the run measured all that its sweep promises."""
        lost = [one for one in self.vanished if one.is_promised]
        return self.measured > 0 and not self.lacking and not lost

    @property
    def sweep_id(self) -> str:
        return self.verdict.sweep_id

    def told(self, kind: Kind, proof: Proof) -> tuple[tuple[Watched, Finding], ...]:
        """Return cells with such a finding, each once. Quarantine silences failures."""
        found = []
        for one in self.verdict.watched:
            alike = [each for each in one.told if (each.kind, each.proof) == (kind, proof)]
            if alike:
                found.append((one, alike[0]))
        return tuple(found)

    @cached_property
    def names(self) -> Mapping[NodeCell, str]:
        """Distinct names of the cells; without a node for cells that no node fits."""
        cells = [one.cell for one in self.verdict.watched]
        cells += [one.cell for one in self.lacking] + [one.cell for one in self.vanished]
        return {cell: name.removesuffix(" on ") for cell, name in label_cells(cells).items()}

    @property
    def quarantined(self) -> tuple[Watched, ...]:
        return tuple(one for one in self.verdict.watched if one.quarantined)

    @property
    def unstable(self) -> int:
        """The number of cells whose time is not within its target."""
        return sum(one.tonight.condition is Condition.UNSTABLE for one in self.verdict.watched)

    @property
    def disturbed(self) -> int:
        """The number of cells with interference."""
        return sum(one.tonight.disturbed for one in self.verdict.watched)

    @property
    def is_noisy(self) -> bool:
        """True if so many cells are unstable or disturbed that this comes first."""
        return max(self.unstable, self.disturbed) >= max(1, NOISY * len(self.verdict.watched))

    @property
    def detectable(self) -> tuple[float, float, float] | None:
        """The smallest, median and largest detectable change over cells; None: unknown."""
        known = [
            step
            for one in self.verdict.watched
            for _, step in one.detectable[:1]
            if step is not None
        ]
        return (min(known), median(known), max(known)) if known else None
