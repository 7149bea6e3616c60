"""Errors outside a task: one class per kind of fix, with the command's exit status."""

INCOMPLETE = 5
"""Exit status if rows are missing, because files cannot be read; each file is named."""

PROBLEM_LENGTH = 300  # characters; a name in a file may have megabytes


class VelodromeError(Exception):
    """An error that the user can fix; its text needs no traceback."""

    exit_status = 1


class ConfigError(VelodromeError):
    """An error in a file or on the command line that its author can fix.

    place is `file:line:column`, or as much of it as there is. The text is one line: a name in
    somebody's file could otherwise write lines of its own among ours.
    """

    exit_status = 2

    def __init__(self, place: str, problem: str, mend: str) -> None:
        short = problem if len(problem) <= PROBLEM_LENGTH else f"{problem[:PROBLEM_LENGTH]}..."
        super().__init__(" ".join(f"{place}: {short}. {mend}".splitlines()))
        self.place = place
        self.problem = problem
        self.mend = mend

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, str, str]]:
        return type(self), (self.place, self.problem, self.mend)


class SweepBusy(ConfigError):
    """Another process is running this sweep."""


class ClusterUnreachable(VelodromeError):
    """Ray does not answer, or could not be started."""

    exit_status = 3


class EnvironmentUnavailable(VelodromeError):
    """No environment could be built, so nothing could be measured."""

    exit_status = 4


class StoreError(VelodromeError):
    """Results could not be written or read; nothing half-written is visible."""


class RowsMissing(StoreError):
    """Rows that a sweep wrote are not where they were stored."""

    exit_status = INCOMPLETE


class StoreFull(StoreError):
    """No space is left. need_bytes: size of the file that did not fit."""

    def __init__(self, path: str, need_bytes: int) -> None:
        super().__init__(
            f"{path}: no space left for {need_bytes:,} bytes of results. "
            "Free some or choose another folder with --results, then continue with --resume."
        )
        self.path = path
        self.need_bytes = need_bytes

    def __reduce__(self) -> tuple[type["StoreFull"], tuple[str, int]]:
        return type(self), (self.path, self.need_bytes)
