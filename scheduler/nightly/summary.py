"""The summary of a nightly run on one screen: alarms first."""

import math
from collections.abc import Iterator, Sequence

from velodrome.scheduler.history.latest_run import Kind, Proof
from velodrome.scheduler.nightly import phrases
from velodrome.scheduler.nightly.nightly_result import Night

MOST = 5  # of a kind

_HEADS = (
    (Kind.SLOWER, Proof.CONFIRMED, "SLOWER"),
    (Kind.FAILS, Proof.CONFIRMED, "FAILS"),
    (Kind.FASTER, Proof.CONFIRMED, "faster"),
    (Kind.SLOWER, Proof.CONTRADICTED, "not confirmed"),
    (Kind.FAILS, Proof.CONTRADICTED, "not confirmed"),
    (Kind.FASTER, Proof.CONTRADICTED, "not confirmed"),
    (Kind.SLOWER, Proof.OPEN, "not measured again"),
    (Kind.FAILS, Proof.OPEN, "not measured again"),
    (Kind.FASTER, Proof.OPEN, "not measured again"),
)
"""What alarms, then what is told; only the first three are explained."""


def summary(night: Night) -> tuple[str, ...]:
    """Return lines without line ends; about twenty, more only if much is wrong."""
    return (
        _first(night),
        *(line for kind, proof, head in _HEADS for line in _told(night, kind, proof, head)),
        *_lacking(night),
        *_vanished(night),
        *_quarantined(night),
        *phrases.no_regression(night),
        phrases.false_alarms(night),
        phrases.detectable(night),
        *_unread(night),
    )


def _first(night: Night) -> str:
    cells = len(night.verdict.watched)
    nodes = len({one.cell.node_id for one in night.verdict.watched})
    of = "" if math.isinf(night.budget_s) else f" of {duration(night.budget_s)}"
    left = f"; {night.left_out} runs left out" if night.left_out else ""
    surprises = f"; {night.surprises} of {night.runs} runs with unexpected outcomes" * bool(
        night.surprises
    )
    noisy = f"; NOISY: {phrases.noise(night)}" if night.is_noisy else ""
    return (
        f"nightly run {night.number} of {night.name}: {_number(cells, 'cell')} on "
        f"{_number(nodes, 'node')} in {duration(night.seconds)}{of}{left}{surprises}{noisy}"
    )


def _told(night: Night, kind: Kind, proof: Proof, head: str) -> Iterator[str]:
    found = night.told(kind, proof)
    for one, each in found[:MOST]:
        yield f"{head}  {night.names[one.cell]}: {phrases.finding(each)}"
        yield f"    {phrases.proof(each)}"
        if proof is Proof.CONFIRMED:
            explained = phrases.explanation(night.explanations.get(one.cell))
            yield from (f"    {line}" for line in explained)
    if len(found) > MOST:
        yield f"{head}  and {len(found) - MOST} more"


def _lacking(night: Night) -> Iterator[str]:
    if not night.is_whole:
        yield phrases.incomplete(night)
    lines = [phrases.lacking(night, one) for one in night.lacking]
    yield from _first_of(lines, "no number", " cells")


def _vanished(night: Night) -> Iterator[str]:
    lines = [f"{night.names[one.cell]}: {one.why}" for one in night.vanished]
    yield from _first_of(lines, "vanished")


def _unread(night: Night) -> Iterator[str]:
    yield from _first_of(night.unread, "left out of the history", " files")


def _quarantined(night: Night) -> Iterator[str]:
    lines = [f"{night.names[one.cell]}: {phrases.quarantine(one)}" for one in night.quarantined]
    yield from _first_of(lines, "quarantine")


def _first_of(lines: Sequence[str], head: str, noun: str = "") -> Iterator[str]:
    """Yield the first MOST lines, and the number of the others."""
    yield from (f"{head}  {line}" for line in lines[:MOST])
    if len(lines) > MOST:
        yield f"{head}  and {len(lines) - MOST}{noun} more"


def duration(seconds: float) -> str:
    """E.g. `2h05m`, `3m12s`, `9s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
