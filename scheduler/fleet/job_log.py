"""A job's log as lines, each once, though it comes in pieces, and again after a break."""

from collections.abc import Callable


class LogLines:
    """Tells each line when it is whole, without its end."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._taken = 0  # characters
        self._known = 0  # of the pieces to come, those that were taken before the break
        self._begun = ""

    def from_the_start(self) -> None:
        """What comes next is the log's first piece."""
        self._known = self._taken

    def take(self, piece: str) -> None:
        new = piece[self._known :]
        self._known = max(0, self._known - len(piece))
        self._taken += len(new)
        *whole, self._begun = (self._begun + new).split("\n")
        for line in whole:
            self._tell(line)

    def end(self) -> None:
        """A line that was cut short by the job's end."""
        if self._begun:
            self._tell(self._begun)
            self._begun = ""
