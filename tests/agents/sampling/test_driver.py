"""Every fault of a GPU driver is reported soon, in words, with the remedy.

The driver is a fake (tests/fake_nvml); the querying process and nvidia-ml-py are real.
"""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pynvml
import pytest

from velodrome.agents.doctor import runner
from velodrome.agents.node import Gpu
from velodrome.agents.sampling import driver, sampler
from velodrome.agents.sampling.driver import VARIABLE, has_nvidia_gpu, query_driver, query_gpus
from velodrome.agents.sampling.driver_faults import DriverFault

SOURCE = Path(__file__).parents[2] / "fake_nvml" / "fake_nvml.c"
FUNCTIONS = re.findall(r"(?m)^int (nvml\w+)\(", SOURCE.read_text())
STATUSES = sorted(
    value
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(value, int)
)
# Calls that every driver and every GPU must answer.
NEEDED = {
    "nvmlInitWithFlags",
    "nvmlSystemGetDriverVersion",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetMemoryInfo",
}
# What a sound driver may not have, or not for this user.
WELCOME = {
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetPowerManagementLimit",
    "nvmlDeviceGetCudaComputeCapability",
}


@pytest.fixture(autouse=True)
def two_gpus(fake_driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_driver))
    monkeypatch.setenv("FAKE_NVML", "NVIDIA L40S:2")
    monkeypatch.setenv(VARIABLE, "60")


def test_a_working_driver_has_no_fault() -> None:
    seen = query_gpus()
    assert (len(seen.gpus), seen.cuda_major, seen.faults) == (2, 13, ())


@pytest.mark.slow
def test_each_start_status_of_the_driver_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults = {}
    for status in (*STATUSES, 77):  # which no release has
        monkeypatch.setenv("FAKE_NVML_FAILS", f"nvmlInitWithFlags={status}")
        seen = query_gpus()
        assert seen.gpus == ()
        faults[status] = seen.faults
    assert faults.pop(pynvml.NVML_ERROR_DRIVER_NOT_LOADED) == ()  # no GPU is built in here
    for status, (fault,) in faults.items():
        assert f"(NVML {status})" in fault.problem
        assert len(fault.mend) > 20
    (mismatch,) = faults[18]
    assert "different releases" in mismatch.problem and "modprobe" in mismatch.mend


def test_a_gpu_without_a_loaded_driver_is_a_fault_and_a_lone_library_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x020000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert has_nvidia_gpu(tmp_path)
    (tmp_path / "a" / "class").write_text("0x0c0330\n")  # a board's USB port
    assert not has_nvidia_gpu(tmp_path)
    assert not has_nvidia_gpu(tmp_path / "none")
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlInitWithFlags=9")
    assert query_gpus() == driver.DriverState()
    (tmp_path / "a" / "class").write_text("0x030200\n")
    monkeypatch.setattr(driver, "PCI_DEVICES", tmp_path)
    (fault,) = query_gpus().faults
    assert "no loaded kernel module" in fault.problem
    assert "modprobe nvidia" in fault.mend


def test_a_missing_library_means_no_driver_and_a_damaged_one_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if not driver.is_installed({}):
        assert query_gpus() == driver.DriverState()
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"\x7fELF")  # as a full disk leaves it
    (fault,) = query_gpus().faults
    assert "cannot be loaded" in fault.problem and "Reinstall the whole driver" in fault.mend


def test_a_library_is_found_wherever_the_dynamic_linker_searches(
    fake_driver: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "ld.so.cache"
    cache.write_bytes(b"glibc-ld.so.cache1.1\0libnvidia-ml.so.1\0/opt/x/libnvidia-ml.so.1\0")
    assert driver.is_installed({}, cache)
    cache.write_bytes(b"glibc-ld.so.cache1.1\0libc.so.6\0/lib/libc.so.6\0")
    assert driver.is_installed({"LD_LIBRARY_PATH": f":{tmp_path}:{fake_driver}"}, cache)
    assert driver.is_installed({}, tmp_path / "none")  # then the linker is asked


@pytest.mark.slow
def test_each_failing_driver_call_is_named_unless_it_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {*NEEDED, *WELCOME} <= set(FUNCTIONS)
    for function in FUNCTIONS:
        monkeypatch.setenv("FAKE_NVML_FAILS", f"{function}=999")
        if function in NEEDED | WELCOME:
            seen = query_gpus()
            assert seen.faults, function
            assert all("(NVML 999" in fault.problem for fault in seen.faults)
        else:  # only the doctor's, called while a task runs, or replaceable by another call
            states = query_driver("velodrome.agents.doctor.gpu_driver")
            assert states is not None and not isinstance(states, DriverFault), function
            assert (len(states["gpus"]), states["faults"]) == (2, []), function


def test_an_unsupported_call_of_a_working_driver_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", ",".join(f"{name}=3" for name in WELCOME))
    seen = query_gpus()
    assert (len(seen.gpus), seen.cuda_major, seen.faults) == (2, 13, ())


def assert_only_gpu_0_is_used(file: Path, state: str, fault: str) -> None:
    """Assert it for a fake driver that reads this file, with the beginning of the other's fault."""
    file.write_text(state)
    seen = query_gpus()
    assert [gpu.index for gpu in seen.gpus] == [0]
    (found,) = seen.faults
    assert str(found).startswith(fault)


def test_a_lost_gpu_is_named_and_the_others_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML_STATE", str(tmp_path / "state"))
    assert_only_gpu_0_is_used(
        tmp_path / "state",
        "1 fails 15\n",
        "GPU 1 has fallen off the bus (NVML 15). Restart the machine",
    )


def add_kernel_gpu(root: Path, address: str, minor: int) -> None:
    """Make what the kernel module shows of a GPU: a folder in /proc, and a device file."""
    (root / "gpus" / address).mkdir(parents=True)
    text = f"Model: \t\t NVIDIA L40S\nBus Location: \t {address}\nDevice Minor: \t {minor}\n"
    (root / "gpus" / address / "information").write_text(text)
    (root / f"nvidia{minor}").touch()


def test_a_gpu_that_the_kernel_has_and_the_driver_omits_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "KERNEL_GPUS", tmp_path / "gpus")
    monkeypatch.setattr(driver, "DEVICE_FILES", tmp_path)
    for minor, address in enumerate(("0000:01:00.0", "0000:02:00.0")):
        add_kernel_gpu(tmp_path, address, minor)
    assert query_gpus().faults == ()
    add_kernel_gpu(tmp_path, "0000:0A:00.0", 2)
    seen = query_gpus()
    (fault,) = seen.faults
    assert len(seen.gpus) == 2
    assert str(fault).startswith("the GPU at 0000:0A:00.0 did not start")
    states = runner.read_gpu_states()
    assert states is not None and states.faults == (fault,)
    (tmp_path / "nvidia2").unlink()  # as in a container that was not given this one
    assert query_gpus().faults == ()


def test_a_gpu_has_the_numa_node_of_its_place_on_the_pci_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "PCI_DEVICES", tmp_path)
    for address, text in (("0000:01:00.0", "1\n"), ("0000:02:00.0", "-1\n")):
        (tmp_path / address).mkdir()
        (tmp_path / address / "numa_node").write_text(text)
    assert [gpu.numa_node for gpu in query_gpus().gpus] == [1, None]


def test_a_lost_gpu_whose_address_is_unknown_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "KERNEL_GPUS", tmp_path / "gpus")
    monkeypatch.setattr(driver, "DEVICE_FILES", tmp_path)
    for minor, address in enumerate(("0000:01:00.0", "0000:02:00.0")):
        add_kernel_gpu(tmp_path, address, minor)
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlDeviceGetHandleByIndex_v2=15")
    assert [fault.whose for fault in query_gpus().faults] == ["GPU 0", "GPU 1"]


def test_a_gpu_in_mig_mode_without_an_instance_is_named_beside_a_usable_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML_STATE", str(tmp_path / "state"))
    assert_only_gpu_0_is_used(
        tmp_path / "state", "1 mig 1:1\n", "GPU 1 is in MIG mode and has no instance. Make some"
    )


@pytest.mark.parametrize("function", ["nvmlInitWithFlags", "nvmlDeviceGetName"])
def test_a_hanging_driver_is_named_at_the_deadline_and_its_process_is_killed(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", f"{function}=hangs")
    monkeypatch.setenv(VARIABLE, "1")
    begun_s = time.monotonic()
    (fault,) = query_gpus().faults
    assert "does not answer within 1 s" in fault.problem
    assert VARIABLE in fault.mend
    assert time.monotonic() - begun_s < 10
    assert psutil.Process().children() == []


def test_a_driver_that_ends_its_calling_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlInitWithFlags=dies")
    (fault,) = query_gpus().faults
    assert "crashed the process that queried it (by signal 6" in fault.problem


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "1e30", "soon"])
def test_an_invalid_deadline_is_logged_and_ignored(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert len(query_gpus().gpus) == 2
    assert f"{VARIABLE}={text} is not a number of seconds" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_waits_for_a_hanging_driver_can_be_ended(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlInitWithFlags=hangs")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from velodrome.agents.sampling.driver import query_gpus; query_gpus()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    ) as waiting:
        child = _hung_child(waiting.pid)
        waiting.send_signal(number)
        waiting.wait(10)
    psutil.wait_procs([child], 5)
    assert not child.is_running()


def _hung_child(pid: int) -> psutil.Process:
    """Once it blocks every signal: then it is in the driver."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{child.pid}/status").read_text())
            if blocked and int(blocked[1], 16) & (1 << (signal.SIGTERM - 1)):
                return child
        time.sleep(0.05)
    raise AssertionError("nobody asks the driver")


@pytest.mark.slow
def test_a_driver_that_hangs_during_sampling_costs_a_task_only_its_readings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlDeviceGetUtilizationRates=hangs")
    monkeypatch.setattr(sampler, "STOP_S", 1.0)
    gpus: tuple[Gpu, ...] = query_gpus().gpus
    with subprocess.Popen(["sleep", "60"]) as worker:
        with sampler.Sampler(worker.pid, gpus=gpus) as sampled:
            time.sleep(0.5)
        worker.kill()
    assert "may have blocked it" in sampled.fault
    assert sampled.readings  # the first, which needs no driver
