"""The end of a process that a framework runs in."""

import os
import sys
from typing import Callable, List


def run_and_exit(main: Callable[[List[str]], int]) -> None:
    """Run `main` on the arguments, and exit with its status; with 1 if it raises.

    At once: exit hooks and threads of frameworks take seconds or hang.
    """
    status = 1
    try:
        status = main(sys.argv[1:])
    finally:  # also if `failed` could not be sent because its reader is gone
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
