"""The cells of a report: rows of the `tasks` table, combined over repeats."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import TIMED_PHASES, USUAL_PHASES
from velodrome.agents.measurement import Status
from velodrome.agents.phases import find_decisive
from velodrome.scheduler.reports import cell_keys
from velodrome.scheduler.reports.cell_rates import compute_value
from velodrome.scheduler.reports.cell_times import (
    Time,
    combine_repeats,
    describe_instability,
    is_valid_repeat,
    read_repeats,
)
from velodrome.scheduler.reports.cell_work import (
    NO_WORK,
    CellWork,
    GridUnit,
    list_line_units,
    read_work,
)
from velodrome.scheduler.reports.process_variation import (
    CanaryVariation,
    CellHistory,
    identify_canary,
    measure_canary_variation,
)
from velodrome.scheduler.reports.proof import NO_RUNS, CellProof, summarize_proof
from velodrome.scheduler.reports.task_rows import (
    describe_expectation,
    is_unexpected,
    read_rerun_command,
    select_last_attempts,
)
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.cell_interval import ProcessVariation
from velodrome.scheduler.statistics.stability import Stability, assess_stability

AGAINST_ITSELF = "itself"  # in the column `verified_against`


@dataclass(frozen=True)
class CellResult:
    """The time of one cell, or the reason for none. repeats: that ended; with_number: timed.

    more_repeats: how many more should make its time stable, None: unknown.
    expected: in words, empty for `agreed`. notes: of all repeats, each once. phases: asked for.
    """

    status: Status
    reason: str
    rerun: str
    repeats: int
    with_number: int
    verified: bool
    forward: Time | None = None
    gradient: Time | None = None
    inference: Time | None = None
    update: Time | None = None
    step: Time | None = None
    load: Time | None = None
    prefetched_load: Time | None = None
    fed_gradient: Time | None = None
    peak_rss_bytes: int | None = None
    cpu_percent_mean: float | None = None
    gradient_error: float | None = None
    is_unexpected: bool = False
    expected: str = ""
    notes: tuple[str, ...] = ()
    more_repeats: int | None = None
    proof: CellProof = NO_RUNS
    work: CellWork = NO_WORK
    is_against_itself: bool = False  # a user's code, verified against itself in float64
    phases: tuple[str, ...] = USUAL_PHASES

    @property
    def times(self) -> tuple[Time, ...]:
        return tuple(time for phase in TIMED_PHASES if (time := self.time(phase)))

    @property
    def decisive(self) -> Time | None:
        """The time of the decisive phase, None without any."""
        timed = [phase for phase in TIMED_PHASES if self.time(phase)]
        return self.time(find_decisive(timed)) if timed else None

    def time(self, phase: str) -> Time | None:
        found: Time | None = getattr(self, phase)
        return found

    def value(self, phase: str, unit: GridUnit) -> float | None:
        """Return the value of a phase in a unit; None without a time, or if it is not known."""
        time = self.time(phase)
        found = compute_value(time, self.work, phase, unit) if time else None
        return found.rate.per_s if found else None

    @property
    def is_stable(self) -> bool:
        """True if every timed phase is stable."""
        return bool(self.times) and all(time.is_stable for time in self.times)


def collect_cells(
    rows: Iterable[TaskRow], history: CellHistory | None = None
) -> dict[
    cell_keys.Platform, dict[tuple[cell_keys.Workload, cell_keys.Implementation], CellResult]
]:
    """Combine rows into cells, by platform. A lost attempt counts only if no later one ended.

    history: how processes of its cells differed in other sweeps.
    """
    last = select_last_attempts(rows)
    qualifiers = cell_keys.find_qualifiers(last)
    canaries = measure_canary_variation(last)
    found: dict[
        cell_keys.Platform, dict[tuple[cell_keys.Workload, cell_keys.Implementation], list[TaskRow]]
    ] = {}
    for row in last:
        cells = found.setdefault(cell_keys.read_platform(row), {})
        key = (cell_keys.read_workload(row), cell_keys.read_implementation(row, qualifiers))
        cells.setdefault(key, []).append(row)
    return {
        platform: {
            key: _combine_cell(group, history or {}, canaries) for key, group in cells.items()
        }
        for platform, cells in sorted(
            found.items(), key=lambda item: cell_keys.platform_order(item[0])
        )
    }


def find_best_value(cells: Iterable[CellResult], phase: str, unit: GridUnit) -> float | None:
    """Return the best value of a phase in a unit: the highest rate, or the lowest of others.

    None without a value, and where values are in different units, such as two currencies.
    """
    known = [cell for cell in cells if cell.value(phase, unit) is not None]
    if len(list_line_units((cell.work for cell in known), unit)) > 1:
        return None
    values = [value for cell in known if (value := cell.value(phase, unit)) is not None]
    return (max if unit.is_rate else min)(values, default=None)


def list_shown_phases(cells: Sequence[CellResult], unit: GridUnit) -> list[str]:
    """List the phases in which cells of a workload have something to show in a unit.

    The decisive one of the phases asked for if nothing was timed.
    """
    shown = [
        phase
        for phase in TIMED_PHASES
        if unit.is_known_of(phase)
        if any(cell.time(phase) for cell in cells)
        if unit is not GridUnit.ENERGY or any(cell.work.energies_j.get(phase) for cell in cells)
    ]
    return shown or [find_decisive([phase for cell in cells for phase in cell.phases])]


def _combine_cell(
    rows: Sequence[TaskRow], history: CellHistory, canaries: CanaryVariation
) -> CellResult:
    timed = [row for row in rows if row.has_number]
    shown_row = min(rows, key=_rank_importance)
    times = {phase: _combine_phase(timed, phase, history, canaries) for phase in TIMED_PHASES}
    decisive = find_decisive([phase for phase, time in times.items() if time])
    return CellResult(
        status=shown_row.status,
        reason=shown_row.reason,
        rerun=read_rerun_command(shown_row.rerun),
        repeats=len(rows),
        with_number=len(timed),
        verified=bool(timed) and all(row.verified for row in timed),
        more_repeats=_assess_stability(timed, decisive or "forward").needed,
        forward=times["forward"],
        gradient=times["gradient"],
        inference=times["inference"],
        update=times["update"],
        step=times["step"],
        load=times["load"],
        prefetched_load=times["prefetched_load"],
        fed_gradient=times["fed_gradient"],
        peak_rss_bytes=max(((row.peak_rss_bytes or 0) for row in timed), default=0) or None,
        cpu_percent_mean=_average([row.cpu_percent_mean for row in timed]),
        gradient_error=max(
            (row.gradient_error for row in rows if row.gradient_error is not None), default=None
        ),
        is_unexpected=any(is_unexpected(row) for row in rows),
        expected=describe_expectation(shown_row),
        notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
        proof=summarize_proof(rows),
        work=read_work(timed or rows),
        is_against_itself=any(row.verified_against == AGAINST_ITSELF for row in timed),
        phases=_list_requested(rows),
    )


def _list_requested(rows: Sequence[TaskRow]) -> tuple[str, ...]:
    """List the phases that the rows were asked for; the usual ones for rows that do not say."""
    named = {phase for row in rows for phase in row.phases}
    return tuple(phase for phase in TIMED_PHASES if phase in named) or USUAL_PHASES


def _combine_phase(
    rows: Sequence[TaskRow], phase: str, history: CellHistory, canaries: CanaryVariation
) -> Time | None:
    repeats = read_repeats(rows, phase)
    if not repeats:
        return None
    instability = describe_instability(rows, phase) or _assess_stability(rows, phase).reason
    return combine_repeats(repeats, _select_variation(rows, phase, history, canaries), instability)


def _assess_stability(rows: Sequence[TaskRow], phase: str) -> Stability:
    repeats = read_repeats(rows, phase)
    if len(repeats) < len(rows) or not repeats or not all(map(is_valid_repeat, repeats)):
        return Stability("a repeat has no time", None)
    return (
        Stability(needed=None) if describe_instability(rows, phase) else assess_stability(repeats)
    )


def _select_variation(
    rows: Sequence[TaskRow], phase: str, history: CellHistory, canaries: CanaryVariation
) -> tuple[ProcessVariation, ...]:
    """Select the cell's own history, then the canaries."""
    first = rows[0]
    past = history.get((first.task_id, first.node_type, phase))
    from_canaries = canaries.get(identify_canary(first))
    return tuple(variation for variation in (past, from_canaries) if variation)


def _rank_importance(row: TaskRow) -> tuple[bool, bool]:
    """Rank repeats to show: first those without a time, of these the unexpected."""
    return row.has_number, not is_unexpected(row)


def _average(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if numbers else None
