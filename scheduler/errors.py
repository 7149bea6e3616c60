"""What can go wrong outside a task: one class per kind of mend, with the command's exit status."""

INCOMPLETE = 5
"""Exit status of what was done over fewer rows than there should be; each file is named."""

PROBLEM_LENGTH = 300  # characters; whoever wrote a name of megabytes need not read it again


class VelodromeError(Exception):
    """A fault that its reader can mend; its text stands by itself, without a traceback."""

    exit_status = 1


class ConfigError(VelodromeError):
    """Something in a file or on the command line that its author can mend.

    place is `file:line:column`, or as much of it as there is. The text is one line: a name in
    somebody's file could otherwise write lines of its own among ours.
    """

    exit_status = 2

    def __init__(self, place: str, problem: str, mend: str) -> None:
        told = problem if len(problem) <= PROBLEM_LENGTH else f"{problem[:PROBLEM_LENGTH]}..."
        super().__init__(" ".join(f"{place}: {told}. {mend}".splitlines()))
        self.place = place
        self.problem = problem
        self.mend = mend

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, str, str]]:
        return type(self), (self.place, self.problem, self.mend)


class SweepBusy(ConfigError):
    """Another process is working on this very sweep."""


class ClusterUnreachable(VelodromeError):
    """No Ray answers, or none could be started."""

    exit_status = 3


class EnvironmentUnavailable(VelodromeError):
    """No environment could be built, so nothing could be measured."""

    exit_status = 4


class StoreError(VelodromeError):
    """Results could not be written or read; nothing half-written is visible."""


class RowsMissing(StoreError):
    """What a sweep has finished is not where it was kept."""

    exit_status = INCOMPLETE


class StoreFull(StoreError):
    """There is no room left. need_bytes is what the file that did not fit would have taken."""

    def __init__(self, path: str, need_bytes: int) -> None:
        super().__init__(
            f"{path}: no space left for {need_bytes:,} bytes of results. "
            "Free some or choose another folder with --results, then go on with --resume."
        )
        self.path = path
        self.need_bytes = need_bytes

    def __reduce__(self) -> tuple[type["StoreFull"], tuple[str, int]]:
        return type(self), (self.path, self.need_bytes)
