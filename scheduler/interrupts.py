"""Handling of SIGINT, SIGTERM and SIGHUP: the first one ends a command in order, none is missed.

Python raises a signal as an exception in the main thread. That thread may be in foreign C code (a
driver, a file system that hangs) and never return, and an exception raised in a destructor is
printed and dropped. So a separate thread reads the signal, too, from the wakeup descriptor: it
raises a dropped one again, and ends the process after GRACE_S. Finished runs are on disk before
anything else begins, and supervisors end what was started (docs/decisions/0002): such an end loses
nothing.

Later signals change nothing: they must not interrupt the cleanup.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 15.0  # systemd gives 90, Kubernetes, SLURM and Ray's jobs 30
RERAISE_S = 0.05
_DROPPED = b"\0"  # no signal's number
_SHOW_CURSOR = b"\x1b[?25h"


@dataclass
class _State:
    """Signal state of this process, which has one set of handlers."""

    handled: tuple[signal.Signals, ...] = ()
    ignored: tuple[signal.Signals, ...] = ()
    number: int = 0
    is_raised: bool = False
    is_over: bool = False
    message: str = ""
    wakes: list[int] = field(default_factory=list)


_state = _State()


def install_handlers() -> None:
    """Install the handlers. A signal that was ignored at the start (nohup) stays ignored."""
    _state.ignored = tuple(
        number for number in HANDLED if signal.getsignal(number) is signal.SIG_IGN
    )
    _state.handled = tuple(number for number in HANDLED if number not in _state.ignored)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    _state.wakes = [reads, writes]
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    sys.unraisablehook = _on_unraisable
    threading.Thread(target=_watch, args=(reads,), name="interrupts", daemon=True).start()
    for number in _state.handled:
        signal.signal(number, _on_signal)


def reinstall_handlers() -> None:
    """Restore the handlers after a library (Ray) has replaced them."""
    for number in _state.handled:
        signal.signal(number, signal.SIG_IGN if _state.is_over else _on_signal)
    for number in _state.ignored:
        signal.signal(number, signal.SIG_IGN)


def ignore_signals() -> None:
    """Ignore further signals: the work is done, and its status counts."""
    _state.is_over = True
    for number in _state.handled:
        signal.signal(number, signal.SIG_IGN)


def get_signal() -> int:
    """Return the number of the signal that ends this command; 0: none."""
    return _state.number


@contextmanager
def explain_interrupt(message: str) -> Iterator[None]:
    """Add a message for an interrupt within this block: what is kept, how to resume."""
    before, _state.message = _state.message, message
    yield
    _state.message = before  # not after an exception: it is printed after the cleanup


def format_interrupt_message() -> str:
    """Return the message of an interrupted command."""
    return f"interrupted; {_state.message}" if _state.message else "interrupted"


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.is_over:
        return
    _state.number = _state.number or number
    if not _state.is_raised:
        _state.is_raised = True
        raise KeyboardInterrupt


def _on_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    if _state.is_raised and issubclass(unraisable.exc_type, KeyboardInterrupt):
        os.write(_state.wakes[1], _DROPPED)
    else:
        sys.__unraisablehook__(unraisable)


def _watch(wakes: int) -> None:
    # Otherwise the kernel could hand this thread the signal that is to wake up the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    received = os.read(wakes, 64)
    ends_s = time.monotonic() + GRACE_S
    timer = threading.Thread(target=_end, args=(ends_s, received[0]), name="end", daemon=True)
    timer.start()
    while True:
        if _DROPPED in received:
            time.sleep(RERAISE_S)  # until the destructor has ended
            _state.is_raised = False
            os.kill(os.getpid(), _state.number)
        received = os.read(wakes, 64)


def _end(ends_s: float, number: int) -> None:
    time.sleep(max(0.0, ends_s - time.monotonic()))
    if _state.is_over:
        return
    cursor = _SHOW_CURSOR if os.isatty(2) else b""
    try:
        os.write(2, cursor + f"velodrome: {format_interrupt_message()}\n".encode(errors="replace"))
    finally:
        os._exit(128 + number)
