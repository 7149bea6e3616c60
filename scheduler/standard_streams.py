"""Standard streams that survive a closed reader, terminal or full disk.

None of these is a reason to lose a nightly run. What cannot be written is dropped; the reason is
printed once on stderr, unless the reader simply left; a command that only shows something ends with
status 1 then.
"""

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The reader stopped reading, or its window is closed: not an error.
READER_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)


class _Stream(io.RawIOBase):
    """A descriptor that accepts all writes. failure: why output is lost from then on."""

    def __init__(self, number: int, failure: OSError | None = None) -> None:
        self.failure = failure
        self.is_reported = False
        self._number = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, content: "ReadableBuffer", /) -> int:
        if self.failure is None:
            try:
                return os.write(self._number, content)
            except BlockingIOError:  # another process made the terminal non-blocking
                select.select([], [self._number], [])
                return 0
            except OSError as error:
                self.failure = error
        if self._number == 1:
            _report_failure(self)
        return memoryview(content).nbytes


class _Shown:
    """State of stdout. is_all: the command does nothing but print."""

    stdout: _Stream | None = None
    is_all = True


def install_streams() -> None:
    """Replace Python's standard streams; open closed ones on /dev/null.

    Otherwise the next file opened would get a closed stream's number, and its output.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for number in closed:
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if 0 in closed:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stderr = _wrap_text(_open_stream(2, closed), sys.stderr)
    _Shown.stdout = _open_stream(1, closed)
    sys.stdout = _wrap_text(_Shown.stdout, sys.stdout)


def ignore_output_errors() -> None:
    """Mark that the command does more than print: its status does not depend on a reader."""
    _Shown.is_all = False


def is_stdout_open() -> bool:
    """Return True if printed output still arrives."""
    return _Shown.stdout is None or _Shown.stdout.failure is None


def exit_status(of_work: int) -> int:
    """Return the command's exit status after flushing its output."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # it is closed
            stream.flush()
    lost = _Shown.stdout is not None and _Shown.stdout.is_reported
    return of_work or int(lost and _Shown.is_all)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open_stream(number: int, closed: list[int]) -> _Stream:
    failure = OSError(errno.EBADF, os.strerror(errno.EBADF)) if number in closed else None
    return _Stream(number, failure)


def _wrap_text(stream: _Stream, instead_of: TextIO | None) -> TextIO:
    encoding = getattr(instead_of, "encoding", None) or "utf-8"
    errors = getattr(instead_of, "errors", None) or "strict"
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=encoding,
        errors="replace"
        if errors == "strict"
        else errors,  # for characters that the terminal lacks
        line_buffering=stream.fileno() == 2 or stream.isatty(),
        write_through=bool(getattr(instead_of, "write_through", False)),
    )


def _report_failure(stream: _Stream) -> None:
    failure = stream.failure
    if failure is None or failure.errno in READER_GONE or stream.is_reported:
        return
    stream.is_reported = True
    onward = "" if _Shown.is_all else "; the command continues"
    sys.stderr.write(
        f"velodrome: standard output cannot be written ({failure.strerror or failure}){onward}\n"
    )
