"""A task on an AMD GPU that is made up, from the inventory to its measurement.

It runs below a /sys of its own, in a mount namespace. A build for ROCm is stood in for by NumPy.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_sys import GIB, MadeUpSys

FRAMEWORKS = Path(__file__).parents[2] / "fleet" / "frameworks"
MOUNT = 'mount --bind "$1" /sys && shift && exec "$@"'
UUID = "GPU-000000000000abc1"
EXECUTE = """
import json, sys
from pathlib import Path
from velodrome.adapters.protocol import Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.sampling import amd_gpus
from velodrome.agents.task import Task
amd_gpus.COMPUTE_DEVICE = Path("/dev/null")  # one that this user may open
timing = Timing(target=0.9, min_samples=3, min_seconds=1.0, max_seconds=2.0)
task = Task("numpy_gpu", "float64", "canary", 2, device="gpu", gpu_count=1, timing=timing)
found = execute(task, node=take_inventory("this"), repeat=1, attempt=1,
                on_event=lambda event: None, environments=EnvironmentStore(Path(sys.argv[1])))
assert found.status.has_number, (found.status, found.reason, found.log_tail)
gradient = next(means for means in found.means if means.phase == "gradient")
print(json.dumps({
    "gpu": [found.gpu_name, found.gpu_uuids, found.gpu_compute_capability, found.gpu_numa_nodes],
    "means": [gradient.gpu_percent, gradient.gpu_memory_percent, gradient.gpu_power_w,
              gradient.sm_mhz],
    "memory": found.peak_gpu_memory_bytes, "energy": [found.energy_source, found.energy_reason],
    "notes": found.notes,
}))
"""


def refuses_namespaces() -> bool:
    words = ["unshare", "--mount", "true"]
    try:
        return subprocess.run(words, stderr=subprocess.DEVNULL).returncode != 0
    except FileNotFoundError:
        return True


@pytest.mark.slow
@pytest.mark.skipif(refuses_namespaces(), reason="needs root, or a system with mount namespaces")
def test_a_task_on_an_amd_gpu_is_measured_with_utilization_power_and_memory(
    sys_folder: MadeUpSys, tmp_path: Path
) -> None:
    sys_folder.add_mi210s(1)
    variables = {
        "VELODROME_ADAPTERS": str(FRAMEWORKS),
        "VELODROME_PYTHON_NUMPY_GPU": sys.executable,
        "VELODROME_PYTHON_NUMPY": sys.executable,
    }
    inside = [str(sys_folder.root), sys.executable, "-c", EXECUTE, str(tmp_path / "envs")]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", MOUNT, "sh", *inside],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["gpu"] == ["AMD Instinct MI210", [UUID], "", [1]]
    assert report["means"] == [87, 41, 212, 1700]
    assert report["memory"] == 3 * GIB
    source, reason = report["energy"]
    assert source in ("estimated", "unavailable")  # a busy machine leaves gaps in its power
    assert reason.startswith("GPU 0 has no energy counter")
    assert f"given {UUID}" in report["notes"]
