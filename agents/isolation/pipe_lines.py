"""The lines of a pipe as they come, without ever waiting for one."""

import os
from collections.abc import Iterator

CHUNK_BYTES = 1 << 16
LONGEST_BYTES = 16 << 20
MOST_BYTES = 128 << 20  # over an hour of samples of 1 ms


class EndlessLine(Exception):
    """A line is longer than LONGEST_BYTES, or all together than MOST_BYTES: no worker's are."""


class PipeLines:
    """Reads the descriptor, which it owns from now on. ended: the last writer is gone."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.ended = False
        self._begun = bytearray()
        self._taken_bytes = 0

    def take(self) -> tuple[str, ...]:
        """The lines that are complete by now, of all that is in the pipe. EndlessLine."""
        for part in self._parts():
            self._begun += part
            self._taken_bytes += len(part)
            if len(self._begun) > LONGEST_BYTES:
                break
        if self._taken_bytes > MOST_BYTES:
            raise EndlessLine(f"its events are more than {MOST_BYTES} bytes")
        *whole, rest = self._begun.split(b"\n")
        if len(rest) > LONGEST_BYTES:
            raise EndlessLine(f"a line is longer than {LONGEST_BYTES} bytes")
        self._begun = rest
        return tuple(line.decode(errors="replace") for line in whole)

    def close(self) -> None:
        os.close(self.descriptor)

    def _parts(self) -> Iterator[bytes]:
        while not self.ended:
            try:
                part = os.read(self.descriptor, CHUNK_BYTES)
            except BlockingIOError:
                return
            self.ended = not part
            yield part
