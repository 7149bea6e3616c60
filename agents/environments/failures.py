"""What goes wrong on a node in ways that its user can mend."""


class EnvironmentFailed(Exception):
    """A framework's environment cannot be had. Exit status 4; outcome `environment_failed`.

    reason is one line and says what to do; log_tail is the end of what the tools printed.
    """

    def __init__(self, reason: str, log_tail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[type["EnvironmentFailed"], tuple[str, str]]:
        """Both fields survive the way back from another process, such as a Ray task."""
        return (EnvironmentFailed, (self.reason, self.log_tail))
