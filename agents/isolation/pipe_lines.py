"""Non-blocking reads of the lines of a pipe."""

import os
import time
from collections.abc import Iterator

CHUNK_BYTES = 1 << 16
LONGEST_BYTES = 16 << 20
MOST_BYTES = 128 << 20  # over an hour of samples of 1 ms
MOST_LINES = 100_000  # half a day of chunks of samples


class EndlessLine(Exception):
    """Output beyond all limits: LONGEST_BYTES a line, MOST_BYTES or MOST_LINES in all."""


class PipeLines:
    """Reads a descriptor, which it owns from now on. at_end: the last writer is gone.

    The lines of the last take() were written after after_ns, when the pipe was seen empty, and
    before by_ns, in ns of CLOCK_MONOTONIC.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.at_end = False
        self.after_ns = self.by_ns = self._empty_ns = time.monotonic_ns()
        self._partial = bytearray()
        self._taken_bytes = 0
        self._taken_lines = 0

    def take(self) -> tuple[str, ...]:
        """Return all complete lines in the pipe. EndlessLine."""
        self.after_ns = self._empty_ns
        for part in self._parts():
            self._partial += part
            self._taken_bytes += len(part)
            if len(self._partial) > LONGEST_BYTES:
                break
        self.by_ns = time.monotonic_ns()
        if self._taken_bytes > MOST_BYTES:
            raise EndlessLine(f"its events are more than {MOST_BYTES} bytes")
        *whole, rest = self._partial.split(b"\n")
        if len(rest) > LONGEST_BYTES:
            raise EndlessLine(f"a line is longer than {LONGEST_BYTES} bytes")
        self._partial = rest
        self._taken_lines += len(whole)
        if self._taken_lines > MOST_LINES:
            raise EndlessLine(f"its events are more than {MOST_LINES}")
        return tuple(line.decode(errors="replace") for line in whole)

    def close(self) -> None:
        os.close(self.descriptor)

    def _parts(self) -> Iterator[bytes]:
        while not self.at_end:
            read_ns = time.monotonic_ns()
            try:
                part = os.read(self.descriptor, CHUNK_BYTES)
            except BlockingIOError:
                self._empty_ns = read_ns
                return
            self.at_end = not part
            yield part
