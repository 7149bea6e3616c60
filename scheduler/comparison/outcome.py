"""Comparison of two sides cell by cell, with all findings in one ComparisonOutcome."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from velodrome.scheduler.comparison import matching, verdicts
from velodrome.scheduler.comparison.causes import LikelyCause, Nodes, find_changes, find_realm
from velodrome.scheduler.comparison.fingerprints import HARDWARE, IDENTITY, CellRules, Mismatch
from velodrome.scheduler.comparison.recorded_attributes import Realm
from velodrome.scheduler.comparison.replication_units import NO_PAST, PastRows
from velodrome.scheduler.comparison.side_selection import SELECTABLE
from velodrome.scheduler.comparison.unit_costs import (
    make_past_reader,
    make_reader,
    refuse_mixed_prices,
)
from velodrome.scheduler.comparison.verdicts import StatusChange, TimeComparison
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.fairness import Difference, list_differences
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.geometric_means import Mean
from velodrome.scheduler.statistics.ratio_tests import Verdict

PLACE = "command line"


@dataclass(frozen=True)
class SelectedSide:
    """A selected side: the typed text and its sweeps, newest first."""

    text: str
    sweep_ids: tuple[str, ...]
    runs: int
    with_interference: int  # runs


def summarize_side(text: str, sweep_ids: tuple[str, ...], rows: Sequence[TaskRow]) -> SelectedSide:
    return SelectedSide(
        text, sweep_ids, len(rows), sum(row.interference_free is False for row in rows)
    )


@dataclass(frozen=True)
class ComparisonOutcome:
    """All findings of a comparison. least: the practical minimum.

    unfair: differences besides the subjects, with the number of cells. silent: cells with no number
    on either side. missing: a warning of unreadable rows. quantity: of `times`, if not their ns:
    J per unit, money per million units, or the inverse of MFU.
    """

    base: SelectedSide
    candidate: SelectedSide
    subjects: frozenset[str]
    least: float
    times: tuple[TimeComparison, ...]
    means: dict[str, Mean]
    changes: tuple[StatusChange, ...]
    refused: tuple[matching.RefusedPair, ...]
    vanished: tuple[matching.Rows, ...]
    appeared: tuple[matching.Rows, ...]
    causes: tuple[LikelyCause, ...]
    unfair: tuple[tuple[Difference, int], ...]
    silent: int
    missing: str = ""
    quantity: GridUnit = GridUnit.TIME

    def with_verdict(self, verdict: Verdict) -> tuple[TimeComparison, ...]:
        return tuple(time for time in self.times if time.verdict is verdict)

    @property
    def is_same(self) -> bool:
        """True if no recorded setting differs: an A/A comparison."""
        return not self.subjects and not any(cause.is_setting for cause in self.causes)

    @property
    def realm(self) -> Realm | None:
        """The realm of the cause by the canaries; None if unknown."""
        return find_realm([time.attribution.cause for time in self.times if time.attribution])


# A comparison by one of these lists other differences; versions and drivers are causes instead.
_UNFAIR_SUBJECTS = {
    "framework",
    "variant",
    "dtype",
    "threads",
    "device",
    "gpu_count",
    "processes",
    "nodes",
}
_COMPARED_SETTINGS = {"dtype": "precision"}  # names in velodrome.scheduler.reports.fairness


def compare_sides(
    base: tuple[SelectedSide, Sequence[TaskRow]],
    candidate: tuple[SelectedSide, Sequence[TaskRow]],
    nodes: Nodes,
    *,
    subjects: frozenset[str],
    least: float,
    past: PastRows = NO_PAST,
    quantity: GridUnit = GridUnit.TIME,
) -> ComparisonOutcome:
    """Compare rows of `tasks`. past: rows of other sweeps. quantity: the times, or what costs.

    ConfigError if no cell is comparable.
    """
    rules = CellRules(subjects)
    matched = matching.match_cells(base[1], candidate[1], rules)
    if not matched.pairs:
        raise (_refuse_cells(matched) if matched.refused else _refuse_sides(matched, rules))
    if quantity is GridUnit.COST:
        pairs, mixed = refuse_mixed_prices(matched.pairs)
        if not pairs:
            raise ConfigError(PLACE, mixed[0].mismatches[0].text, "Select sweeps with one price.")
        matched = replace(matched, pairs=pairs, refused=(*matched.refused, *mixed))
    times = verdicts.compare_times(
        matched.pairs,
        least,
        past=past,
        read=make_reader(quantity),
        read_past=make_past_reader(quantity),
    )
    if quantity is GridUnit.TIME and not subjects & {
        *HARDWARE,
        "node_id",
        "hostname",
        "device",
    }:  # canaries are of one machine
        times = verdicts.attribute_moves(times)
    moved = {id(time.pair) for time in times if time.has_moved}
    return ComparisonOutcome(
        base[0],
        candidate[0],
        subjects,
        least,
        times,
        verdicts.compute_means(times),
        verdicts.find_status_changes(matched.pairs),
        matched.refused,
        matched.vanished,
        matched.appeared,
        find_changes(
            [pair for pair in matched.pairs if id(pair) in moved],
            [pair for pair in matched.pairs if id(pair) not in moved],
            nodes,
            subjects=subjects,
            sources=[time.attribution.cause for time in times if time.attribution],
        ),
        _count_differences(matched.pairs, subjects),
        sum(not verdicts.count_numbers((*pair.base, *pair.candidate)) for pair in matched.pairs),
        quantity=quantity,
    )


def _count_differences(
    pairs: Iterable[matching.CellPair], subjects: frozenset[str]
) -> tuple[tuple[Difference, int], ...]:
    """Count the differences besides the compared fields, the most common first."""
    if not subjects & _UNFAIR_SUBJECTS:
        return ()
    names = {_COMPARED_SETTINGS.get(field, field.replace("_", " ")) for field in subjects}
    counts = Counter(
        difference
        for pair in pairs
        for difference in list_differences(pair.base[0], pair.candidate[0])
        if difference.what not in names
    )
    return tuple(counts.most_common())


def _refuse_cells(matched: matching.Matching) -> ConfigError:
    """Build the error for refused cells: the fields that differ, most common first."""
    counts = Counter(mismatch for entry in matched.refused for mismatch in entry.mismatches)
    by_field: dict[str, Mismatch] = {}
    for mismatch, _ in counts.most_common():
        by_field.setdefault(mismatch.field, mismatch)
    text = "; ".join(mismatch.text for mismatch in by_field.values())
    return ConfigError(PLACE, f"these are not comparable: {text}", _advise([*by_field.values()]))


def _refuse_sides(matched: matching.Matching, rules: CellRules) -> ConfigError:
    """Build the error for sides without a common cell: the field without a common value."""
    problem = "BASE and CANDIDATE have no cell in common"
    for index, field in enumerate(field for field in IDENTITY if field not in rules.free):
        base, candidate = (
            {rules.identify(rows[0])[index] for rows in side}
            for side in (matched.vanished, matched.appeared)
        )
        if not base & candidate:
            mismatch = Mismatch(field, min(base), min(candidate))
            mend = "Name others." if field in ("model", "batch_size") else _advise([mismatch])
            return ConfigError(PLACE, f"{problem}: {mismatch.text}", mend)
    return ConfigError(PLACE, problem, "See `velodrome report --sweep` of each.")


def _advise(mismatches: Sequence[Mismatch]) -> str:
    """Advise how to compare a deliberate difference, if that makes sense."""
    worst = mismatches[0]
    if all(mismatch.field in (*SELECTABLE, *HARDWARE) for mismatch in mismatches):
        pins = (
            f"{worst.field}={worst.base} to BASE and {worst.field}={worst.candidate} to CANDIDATE"
        )
        return f"If that is what you compare, add {pins}."
    return "Measure one of them again as the other was."
