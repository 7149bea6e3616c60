"""How far a time may be off, in a few characters; without an interval, what is known instead."""

from velodrome.scheduler.reports.cells import Time
from velodrome.scheduler.statistics.stability import apart_text

ONE = "1 process"


def format_uncertainty(time: Time) -> str:
    """`±1.2%`, `±1.2% by sweeps` or `by canaries`; else `spread 3.4%` or `1 process`."""
    width = time.half_width
    if width is not None:
        *_, impl = time.source.split() or [""]  # how many there are stands elsewhere
        return f"±{format_percent(width)}{f' by {impl}' if impl else ''}"
    return f"spread {apart_text(time.apart)}" if time.processes > 1 else ONE


def interval_note(time: Time) -> str:
    """What the interval is of, or why there is none."""
    if time.bounds is not None:
        return time.source or f"{time.processes} processes"
    return f"none: {_short(time)}"


def _short(time: Time) -> str:
    if time.processes == 1:
        return ONE
    return f"{time.processes} processes, spread {apart_text(time.apart)}"


def format_percent(share: float) -> str:
    """As `1.2%` and, from ten, `12%`."""
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.1f}%"
