"""Signals that ask a command to end: the first one ends it in order, and none can be missed.

Python hands a signal to its main thread, as an exception. That thread may be in somebody else's C
(a driver, a file system that hangs) and never look up, and an exception that is raised in a
destructor is printed and dropped. So a thread of its own hears of the signal, too, by the wakeup
descriptor: it raises what was dropped once more, and ends the process when GRACE_S are over. What
a sweep has finished is on disk before anything else is begun, and keepers end what was started
(docs/decisions/0002): such an end loses nothing.

Later signals change nothing: what cleans up is not to be cut short by whoever asks twice.
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

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 15.0  # systemd gives 90, Kubernetes, SLURM and Ray's jobs 30
AGAIN_S = 0.05
_DROPPED = b"\0"  # no signal's number
_SHOW_CURSOR = b"\x1b[?25h"


@dataclass
class _State:
    """Of this process, which has one set of handlers."""

    heeded: tuple[signal.Signals, ...] = ()
    ignored: tuple[signal.Signals, ...] = ()
    number: int = 0
    is_raised: bool = False
    is_over: bool = False
    word: str = ""
    wakes: list[int] = field(default_factory=list)


_state = _State()


def install_handlers() -> None:
    """From now on. A signal that was ignored when the process began (nohup) stays so."""
    _state.ignored = tuple(one for one in HEEDED if signal.getsignal(one) is signal.SIG_IGN)
    _state.heeded = tuple(one for one in HEEDED if one not in _state.ignored)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    _state.wakes = [reads, writes]
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    sys.unraisablehook = _unraisable
    threading.Thread(target=_watch, args=(reads,), name="interrupts", daemon=True).start()
    for one in _state.heeded:
        signal.signal(one, _on_signal)


def reinstall_handlers() -> None:
    """After a library (Ray) has put handlers of its own in place of ours, or of none."""
    for one in _state.heeded:
        signal.signal(one, signal.SIG_IGN if _state.is_over else _on_signal)
    for one in _state.ignored:
        signal.signal(one, signal.SIG_IGN)


def ignore_signals() -> None:
    """The work is done: its status is what counts, whatever comes now."""
    _state.is_over = True
    for one in _state.heeded:
        signal.signal(one, signal.SIG_IGN)


def received_signal() -> int:
    """The number of the signal that ends this command; 0: none has come."""
    return _state.number


@contextmanager
def on_interrupt(word: str) -> Iterator[None]:
    """What is said besides when the command is interrupted within: what is kept, how to go on."""
    before, _state.word = _state.word, word
    yield
    _state.word = before  # not after an exception: it is said when all is cleaned up


def interrupt_message() -> str:
    """Of a command that was interrupted."""
    return f"interrupted; {_state.word}" if _state.word else "interrupted"


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.is_over:
        return
    _state.number = _state.number or number
    if not _state.is_raised:
        _state.is_raised = True
        raise KeyboardInterrupt


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    if _state.is_raised and issubclass(unraisable.exc_type, KeyboardInterrupt):
        os.write(_state.wakes[1], _DROPPED)
    else:
        sys.__unraisablehook__(unraisable)


def _watch(wakes: int) -> None:
    # Otherwise the kernel could hand this thread the signal that is to wake up the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    heard = os.read(wakes, 64)
    ends_s = time.monotonic() + GRACE_S
    timer = threading.Thread(target=_end, args=(ends_s, heard[0]), name="end", daemon=True)
    timer.start()
    while True:
        if _DROPPED in heard:
            time.sleep(AGAIN_S)  # until the destructor is left
            _state.is_raised = False
            os.kill(os.getpid(), _state.number)
        heard = os.read(wakes, 64)


def _end(ends_s: float, number: int) -> None:
    time.sleep(max(0.0, ends_s - time.monotonic()))
    if _state.is_over:
        return
    cursor = _SHOW_CURSOR if os.isatty(2) else b""
    try:
        os.write(2, cursor + f"velodrome: {interrupt_message()}\n".encode(errors="replace"))
    finally:
        os._exit(128 + number)
