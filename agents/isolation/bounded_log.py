"""A log file of bounded size: the beginning and the end of what a process prints."""

import os

KEPT_BYTES = 1 << 16  # of the beginning, and of the end
CHUNK_BYTES = 1 << 16


class BoundedLog:
    """Copies a pipe to a file: the beginning at once, the end when the log is closed."""

    def __init__(self, path: str, pipe: int) -> None:
        self._pipe = pipe
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._room = KEPT_BYTES
        self._tail = b""
        self._left_out = 0

    def take(self) -> bool:
        """Copy one chunk; return False if the pipe is empty or at its end."""
        try:
            part = os.read(self._pipe, CHUNK_BYTES)
        except BlockingIOError:
            return False
        head, rest = part[: self._room], part[self._room :]
        self._write(head)
        self._room -= len(head)
        longer = self._tail + rest
        self._tail = longer[-KEPT_BYTES:]
        self._left_out += len(longer) - len(self._tail)
        return bool(part)

    def close(self) -> None:
        """Copy what is left in the pipe, without waiting, and close the file."""
        os.set_blocking(self._pipe, False)
        while self.take():
            pass
        if self._left_out:
            self._write(b"\n[... %d bytes left out ...]\n" % self._left_out)
        self._write(self._tail)
        os.close(self._file)

    def _write(self, content: bytes) -> None:
        try:
            os.write(self._file, content)
        except OSError:  # a full disk costs the log, never the measurement
            return
