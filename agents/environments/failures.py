"""The failure to provide an environment."""


class EnvironmentFailed(Exception):
    """An environment cannot be provided. Exit status 4; outcome `environment_failed`.

    reason: one line with a fix. log_tail: the end of the tools' output.
    """

    def __init__(self, reason: str, log_tail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[type["EnvironmentFailed"], tuple[str, str]]:
        """Both fields survive pickling between processes, as in a Ray task."""
        return (EnvironmentFailed, (self.reason, self.log_tail))


class UnsupportedAccelerator(EnvironmentFailed):
    """No lock serves GPUs of this maker, whatever their driver. Outcome `unsupported`."""

    def __reduce__(self) -> tuple[type["EnvironmentFailed"], tuple[str, str]]:
        return (UnsupportedAccelerator, (self.reason, self.log_tail))
