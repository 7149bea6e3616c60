"""Why a time that is proven is marked `~`, in words short enough for a footnote."""

from collections import Counter
from collections.abc import Sequence

from velodrome.scheduler.reports.task_rows import Row

WORDS = {
    "wide": "the samples leave more open than the target",
    "few": "too few samples that do not depend on each other",
    "kinds": "samples are of two kinds, and the median hangs on their shares",
    "slow": "slow noise: more time would move the median",
    "drift": "the speed changed while it was measured",
}
UNTOLD = "the time did not settle"  # rows from before there were words for it


def is_stable(row: Row, phase: str) -> bool:
    """By the samples of that phase alone; rows of old tell of the gradient's."""
    own = row.get("forward_stable") if phase == "forward" else None
    return bool(row["stable"] if own is None else own)


def describe_instability(rows: Sequence[Row], phase: str) -> str:
    """Of the processes of one cell; empty if each is stable by its own samples."""
    found = Counter(
        WORDS.get(str(row.get(f"{phase}_instability")), UNTOLD)
        for row in rows
        if not is_stable(row, phase)
    )
    return "; ".join(f"{words}{_share(count, len(rows))}" for words, count in found.most_common())


def _share(count: int, of: int) -> str:
    return f" ({count} of {of} processes)" if of > 1 else ""
