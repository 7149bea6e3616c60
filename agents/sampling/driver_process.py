"""The process that asks the GPUs' driver: whatever becomes of it there, its parent goes on.

It is started by velodrome.agents.sampling.driver, by a bare interpreter (no site, few imports), and
writes one JSON object to what was file descriptor 1: what the library may print goes to stderr.
"""

import ctypes
import json
import os
import signal
import sys
from importlib import import_module

LIBRARY = "libnvidia-ml.so.1"
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Its arguments: the module whose tell() asks, and its parent's PID."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[2]):
        return  # it died before
    answer = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(answer, "w") as file:
        json.dump(_told(sys.argv[1]), file)
    os._exit(0)  # the library's own end may hang, too


def _told(module: str) -> dict[str, object]:
    """What tell() says as `told`; else how the library could not be loaded or not be started."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return {"unloadable": str(error)}
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"status": error.value}
    return {"told": import_module(module).tell()}
