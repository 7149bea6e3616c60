"""The warning above a report: how many runs had interference, and from which sources."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from velodrome.agents.sampling.interference_finding import Phrase
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow

_KINDS = {
    Phrase.TASK_CORES: "other processes on their cores",
    Phrase.OTHER_CORES: "other processes on other cores",
    Phrase.STEAL: "other virtual machines (steal)",
    Phrase.CPU_PRESSURE: "waiting for a CPU",
    Phrase.CPU_CLOCK: "a lower CPU clock",
    Phrase.CPU_HEAT: "thermal throttling",
    Phrase.CPU_QUOTA: "the container's CPU limit",
    Phrase.MEMORY_PRESSURE: "memory pressure",
    Phrase.SWAP: "memory pressure",
    Phrase.GPU_PROCESSES: "other processes on their GPU",
    Phrase.GPU_BUSY: "other processes on their GPU",
    Phrase.GPU_THROTTLING: "GPU throttling",
    Phrase.GPU_CLOCK: "a lower GPU clock",
    Phrase.GPU_LOSS: "a lost GPU",
    Phrase.CANARY: "a canary whose time changed",
}
_OTHER = "another source"
_NAMED = re.compile(r"([\w.+-][\w.+ -]{0,40}) \(pid \d+\)")
MOST_KINDS = 3
MOST_NAMES = 3


def describe_interference(rows: Iterable[TaskRow]) -> str:
    """Return `7 of 12 timed runs had interference: …, in 7 (stress-ng)`; empty without any."""
    ran = [row for row in select_last_attempts(rows) if row.timed]
    texts = [row.interference for row in ran if row.interference_free is False]
    if not texts:
        return ""
    count = f"{len(texts):,} of {len(ran):,} timed runs"
    text = f"{count} had interference: {_count_kinds(texts)}"
    names = [name for name, _ in Counter(_find_names(texts)).most_common(MOST_NAMES)]
    return f"{text} ({', '.join(names)})" if names else text


def _count_kinds(texts: Iterable[str]) -> str:
    found = Counter(kind for text in texts for kind in dict.fromkeys(_find_kinds(text)))
    return ", ".join(f"{kind} in {count:,}" for kind, count in found.most_common(MOST_KINDS))


def _find_kinds(text: str) -> list[str]:
    return [kind for phrase, kind in _KINDS.items() if phrase in text] or [_OTHER]


def _find_names(texts: Iterable[str]) -> Iterator[str]:
    """Yield the names of interfering processes, each once per run."""
    for text in texts:
        yield from dict.fromkeys(name.strip() for name in _NAMED.findall(text))
