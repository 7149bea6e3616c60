"""The process that queries the GPU driver, so that a crash does not reach its parent.

velodrome.agents.sampling.driver starts it with a bare interpreter (no site, few imports). It writes
one JSON object to the original file descriptor 1; the library's own output goes to stderr.
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
    """Run one query. Arguments: the module whose query() runs, and the parent's PID."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[2]):
        return  # the parent died before prctl
    answer = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(answer, "w") as file:
        json.dump(_query(sys.argv[1]), file)
    os._exit(0)  # the library may hang at exit, too


def _query(module: str) -> dict[str, object]:
    """Return query()'s result as `answer`, else why the library did not load or start."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return {"unloadable": str(error)}
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"status": error.value}
    return {"answer": import_module(module).query()}
