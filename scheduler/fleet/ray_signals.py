"""A Ray that leaves the signals of its driver alone.

It answers SIGTERM by itself, twice: in Python with an exit status of its own, and below that in C++
with a crash log, even where the signal was ignored, and from the middle of `ray.init` on. There is
no setting for either. The C++ one is installed once per process, which a variable of Ray's own
remembers; where a later Ray has no such variable, ours are put back as soon as it lets go.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from velodrome.scheduler import interrupts

IS_INSTALLED = "_ZN3ray6RayLog36is_failure_signal_handler_installed_E"


@contextmanager
def without_signal_handlers() -> Iterator[None]:
    """For the time of `ray.init`, in a process that heeds signals."""
    from ray import _raylet
    from ray._private import utils

    theirs = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    is_installed = _is_installed(_raylet.__file__)
    is_installed.value = True
    try:
        yield
    finally:
        is_installed.value = False  # else it is uninstalled by `ray.shutdown`, and ours with it
        utils.set_sigterm_handler = theirs
        interrupts.reinstall_handlers()


def _is_installed(library: str) -> ctypes.c_bool:
    try:
        return ctypes.c_bool.in_dll(ctypes.CDLL(library), IS_INSTALLED)
    except (OSError, ValueError):
        return ctypes.c_bool()
