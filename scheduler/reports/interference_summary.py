"""How many runs of a sweep were disturbed and by what: what its report says before any number."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from velodrome.scheduler.reports.task_rows import Row, select_last_attempts
from velodrome.scheduler.results.sanitizing import in_one_line

# A part of what velodrome.agents.sampling or a canary says, and what sort of thing it is.
_SORTS = (
    ("its cores were used by others", "others on their cores"),
    ("other CPUs while it was timed", "others on the other cores"),
    ("(steal)", "other virtual machines"),
    ("waited for a CPU", "a queue for the cores"),
    ("the clock of its cores fell", "a falling clock"),
    ("slowed down for heat", "heat"),
    ("CPU limit stopped it", "the container's CPU limit"),
    ("waited for memory", "lack of memory"),
    ("came back from swap", "lack of memory"),
    ("the canary took", "a canary that ran otherwise after than before"),
    ("others were on", "others on their GPU"),
    ("held back by", "a GPU that was held back"),
    ("the SM clock of", "a GPU's falling clock"),
)
_OTHER = "something else"
_NAMED = re.compile(r"([\w.+-][\w.+ -]{0,40}) \(pid \d+\)")
MOST_SORTS = 3
MOST_NAMES = 3


def describe_interference(rows: Iterable[Row]) -> str:
    """E.g. `7 of 12 runs were disturbed: others on their cores in 7 (stress-ng)`; empty if none."""
    ran = [row for row in select_last_attempts(rows) if row.get("forward_median_ns") is not None]
    disturbed = [
        in_one_line(row.get("interference")) for row in ran if row.get("interference_free") is False
    ]
    if not disturbed:
        return ""
    verb = "was" if len(disturbed) == 1 else "were"
    told = f"{len(disturbed):,} of {len(ran):,} timed runs {verb} disturbed: {_sorts(disturbed)}"
    names = [name for name, _ in Counter(_names(disturbed)).most_common(MOST_NAMES)]
    return f"{told} ({', '.join(names)})" if names else told


def _sorts(disturbed: Iterable[str]) -> str:
    found = Counter(sort for text in disturbed for sort in dict.fromkeys(_sorted(text)))
    return ", ".join(f"{sort} in {count:,}" for sort, count in found.most_common(MOST_SORTS))


def _sorted(text: str) -> list[str]:
    return [sort for part, sort in _SORTS if part in text] or [_OTHER]


def _names(disturbed: Iterable[str]) -> Iterator[str]:
    """Of the processes that are named, each once per run."""
    for text in disturbed:
        yield from dict.fromkeys(name.strip() for name in _NAMED.findall(text))
