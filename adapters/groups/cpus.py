"""The CPUs of each process of a group."""

import os

from velodrome.adapters.protocol import Request


def run_on(request: Request, rank: int) -> None:
    """Let this process, and threads that it starts from here on, run on its CPUs alone."""
    if request.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(cpu) for cpu in request.cpus[rank].split(",")])
