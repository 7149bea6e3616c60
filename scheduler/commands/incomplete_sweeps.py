"""What a report says of a sweep that was interrupted, or still runs."""

from pathlib import Path

from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.results.store import Store


def describe_unfinished(store: Store, sweep_id: str, results: str | Path) -> str:
    """Empty, if all that was planned has come to a row."""
    found = store.summary(sweep_id)
    left = found.planned - found.finished
    if left <= 0:
        return ""
    again = format_command("run", "--resume", sweep_id, "--results", results)
    verb = "is" if left == 1 else "are"
    return (
        f"This sweep has not ended: {left:,} of {found.planned:,} runs {verb} missing. "
        f"Unless it still runs, go on with: {again}"
    )
