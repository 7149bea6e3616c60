"""GPUs under the real nvidia-ml-py over a driver that is made up: tests/fake_nvml/fake_nvml.c."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from velodrome.agents.doctor import gpus
from velodrome.agents.doctor.finding import DoctorFinding, FindingLevel
from velodrome.agents.doctor.gpu_states import GpuState, GpuStates
from velodrome.agents.gpu_allotment import find_allotment
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.driver_faults import DRIVER, status_fault

LOCKS = {"torch": (("gpu",),), "jax": (("cuda12",),)}

HEALTHY = """\
{0} persistence 1
{0} ecc 1:1
{0} compute_mode 0
{0} application_mhz 1410
{0} default_application_mhz 1410
{0} limit_mw 400000
{0} default_limit_mw 400000
{0} mig 0:0
{0} reasons 1
"""

READ = """
import json
from velodrome.agents.sampling.driver import query_driver
print(json.dumps(query_driver("velodrome.agents.doctor.gpu_driver")))
"""


def query_states(
    driver: Path, state: Path, gpu_names: str, cuda: str = "12080"
) -> GpuStates | None:
    """Read the driver's state in a new process."""
    environment = {
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_NVML": gpu_names,
        "FAKE_NVML_STATE": str(state),
        "FAKE_NVML_CUDA": cuda,
    }
    command = [sys.executable, "-c", READ]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
    fields = json.loads(done.stdout)
    return replace(GpuStates.from_fields(fields), sees_all=True) if fields else None


def by_check(states: GpuStates | None) -> dict[str, DoctorFinding]:
    return {finding.check: finding for finding in gpus.check_gpus(states, LOCKS)}


def test_two_well_configured_gpus_pass_every_check(fake_driver: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text(HEALTHY.format(0) + HEALTHY.format(1))
    found = by_check(query_states(fake_driver, state, "NVIDIA A100-SXM4-80GB:2"))
    assert {finding.verdict for finding in found.values()} == {FindingLevel.FINE}
    assert found["GPU driver"].seen == "999.1-fake, CUDA 12: torch, jax"
    assert found["GPU power limit"].seen == "400 W"
    assert found["GPU ECC"].seen == "on"


def test_each_setting_that_slows_a_gpu_names_the_gpu_and_the_remedy(
    fake_driver: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    wrong = """\
1 persistence 0
1 ecc 0:0
1 compute_mode 2
1 application_mhz 1005
1 default_application_mhz 1410
1 limit_mw 250000
1 default_limit_mw 400000
1 mig 1:1
1 instance 1g.10gb:9728
1 reasons 68
1 process 4711:300
"""
    state.write_text(HEALTHY.format(0) + wrong)
    found = by_check(query_states(fake_driver, state, "NVIDIA A100-SXM4-80GB:2", cuda="11040"))
    assert {finding.verdict for finding in found.values()} == {FindingLevel.WARNING}
    assert {check: (finding.seen, finding.mend) for check, finding in found.items()} == {
        "GPU driver": (
            "999.1-fake, CUDA 11: torch; no lock for: jax",
            "install a newer driver (https://docs.nvidia.com/deploy/cuda-compatibility): the locks "
            "need cuda12",
        ),
        "GPU persistence": ("off on GPU 1", "sudo nvidia-smi -i 1 -pm 1"),
        "GPU ECC": ("off on GPU 1, on on GPU 0", "sudo nvidia-smi -i 1 -e 1, then restart"),
        "GPU compute mode": ("prohibited on GPU 1", "sudo nvidia-smi -i 1 -c DEFAULT"),
        "GPU clocks": ("GPU 1 1005 of 1410 MHz", "sudo nvidia-smi -i 1 -rac"),
        "GPU power limit": ("GPU 1 250 of 400 W", "sudo nvidia-smi -i 1 -pl 400"),
        "GPU partitions (MIG)": (
            "on, now or after the next reset: GPU 1",
            "sudo nvidia-smi -i 1 -mig 0",
        ),
        "GPU processes": (
            "GPU 1: pid 4711",
            "end them, or ask their owners to (nvidia-smi names them)",
        ),
        "GPU throttling": (
            "GPU 1: power cap, heat (hardware)",
            "let it cool down, end its processes; see nvidia-smi -q -d PERFORMANCE",
        ),
    }


def test_a_check_is_unknown_if_the_driver_does_not_report_it(
    fake_driver: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_text("")
    found = by_check(query_states(fake_driver, state, "NVIDIA T4:1"))
    unknown = {check for check, one in found.items() if one.verdict is FindingLevel.UNKNOWN}
    assert unknown == {
        "GPU persistence",
        "GPU ECC",
        "GPU compute mode",
        "GPU clocks",
        "GPU power limit",
        "GPU partitions (MIG)",
        "GPU throttling",
    }


def test_an_empty_process_list_inside_a_container_is_unknown() -> None:
    found = gpus.check_processes([GpuState(0, "T4", pids=())], sees_all=False)
    assert found.verdict is FindingLevel.UNKNOWN


def test_a_pending_ecc_change_warns() -> None:
    found = gpus.check_ecc([GpuState(0, "T4", ecc=(True, False))])
    assert (found.verdict, found.seen) == (
        FindingLevel.WARNING,
        "GPU 0: changes at the next start",
    )


def test_gpus_of_different_models_may_differ_in_ecc() -> None:
    found = gpus.check_ecc(
        [GpuState(0, "A100", ecc=(True, True)), GpuState(1, "A10", ecc=(False,) * 2)]
    )
    assert (found.verdict, found.seen) == (FindingLevel.FINE, "on, off")


def test_only_the_gpus_of_an_allotment_are_checked(fake_driver: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text(HEALTHY.format(1) + "0 process 4711:300\n")
    states = query_states(fake_driver, state, "NVIDIA A100-SXM4-80GB:2")
    all_gpus = tuple(Gpu(index, "A100", f"GPU-{index}", 0) for index in range(2))
    given = find_allotment(all_gpus, {"CUDA_VISIBLE_DEVICES": "1"})
    found = {each.check: each for each in gpus.check_gpus(states, LOCKS, given)}
    assert {each.verdict for each in found.values()} == {FindingLevel.FINE}
    assert found["GPU allotment"].seen.startswith("1 of 2 GPUs belongs to this allotment")
    none = gpus.check_gpus(states, LOCKS, find_allotment(all_gpus, {"CUDA_VISIBLE_DEVICES": ""}))
    assert [each.check for each in none] == ["GPU driver", "GPU allotment"]
    assert none[1].verdict is FindingLevel.WARNING and "unset" in none[1].mend


def test_a_library_without_a_driver_gives_one_finding(fake_driver: Path, tmp_path: Path) -> None:
    assert query_states(fake_driver, tmp_path / "state", "") is None
    assert [finding.check for finding in gpus.check_gpus(None, LOCKS)] == ["GPU driver"]


def test_a_driver_without_a_gpu_warns() -> None:
    found = by_check(GpuStates("580.1", 13, (), sees_all=True))
    assert found["GPU driver"].verdict is FindingLevel.WARNING


def test_a_driver_fault_warns_with_its_own_remedy() -> None:
    faults = (status_fault(DRIVER, 18), status_fault("GPU 1", 15))
    found = by_check(GpuStates("", None, (), sees_all=False, faults=faults))["GPU driver"]
    assert found.verdict is FindingLevel.WARNING
    assert "library and a kernel module of different releases (NVML 18)" in found.seen
    assert "GPU 1 has fallen off the bus (NVML 15)" in found.seen
    assert "modprobe nvidia" in found.mend
