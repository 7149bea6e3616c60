"""The text of a comparison: sections below its table, and its summary sentence."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from velodrome.agents.phases import find_decisive
from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.comparison.causes import LikelyCause, select_likely
from velodrome.scheduler.comparison.cell_names import CellNames, name_cells
from velodrome.scheduler.comparison.comparison_rows import (
    format_interval,
    name_verdict,
    turn_mean,
)
from velodrome.scheduler.comparison.matching import RefusedPair
from velodrome.scheduler.comparison.outcome import ComparisonOutcome, SelectedSide
from velodrome.scheduler.comparison.verdicts import OutcomeTurn, StatusChange
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.statistics.canary_attribution import ChangeSource
from velodrome.scheduler.statistics.contrasts import ReplicationUnit
from velodrome.scheduler.statistics.geometric_means import Mean
from velodrome.scheduler.statistics.ratio_tests import ALPHA, Comparison, Verdict
from velodrome.scheduler.statistics.replication_units import FEWEST_PAIRS

SHOWN = 20  # entries of one section
REASONS = 2  # for missing verdicts, in the sentence; CSV has all
DIRECTIONS = {
    GridUnit.TIME: "times: lower is better",
    GridUnit.RATE: "images, vectors or true tokens per second: higher is better",
    GridUnit.FLOPS: "FLOP/s of the model's products: higher is better",
    GridUnit.MFU: "share of the vendor's dense peak: higher is better",
    GridUnit.ALGBW: "algorithm bandwidth of collective operations: higher is better",
    GridUnit.BUSBW: "bus bandwidth of collective operations: higher is better",
    GridUnit.ENERGY: "J per image, vector or true token: lower is better",
    GridUnit.COST: "price of a million images, vectors or true tokens: lower is better",
}
NOUNS = {  # of one and of several
    GridUnit.TIME: ("time", "times"),
    GridUnit.MFU: ("MFU", "MFUs"),
    GridUnit.ENERGY: ("energy", "energies"),
    GridUnit.COST: ("cost", "costs"),
}
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
    titled = (
        ("Unit of replication", _describe_units(outcome)),
        ("Geometric means of the ratios", _list_means(outcome)),
        ("Changed outcomes", (_describe_change(change, names) for change in outcome.changes)),
        ("Not comparable", (_describe_refused(entry, names) for entry in outcome.refused)),
        ("Vanished", (Entry(names.format_full(rows[0])) for rows in outcome.vanished)),
        ("Appeared", (Entry(names.format_full(rows[0])) for rows in outcome.appeared)),
        ("Recorded changes, likeliest cause first", map(_describe_cause, _order_causes(outcome))),
        (
            "Other differences",
            (Entry(f"{difference.text} ({_count_cells(n)})") for difference, n in outcome.unfair),
        ),
    )
    found = (Section(title, _cut([*entries])) for title, entries in titled)
    return tuple(section for section in found if section.entries)


def build_heading(outcome: ComparisonOutcome) -> tuple[str, ...]:
    missing = [outcome.missing] if outcome.missing else []
    return (
        *missing,
        _describe_side("base", outcome.base),
        _describe_side("candidate", outcome.candidate),
        *_describe_precisions(outcome),
    )


def _describe_precisions(outcome: ComparisonOutcome) -> Iterator[str]:
    """Say which precisions are compared: each side is verified within its own tolerance."""
    pairs = [time.pair for time in outcome.times] + [change.pair for change in outcome.changes]
    if "dtype" not in outcome.subjects or not pairs:
        return
    base, candidate = (
        " and ".join(sorted({row.dtype for rows in sides for row in rows}))
        for sides in ([pair.base for pair in pairs], [pair.candidate for pair in pairs])
    )
    yield (
        f"precision: {base} in the base, {candidate} in the candidate; each is verified within "
        "the tolerance of its own precision"
    )


def build_legend(outcome: ComparisonOutcome, unit: GridUnit = GridUnit.TIME) -> str:
    least = f"{outcome.least * 100:g} %"
    worse, better = (name_verdict(each, unit) for each in (Verdict.SLOWER, Verdict.FASTER))
    return (
        f"{DIRECTIONS[unit]} · ratio: candidate over base, of medians over repeats, and its 95 % "
        f"interval · ▲ {worse}, ▼ {better}: by {least} or more, and by chance in under "
        f"{ALPHA * 100:g} % of comparisons of so many cells (moderated, Holm) · = undecided, but "
        f"alike within {least} · ? undecided · ~ not stable"
    )


def summarize(outcome: ComparisonOutcome) -> str:
    """Summarize the outcome in one sentence."""
    parts = [
        _count_verdicts(outcome),
        *_format_overall(outcome),
        *_summarize_attributions(outcome),
        *_count_other_outcomes(outcome),
    ]
    return "; ".join([*parts, *_explain_verdicts(outcome), *_warn_of_interference(outcome)]) + "."


def _count_verdicts(outcome: ComparisonOutcome) -> str:
    slower, faster, undecided = (
        len(outcome.with_verdict(verdict))
        for verdict in (Verdict.SLOWER, Verdict.FASTER, Verdict.UNDECIDED)
    )
    alike = sum(time.comparison.is_alike for time in outcome.with_verdict(Verdict.UNDECIDED))
    these = "these" if alike == undecided else f"{alike} of these"
    within = f" ({these} alike within {outcome.least * 100:g} %)" if alike else ""
    worse, better = (
        name_verdict(each, outcome.quantity) for each in (Verdict.SLOWER, Verdict.FASTER)
    )
    total = f"{len(outcome.times)} {NOUNS[outcome.quantity][len(outcome.times) != 1]}"
    return f"Of {total}, {slower} {worse}, {faster} {better}, {undecided} undecided{within}"


def _format_overall(outcome: ComparisonOutcome) -> Iterator[str]:
    """Give the overall ratio of the decisive phase."""
    phase = find_decisive(outcome.means)
    if mean := outcome.means.get(phase):
        own = turn_mean(mean, outcome.quantity)
        yield f"{phase} {own.ratio:.3f}x overall ({format_interval(own.low, own.high)})"


def _summarize_attributions(outcome: ComparisonOutcome) -> Iterator[str]:
    causes = [time.attribution.cause for time in outcome.times if time.attribution]
    counts = {
        cause: causes.count(cause) for cause in (ChangeSource.MACHINE, ChangeSource.FRAMEWORK)
    }
    texts = [f"the {cause.value} in {count}" for cause, count in counts.items() if count]
    if texts:
        yield f"the canaries attribute it to {' and '.join(texts)}"


def _count_other_outcomes(outcome: ComparisonOutcome) -> Iterator[str]:
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
    if texts := [f"{count} {name}" for name, count in counts.items() if count]:
        yield f"cells: {', '.join(texts)}"


def _explain_verdicts(outcome: ComparisonOutcome) -> Iterator[str]:
    """Give reasons for missing verdicts, and the likeliest cause of moves."""
    has_moved = any(time.has_moved for time in outcome.times)
    for reason, count in _count_reasons(outcome).most_common(REASONS):
        one, several = NOUNS[outcome.quantity]
        which = f"any {one}" if count == len(outcome.times) else f"{count} of these {several}"
        yield f"no verdict on {which}: {reason}"
    if outcome.is_same:
        moved = "the times moved by drift or chance; " if has_moved else ""
        rate = f"chance alone gives a verdict in at most {ALPHA * 100:g} % of such comparisons"
        yield f"no recorded setting differs (A/A): {moved}{rate}"
    elif has_moved and not outcome.subjects:
        causes, realm = select_likely(outcome.causes), outcome.realm
        if causes and realm in (None, causes[0].realm):
            yield f"likeliest cause: {_format_transition(causes[0])}"
        else:
            what = f" of the {realm.value}" if realm else ""
            yield f"no recorded change{what} where it moved"


def _count_reasons(outcome: ComparisonOutcome) -> Counter[str]:
    """Count the reasons for missing verdicts."""
    return Counter(time.comparison.reason for time in outcome.times if time.comparison.reason)


def _describe_units(outcome: ComparisonOutcome) -> Iterator[Entry]:
    """Describe the units of replication, and the gain by pairing."""
    counts = Counter(_describe_unit(time.comparison) for time in outcome.times)
    for text, count in counts.most_common():
        yield Entry(f"{text} ({count} time{'s' if count != 1 else ''})")
    gains = [
        one.paired_error / one.unpaired_error
        for time in outcome.times
        if (one := time.comparison).paired_error and one.unpaired_error
    ]
    if gains:
        yield Entry(
            f"standard error of pairs of neighbours over that of processes: "
            f"{statistics.median(gains):.2f} (median of {len(gains)}); by rule pairs decide from "
            f"{FEWEST_PAIRS} pairs on"
        )


def _describe_unit(comparison: Comparison) -> str:
    if comparison.unit is ReplicationUnit.PAIR:
        return f"{comparison.unit.value} in one sweep: {comparison.base_units} pairs"
    sides = f"{comparison.base_units} against {comparison.candidate_units}"
    if comparison.unit is ReplicationUnit.PROCESS:
        return f"{comparison.unit.value} in one sweep: {sides}"
    if not comparison.past_sweeps:
        return f"{comparison.unit.value}: {sides}, no other sweep of the cell on its node"
    past = f"{comparison.past_sweeps} other sweep{'s' if comparison.past_sweeps != 1 else ''}"
    return f"{comparison.unit.value}: {sides}, variance from {past} of the cell on its node"


def _warn_of_interference(outcome: ComparisonOutcome) -> Iterator[str]:
    """Warn of interference in most runs of a side: it may explain a change."""
    sides = {"base": outcome.base, "candidate": outcome.candidate}
    most = [name for name, side in sides.items() if 2 * side.with_interference > side.runs]
    if most and any(time.has_moved for time in outcome.times):
        yield f"most runs of the {' and the '.join(most)} had interference: measure again when idle"


def _list_means(outcome: ComparisonOutcome) -> Iterator[Entry]:
    """Give geometric means, and the number of cells without a ratio."""
    out = len(outcome.changes) + len(outcome.refused) + outcome.silent
    beside = f", {_count_cells(out)} without a ratio left out" if out else ""
    for phase, mean in outcome.means.items():
        yield Entry(f"{phase} {_format_mean(mean, outcome.quantity)}{beside}")


def _format_mean(mean: Mean, quantity: GridUnit) -> str:
    own = turn_mean(mean, quantity)
    return f"{own.ratio:.3f}x ({format_interval(own.low, own.high)}) over {_count_cells(own.count)}"


def _order_causes(outcome: ComparisonOutcome) -> Sequence[LikelyCause]:
    """All that changed, where nothing moved; else what is likely, then the rest."""
    first = select_likely(outcome.causes)
    return [*first, *(cause for cause in outcome.causes if cause not in first)]


def _describe_cause(cause: LikelyCause) -> Entry:
    where = [
        f"{cause.moved} of {cause.of_moved} that moved" if cause.of_moved else "",
        f"{cause.still} of {cause.of_still} that did not" if cause.of_still else "",
    ]
    return Entry(f"{_format_transition(cause)} (in {' and '.join(filter(None, where))})")


def _format_transition(cause: LikelyCause) -> str:
    return f"{cause.name} {cause.base} -> {cause.candidate}"


def _describe_change(change: StatusChange, names: CellNames) -> Entry:
    cell = names.format_full(change.pair.candidate[0])
    reason = f": {change.reason}" if change.reason else ""
    text = f"{TURNS[change.turn]} {change.turn.value}: {cell}: {change.base} -> {change.candidate}"
    return Entry(text + reason, change.rerun)


def _describe_refused(entry: RefusedPair, names: CellNames) -> Entry:
    text = "; ".join(mismatch.text for mismatch in entry.mismatches)
    return Entry(f"{names.format_full(entry.pair.candidate[0])}: {text}")


def _count_cells(count: int) -> str:
    return f"{count} cell{'s' if count != 1 else ''}"


def _describe_side(name: str, side: SelectedSide) -> str:
    """Describe a side: `base: last~1 (20261124-063012-a1b2c3d4): 24 runs, 2 with interference`."""
    sweeps = side.sweep_ids
    sweep = sweeps[0] if len(sweeps) == 1 else f"{len(sweeps)} sweeps, {sweeps[-1]} to {sweeps[0]}"
    which = sweep if side.text.strip() == sweep else f"{side.text} ({sweep})"
    runs = f"{side.runs} run{'s' if side.runs != 1 else ''}"
    interference = f", {side.with_interference} with interference" if side.with_interference else ""
    return f"{name}: {strip_controls(which)}: {runs}{interference}"


def _cut(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    if len(entries) <= SHOWN:
        return tuple(entries)
    return (*entries[:SHOWN], Entry(f"and {len(entries) - SHOWN} more: --csv has them all"))
