"""Memory that a worker frees stays with it, so that no timed call waits for pages."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import numpy
from velodrome.adapters.worker.heap import keep_freed_memory

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(2 ** 19)  # 4 MiB: 1024 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
count_faults()
print(count_faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the thresholds are glibc's")
def test_a_block_that_was_freed_is_used_again_without_page_faults() -> None:
    command = [sys.executable, "-c", COUNT_FAULTS]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(printed) < 100
