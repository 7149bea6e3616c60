"""The warning above a report: how many runs had interference, and from which sources."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow

# Part of a message from velodrome.agents.sampling or a canary -> the kind of interference.
_KINDS = (
    ("its cores were used by others", "other processes on their cores"),
    ("other CPUs while it was timed", "other processes on other cores"),
    ("(steal)", "other virtual machines (steal)"),
    ("waited for a CPU", "waiting for a CPU"),
    ("the clock of its cores fell", "a lower CPU clock"),
    ("slowed down for heat", "thermal throttling"),
    ("CPU limit stopped it", "the container's CPU limit"),
    ("waited for memory", "memory pressure"),
    ("came back from swap", "memory pressure"),
    ("the canary took", "a canary whose time changed"),
    ("others were on", "other processes on their GPU"),
    ("held back by", "GPU throttling"),
    ("the SM clock of", "a lower GPU clock"),
)
_OTHER = "another source"
_NAMED = re.compile(r"([\w.+-][\w.+ -]{0,40}) \(pid \d+\)")
MOST_KINDS = 3
MOST_NAMES = 3


def describe_interference(rows: Iterable[TaskRow]) -> str:
    """Return `7 of 12 timed runs had interference: …, in 7 (stress-ng)`; empty without any."""
    ran = [row for row in select_last_attempts(rows) if row.forward_median_ns is not None]
    disturbed = [row.interference for row in ran if row.interference_free is False]
    if not disturbed:
        return ""
    count = f"{len(disturbed):,} of {len(ran):,} timed runs"
    text = f"{count} had interference: {_count_kinds(disturbed)}"
    names = [name for name, _ in Counter(_names(disturbed)).most_common(MOST_NAMES)]
    return f"{text} ({', '.join(names)})" if names else text


def _count_kinds(disturbed: Iterable[str]) -> str:
    found = Counter(sort for text in disturbed for sort in dict.fromkeys(_find_kinds(text)))
    return ", ".join(f"{sort} in {count:,}" for sort, count in found.most_common(MOST_KINDS))


def _find_kinds(text: str) -> list[str]:
    return [sort for part, sort in _KINDS if part in text] or [_OTHER]


def _names(disturbed: Iterable[str]) -> Iterator[str]:
    """Yield the names of interfering processes, each once per run."""
    for text in disturbed:
        yield from dict.fromkeys(name.strip() for name in _NAMED.findall(text))
