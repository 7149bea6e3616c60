"""The text of a comparison: sections below its table, and its summary sentence."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.comparison.causes import LikelyCause, select_likely
from velodrome.scheduler.comparison.cell_names import CellNames, name_cells
from velodrome.scheduler.comparison.comparison_rows import format_interval
from velodrome.scheduler.comparison.matching import RefusedPair
from velodrome.scheduler.comparison.outcome import ComparisonOutcome, SelectedSide
from velodrome.scheduler.comparison.verdicts import OutcomeTurn, StatusChange
from velodrome.scheduler.statistics.canary_attribution import ChangeSource
from velodrome.scheduler.statistics.contrasts import ReplicationUnit
from velodrome.scheduler.statistics.geometric_means import Mean
from velodrome.scheduler.statistics.ratio_tests import ALPHA, Comparison, Verdict
from velodrome.scheduler.statistics.replication_units import FEWEST_PAIRS

SHOWN = 20  # entries of one section
REASONS = 2  # for which no claim is made, of the sentence; CSV has all
TURNS = {OutcomeTurn.BROKE: "✗", OutcomeTurn.MENDED: "✓", OutcomeTurn.CHANGED: "!"}


@dataclass(frozen=True)
class Entry:
    """One line of a section. command: repeats the run."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    entries: tuple[Entry, ...]


def build_sections(outcome: ComparisonOutcome) -> tuple[Section, ...]:
    """Build the sections that are not empty."""
    names = name_cells(outcome)
    made = (
        ("Unit of replication", _units(outcome)),
        ("Geometric means of the ratios", _means(outcome)),
        ("Changed outcomes", (_change(change, names) for change in outcome.changes)),
        (
            "Not comparable",
            (_refused(entry, names) for entry in outcome.refused),
        ),
        ("Vanished", (Entry(names.full(rows[0])) for rows in outcome.vanished)),
        ("Appeared", (Entry(names.full(rows[0])) for rows in outcome.appeared)),
        ("Recorded changes, likeliest cause first", map(_cause, _order_causes(outcome))),
        (
            "Other differences",
            (Entry(f"{difference.text} ({_cells(n)})") for difference, n in outcome.unfair),
        ),
    )
    found = (Section(title, _cut([*entries])) for title, entries in made)
    return tuple(section for section in found if section.entries)


def build_heading(outcome: ComparisonOutcome) -> tuple[str, ...]:
    missing = [outcome.missing] if outcome.missing else []
    return (*missing, _side("base", outcome.base), _side("candidate", outcome.candidate))


def build_legend(outcome: ComparisonOutcome) -> str:
    least = f"{outcome.least * 100:g} %"
    return (
        "ratio: candidate over base, of medians over repeats, and its 95 % interval · ▲ slower, "
        f"▼ faster: by {least} or more, and by chance in under {ALPHA * 100:g} % of comparisons of "
        f"so many cells (moderated, Holm) · = undecided, but alike within {least} · "
        "? undecided · ~ not stable"
    )


def summarize(outcome: ComparisonOutcome) -> str:
    """Summarize the outcome in one sentence."""
    told = [
        _verdicts(outcome),
        *_overall(outcome),
        *_attributions(outcome),
        *_other_outcomes(outcome),
    ]
    return "; ".join([*told, *_reasons_and_causes(outcome), *_interference(outcome)]) + "."


def _verdicts(outcome: ComparisonOutcome) -> str:
    slower, faster, undecided = (
        len(outcome.with_verdict(verdict))
        for verdict in (Verdict.SLOWER, Verdict.FASTER, Verdict.UNDECIDED)
    )
    alike = sum(duel.comparison.is_alike for duel in outcome.with_verdict(Verdict.UNDECIDED))
    these = "these" if alike == undecided else f"{alike} of these"
    within = f" ({these} alike within {outcome.least * 100:g} %)" if alike else ""
    total = f"{len(outcome.times)} time{'s' if len(outcome.times) != 1 else ''}"
    return f"Of {total}, {slower} slower, {faster} faster, {undecided} undecided{within}"


def _overall(outcome: ComparisonOutcome) -> Iterator[str]:
    """Give the overall ratio of the decisive phase."""
    phase = next(reversed(outcome.means), "")
    if mean := outcome.means.get(phase):
        yield f"{phase} {mean.ratio:.3f}x overall ({format_interval(mean.low, mean.high)})"


def _attributions(outcome: ComparisonOutcome) -> Iterator[str]:
    causes = [duel.attribution.cause for duel in outcome.times if duel.attribution]
    told = {cause: causes.count(cause) for cause in (ChangeSource.MACHINE, ChangeSource.FRAMEWORK)}
    named = [f"the {cause.value} in {count}" for cause, count in told.items() if count]
    if named:
        yield f"the canaries attribute it to {' and '.join(named)}"


def _other_outcomes(outcome: ComparisonOutcome) -> Iterator[str]:
    turns = [change.turn for change in outcome.changes]
    counts = {
        "broke": turns.count(OutcomeTurn.BROKE),
        "mended": turns.count(OutcomeTurn.MENDED),
        "failed otherwise": turns.count(OutcomeTurn.CHANGED),
        "vanished": len(outcome.vanished),
        "appeared": len(outcome.appeared),
        "not comparable": len(outcome.refused),
        "without a number on either side": outcome.silent,
    }
    if named := [f"{count} {name}" for name, count in counts.items() if count]:
        yield f"cells: {', '.join(named)}"


def _reasons_and_causes(outcome: ComparisonOutcome) -> Iterator[str]:
    """Give reasons for missing verdicts, and the likeliest cause of moves."""
    has_moved = any(duel.has_moved for duel in outcome.times)
    for reason, count in _reasons(outcome).most_common(REASONS):
        which = "any time" if count == len(outcome.times) else f"{count} of these times"
        yield f"no verdict on {which}: {reason}"
    if outcome.is_same:
        moved = "what moved, moved by drift or chance, and " if has_moved else ""
        rate = f"chance names any time in at most {ALPHA * 100:g} % of such comparisons"
        yield f"no recorded setting differs (A/A): {moved}{rate}"
    elif has_moved and not outcome.subjects:
        causes, realm = select_likely(outcome.causes), outcome.realm
        if causes and realm in (None, causes[0].realm):
            yield f"likeliest cause: {_transition(causes[0])}"
        else:
            what = f" of the {realm.value}" if realm else ""
            yield f"no recorded change{what} where it moved"


def _reasons(outcome: ComparisonOutcome) -> Counter[str]:
    """Why no claim is made, besides that the times do not tell."""
    return Counter(duel.comparison.reason for duel in outcome.times if duel.comparison.reason)


def _units(outcome: ComparisonOutcome) -> Iterator[Entry]:
    """Describe the units of replication, and the gain by pairing."""
    counts = Counter(_unit(duel.comparison) for duel in outcome.times)
    for told, count in counts.most_common():
        yield Entry(f"{told} ({count} time{'s' if count != 1 else ''})")
    gains = [
        one.paired_error / one.unpaired_error
        for duel in outcome.times
        if (one := duel.comparison).paired_error and one.unpaired_error
    ]
    if gains:
        yield Entry(
            f"standard error of pairs of neighbours over that of processes: "
            f"{statistics.median(gains):.2f} (median of {len(gains)}); by rule pairs decide from "
            f"{FEWEST_PAIRS} pairs on"
        )


def _unit(one: Comparison) -> str:
    if one.unit is ReplicationUnit.PAIR:
        return f"{one.unit.value} in one sweep: {one.base_units} pairs"
    sides = f"{one.base_units} against {one.candidate_units}"
    if one.unit is ReplicationUnit.PROCESS:
        return f"{one.unit.value} in one sweep: {sides}"
    if not one.past_sweeps:
        return f"{one.unit.value}: {sides}, and no other of the cell on its node"
    past = f"{one.past_sweeps} other{'s' if one.past_sweeps != 1 else ''}"
    return f"{one.unit.value}: {sides}, and by {past} of the cell on its node, how sweeps vary"


def _interference(outcome: ComparisonOutcome) -> Iterator[str]:
    """Warn of interference in most runs of a side: it may explain a change."""
    sides = {"base": outcome.base, "candidate": outcome.candidate}
    most = [name for name, side in sides.items() if 2 * side.disturbed > side.runs]
    if most and any(duel.has_moved for duel in outcome.times):
        yield f"most runs of the {' and the '.join(most)} had interference: measure again when idle"


def _means(outcome: ComparisonOutcome) -> Iterator[Entry]:
    """Give geometric means, and the number of cells without a ratio."""
    out = len(outcome.changes) + len(outcome.refused) + outcome.silent
    beside = f", {_cells(out)} without a ratio left out" if out else ""
    for phase, mean in outcome.means.items():
        yield Entry(f"{phase} {_mean(mean)}{beside}")


def _mean(mean: Mean) -> str:
    return f"{mean.ratio:.3f}x ({format_interval(mean.low, mean.high)}) over {_cells(mean.count)}"


def _order_causes(outcome: ComparisonOutcome) -> Sequence[LikelyCause]:
    """All that changed, where nothing moved; else what is likely, then the rest."""
    first = select_likely(outcome.causes)
    return [*first, *(cause for cause in outcome.causes if cause not in first)]


def _cause(cause: LikelyCause) -> Entry:
    where = [
        f"{cause.moved} of {cause.of_moved} that moved" if cause.of_moved else "",
        f"{cause.still} of {cause.of_still} that did not" if cause.of_still else "",
    ]
    return Entry(f"{_transition(cause)} (in {' and '.join(filter(None, where))})")


def _transition(cause: LikelyCause) -> str:
    return f"{cause.name} {cause.base} -> {cause.candidate}"


def _change(change: StatusChange, names: CellNames) -> Entry:
    cell = names.full(change.pair.candidate[0])
    reason = f": {change.reason}" if change.reason else ""
    told = f"{TURNS[change.turn]} {change.turn.value}: {cell}: {change.base} -> {change.candidate}"
    return Entry(told + reason, change.rerun)


def _refused(entry: RefusedPair, names: CellNames) -> Entry:
    told = "; ".join(mismatch.text for mismatch in entry.mismatches)
    return Entry(f"{names.full(entry.pair.candidate[0])}: {told}")


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count != 1 else ''}"


def _side(name: str, chosen: SelectedSide) -> str:
    """Describe a side: `base: last~1 (20261124-063012-a1b2c3d4): 24 runs, 2 with interference`."""
    sweeps = chosen.sweep_ids
    told = sweeps[0] if len(sweeps) == 1 else f"{len(sweeps)} sweeps, {sweeps[-1]} to {sweeps[0]}"
    which = told if chosen.text.strip() == told else f"{chosen.text} ({told})"
    runs = f"{chosen.runs} run{'s' if chosen.runs != 1 else ''}"
    disturbed = f", {chosen.disturbed} with interference" if chosen.disturbed else ""
    return f"{name}: {strip_controls(which)}: {runs}{disturbed}"


def _cut(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    if len(entries) <= SHOWN:
        return tuple(entries)
    return (*entries[:SHOWN], Entry(f"and {len(entries) - SHOWN} more: --csv has them all"))
