"""Inventories of a real Ray of one node, whose process that takes one is killed."""

import subprocess
import sys

import pytest

JOIN_IT = """
import time
import psutil
from velodrome.scheduler.fleet.embedded_ray import embedded_ray, apply_ray_variables

def find_idle():
    while True:
        for process in psutil.Process().children(recursive=True):
            if process.name() == "ray::IDLE":
                return process
        time.sleep(0.05)

with embedded_ray(1, 0) as started:
    apply_ray_variables(started.variables)
    from velodrome.scheduler.fleet.cluster import connect
    with connect(started.address):
        from velodrome.scheduler.fleet.membership import Membership
        with Membership() as members:
            idle = find_idle()
            idle.suspend()  # so that it is still at it when it is killed
            changes = list(members.poll_changes(0.0))
            time.sleep(1)
            idle.kill()
            now_s = 0.0
            while not members.is_complete:
                time.sleep(0.05)
                now_s += 0.5  # ten times as fast: a node whose process was killed rests for 10 s
                changes += members.poll_changes(now_s)
            print([type(change).__name__ for change in changes], now_s > 10)
"""


@pytest.mark.slow
def test_a_node_whose_inventory_fails_once_is_waited_for_and_joins() -> None:
    """A sweep was planned without it, and nothing said so."""
    done = subprocess.run(
        [sys.executable, "-c", JOIN_IT], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout.splitlines() == ["['Joined'] True"], done.stdout + done.stderr
