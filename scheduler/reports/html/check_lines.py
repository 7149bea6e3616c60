"""The checks behind one cell as lines of a table: what each found, with its figures. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from velodrome.adapters.protocol import (
    CANNOT_TELL,
    CHECKS,
    FAILED,
    IMPOSSIBLE,
    OUTCOMES,
    PASSED,
    PHASES,
)
from velodrome.scheduler.reports.html.formatting import MIB, shown_duration, size
from velodrome.scheduler.reports.proof import spell_out
from velodrome.scheduler.results.sanitizing import in_one_line

Check = Mapping[str, object]  # an entry of the column `checks`

GIGA, KIB = 1e9, 2**10
_WORST_FIRST = (FAILED, CANNOT_TELL, IMPOSSIBLE, PASSED)
_SAID = {CANNOT_TELL: "could not tell"}


@dataclass(frozen=True)
class CheckLine:
    """One check of one phase. Of several runs it is the one that ended worst, and how many did."""

    name: str
    phase: str
    outcome: str
    said: str
    figures: str
    reason: str


def check_lines(runs: Sequence[Sequence[Check]]) -> tuple[CheckLine, ...]:
    """runs: of each run of the cell what its column `checks` holds. By phase, then by check."""
    found: dict[tuple[str, str], list[Check]] = {}
    for one in _sound(runs):
        found.setdefault((str(one["phase"]), str(one["name"])), []).append(one)
    in_order = sorted(found, key=lambda key: (PHASES.index(key[0]), CHECKS.index(key[1])))
    return tuple(_line(found[key]) for key in in_order)


def figure_text(name: str, value: float | None) -> str:
    """In words, in the unit that its name ends with: `first reading 12.0 µs`."""
    if value is None or not math.isfinite(value):
        return f"{spell_out(name)}: unknown"
    for ending, write in _UNITS.items():
        if name.endswith(ending):
            words = spell_out(name.removesuffix(_DROPPED.get(ending, "")))
            return f"{words} {write(value)}"
    return f"{spell_out(name)} {value:.3g}"


def _sound(runs: Iterable[Sequence[Check]]) -> Iterable[Check]:
    """Those that this Velodrome knows: anybody may have written a row."""
    for one in (check for checks in runs for check in checks):
        known = (one["name"] in CHECKS, one["phase"] in PHASES, one["outcome"] in OUTCOMES)
        if all(known):
            yield one


def _line(checks: Sequence[Check]) -> CheckLine:
    outcome = min((str(one["outcome"]) for one in checks), key=_WORST_FIRST.index)
    worst = [one for one in checks if one["outcome"] == outcome]
    said = _SAID.get(outcome, outcome)
    among = "" if len(worst) == len(checks) else f" in {len(worst)} of {len(checks)} runs"
    told = worst[0]
    return CheckLine(
        name=spell_out(str(told["name"])),
        phase=str(told["phase"]),
        outcome=outcome,
        said=said + among,
        figures=", ".join(_figures(told["figures"])),
        reason=in_one_line(told["reason"]),
    )


def _figures(figures: object) -> Iterable[str]:
    entries = figures if isinstance(figures, list) else []
    for name, value in map(itemgetter("name", "value"), entries):
        yield figure_text(in_one_line(name), value)


def _duration(ns: float) -> str:
    """Of what may be below 0, as a difference is."""
    return f"-{shown_duration(-ns)}" if ns < 0 else shown_duration(ns)


def _size(count: float) -> str:
    return size(count) if count >= MIB else f"{count / KIB:.3g} KiB"


# By the end of a figure's name, the first that fits.
_UNITS: dict[str, Callable[[float], str]] = {
    "_ns": _duration,
    "flops_per_s": lambda rate: f"{rate / GIGA:.3g} GFLOP/s",
    "bytes_per_s": lambda rate: f"{rate / GIGA:.3g} GB/s",
    "_bytes": _size,
    "_s": lambda seconds: _duration(seconds * 1e9),
    "_error": lambda error: f"{error:.1e}",
    "share": lambda share: f"{100 * share:.3g} %",
    "ratio": lambda ratio: f"{ratio:.3g}x",
}
_DROPPED = {
    "_ns": "_ns",
    "flops_per_s": "_per_s",
    "bytes_per_s": "_per_s",
    "_bytes": "_bytes",
    "_s": "_s",
}
