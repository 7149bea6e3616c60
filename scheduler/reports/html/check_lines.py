"""The checks of one cell as table lines: outcome, figures and reason of each. Pure."""

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
from velodrome.scheduler.reports.html.formatting import MIB, show_duration, show_size
from velodrome.scheduler.reports.proof import spell_out
from velodrome.scheduler.results.sanitizing import in_one_line

Check = Mapping[str, object]  # an entry of the column `checks`

GIGA, KIB = 1e9, 2**10
_WORST_FIRST = (FAILED, CANNOT_TELL, IMPOSSIBLE, PASSED)
_WORDS = {CANNOT_TELL: "inconclusive", IMPOSSIBLE: "not applicable"}


@dataclass(frozen=True)
class CheckLine:
    """One check of one phase, from the run with the worst outcome. text: the outcome in words."""

    name: str
    phase: str
    outcome: str
    text: str
    figures: str
    reason: str


def build_check_lines(runs: Sequence[Sequence[Check]]) -> tuple[CheckLine, ...]:
    """Build the lines, by phase, then by check. runs: the column `checks` of each run."""
    found: dict[tuple[str, str], list[Check]] = {}
    for check in _select_known(runs):
        found.setdefault((str(check["phase"]), str(check["name"])), []).append(check)
    in_order = sorted(found, key=lambda key: (PHASES.index(key[0]), CHECKS.index(key[1])))
    return tuple(_build_line(found[key]) for key in in_order)


def format_figure(name: str, value: float | None) -> str:
    """Format a figure in the unit that its name ends with: `first reading 12.0 µs`."""
    if value is None or not math.isfinite(value):
        return f"{spell_out(name)}: unknown"
    for ending, write in _UNITS.items():
        if name.endswith(ending):
            words = spell_out(name.removesuffix(_DROPPED.get(ending, "")))
            return f"{words} {write(value)}"
    return f"{spell_out(name)} {value:.3g}"


def _select_known(runs: Iterable[Sequence[Check]]) -> Iterable[Check]:
    """Yield the checks that this version knows: rows may come from another program."""
    for check in (check for checks in runs for check in checks):
        known = (check["name"] in CHECKS, check["phase"] in PHASES, check["outcome"] in OUTCOMES)
        if all(known):
            yield check


def _build_line(checks: Sequence[Check]) -> CheckLine:
    outcome = min((str(check["outcome"]) for check in checks), key=_WORST_FIRST.index)
    worst = [check for check in checks if check["outcome"] == outcome]
    text = _WORDS.get(outcome, outcome)
    among = "" if len(worst) == len(checks) else f" in {len(worst)} of {len(checks)} runs"
    first = worst[0]
    return CheckLine(
        name=spell_out(str(first["name"])),
        phase=str(first["phase"]),
        outcome=outcome,
        text=text + among,
        figures=", ".join(_format_figures(first["figures"])),
        reason=str(first["reason"] or ""),
    )


def _format_figures(figures: object) -> Iterable[str]:
    entries = figures if isinstance(figures, list) else []
    for name, value in map(itemgetter("name", "value"), entries):
        yield format_figure(in_one_line(name), value)


def _format_duration(ns: float) -> str:
    """Format a duration that may be negative, as a difference is."""
    return f"-{show_duration(-ns)}" if ns < 0 else show_duration(ns)


def _format_size(count: float) -> str:
    return show_size(count) if count >= MIB else f"{count / KIB:.3g} KiB"


# End of a figure's name -> format; the first match counts.
_UNITS: dict[str, Callable[[float], str]] = {
    "_ns": _format_duration,
    "flops_per_s": lambda rate: f"{rate / GIGA:.3g} GFLOP/s",
    "bytes_per_s": lambda rate: f"{rate / GIGA:.3g} GB/s",
    "_bytes": _format_size,
    "_s": lambda seconds: _format_duration(seconds * 1e9),
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
