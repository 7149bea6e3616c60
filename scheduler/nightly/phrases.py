"""Phrases for findings, shared by the summary, the JUnit XML and the trend site."""

import math

from velodrome.scheduler.history.latest_run import PROMISED, Finding, Kind, Proof, Watched
from velodrome.scheduler.history.quarantine import Moved
from velodrome.scheduler.nightly.explanations import Explanation
from velodrome.scheduler.nightly.missing_cells import Lacking
from velodrome.scheduler.nightly.nightly_result import Night
from velodrome.scheduler.statistics.canary_attribution import ChangeSource


def percent(ratio: float) -> str:
    """Format a ratio of times: `+5.3 %`, or `2.1 times` from 2 on."""
    return f"{ratio:.1f} times" if ratio >= 2 else f"{100 * (ratio - 1):+.1f} %"


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def finding(found: Finding) -> str:
    """Return e.g. `gradient +5.3 % since 2026-11-20`."""
    since = f"since {found.since.started_at:%Y-%m-%d}"
    if found.kind is Kind.FAILS:
        return f"fails {since}: {found.reason}"
    return f"{found.phase} {percent(found.ratio)} {since}"


def proof(found: Finding) -> str:
    """Describe the second measurement."""
    if found.proof is Proof.OPEN:
        return "not measured again"
    if found.kind is Kind.FAILS:
        return "failed again" if found.proof is Proof.CONFIRMED else "measured again: it ran"
    return f"measured again on the same node: {percent(found.again or 1)}"


def explanation(told: Explanation | None) -> tuple[str, ...]:
    """Return a line with the cause, and one with the recorded changes."""
    if told is None:
        return ()
    known = told.attribution.cause is not ChangeSource.UNKNOWN
    lines = [f"{told.attribution.cause}: {told.attribution.reason}"] if known else []
    causes = "; ".join(told.causes) or "no recorded change"
    return (*lines, f"what changed: {causes}")


def quarantine(one: Watched) -> str:
    """Describe a quarantine: how long, since when, why, and the change meanwhile."""
    since = one.quarantined
    if since is None:
        return ""
    long = f"{one.bad_nights} runs, since {since.started_at:%Y-%m-%d}"
    return f"in quarantine for {long}, {since.condition}; {_moved(one.moved)}"


def _moved(found: Moved | None) -> str:
    if found is None:
        return "no numbers to compare before and since"
    ratio = percent(math.exp(found.distance))
    half = "" if math.isinf(found.half) else f" ± {share(math.expm1(found.half))}"
    return f"{found.phase} {ratio}{half} against the {found.nights} runs before"


def noise(night: Night) -> str:
    """Count cells that are unstable, disturbed or in quarantine; empty if there are none."""
    counts = {
        "unstable": night.unstable,
        "disturbed": night.disturbed,
        "in quarantine": len(night.quarantined),
    }
    cells = len(night.verdict.watched)
    return ", ".join(f"{count} of {cells} cells {what}" for what, count in counts.items() if count)


def incomplete(night: Night) -> str:
    """Describe a run that measured less than its sweep promises."""
    if not night.measured:
        return f"NOTHING WAS MEASURED: none of {night.runs} runs has a number"
    missing = sum(one.lacking for one in night.lacking)
    lost = sum(one.is_promised for one in night.vanished)
    told = [f"{missing} of {night.runs} runs have no number"] * bool(missing)
    told += [f"{lost} cells of the previous run are missing"] * bool(lost)
    return f"INCOMPLETE: {'; '.join(told)}"


def lacking(night: Night, one: Lacking) -> str:
    """Return e.g. `torch[eager] lenet b64 cpu 1t on host1: crashed in 2 of 3 runs: signal 11`."""
    of = "" if one.runs == 1 else f" in {one.lacking} of {one.runs} runs"
    return f"{night.names[one.cell]}: {one.status}{of}: {one.reason}"


def no_regression(night: Night) -> tuple[str, ...]:
    """State that no regression was found; empty if one was, or nothing was compared."""
    if night.verdict.alarms or (not night.is_whole and not night.measured):
        return ()
    noisy = noise(night)
    among = "" if night.is_whole else " in what was measured"
    if noisy:
        return (f"no regression{among} distinguishable from noise: {noisy}",)
    return (f"no regression{among}",)


def false_alarms(night: Night) -> str:
    """State the estimated rate of false suspicions."""
    told = night.false_alarms
    if told.rate is None:
        return "false alarms: no cell has the required 8 runs"
    blocks = f" in blocks of {told.block}" if told.block > 1 else ""
    return (
        f"false alarms: of {told.nights} nights resampled from the past{blocks}, without any "
        f"change, {told.suspicious} looked suspicious ({share(told.rate)}; promised: at most "
        f"{share(PROMISED)}); measuring again clears most of them"
    )


def detectable(night: Night) -> str:
    """State the smallest step that is found within three runs."""
    known = night.detectable
    if known is None:
        return "minimum detectable change: unknown before 5 runs"
    best, middle, worst = map(share, known)
    return f"minimum detectable change within 3 runs: {best} to {worst}, median {middle}"
