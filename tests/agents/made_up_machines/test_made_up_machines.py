"""`nodes`, `plan`, `doctor` and the row of a task on machines that are made up."""

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from made_up_sys import XPU, MadeUpSys

from velodrome.adapters.protocol import Timing
from velodrome.agents import inventory
from velodrome.agents.doctor import runner
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Status
from velodrome.agents.task import Task
from velodrome.scheduler.commands.catalogue import show_nodes
from velodrome.scheduler.commands.plan import PlanScope, plan_over
from velodrome.scheduler.results.task_row import task_row

SWEEP = "frameworks: [torch]\nmodels: [lenet]\ndevices: [gpu]\nthreads: [1]\nrepeats: 1\n"
ARM_CPU = "processor\t: 0\nFeatures\t: fp asimd bf16 sve\nCPU implementer\t: 0x41\n"
ARM_CPU += "CPU variant\t: 0x0\nCPU part\t: 0xd4f\n"
FRAMEWORKS = Path(__file__).parents[2] / "fleet" / "frameworks"
QUICK = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=1.0)


HOST = platform.node()
H100 = "NVIDIA H100 80GB HBM3"
CUDA_13 = ("fine", "580.95.05, CUDA 13: torch, tensorflow, jax", "")
SET_TORCH = "set VELODROME_PYTHON_TORCH to an interpreter with torch for ROCm"


class Seen(NamedTuple):
    """What all four say.

    nodes: the line of GPUs, and the remarks below the table. plan: the lock of a GPU task of torch,
    or its status and the reason. doctor: level, observation and mend of each check that is not
    `unknown`. row: status and reason of the same task, executed.
    """

    nodes: tuple[str, ...]
    plan: tuple[str, ...]
    doctor: dict[str, tuple[str, str, str]]
    row: tuple[str, str] = ("", "")


@pytest.fixture
def look(
    sys_folder: MadeUpSys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Seen]:
    """Look at this machine by all four; the row is of `torch` on a GPU, where it cannot run."""
    monkeypatch.setenv("VELODROME_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr(runner, "INTERVAL_S", 0.0)
    (tmp_path / "sweep.yaml").write_text(SWEEP)

    def nodes() -> tuple[str, ...]:
        show_nodes("", as_json=False)
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        (gpus,) = (line for line in lines if line.startswith("GPUs"))
        remarks = lines[lines.index(next(x for x in lines if x.startswith("versions"))) + 1 : -1]
        return (gpus.removeprefix("GPUs").strip(), *filter(None, remarks))

    def plan() -> tuple[str, ...]:
        scope = PlanScope((take_inventory(),))
        plan_over(scope, tmp_path / "sweep.yaml", "", with_reasons=False, as_json=True)
        (entry,) = json.loads(capsys.readouterr().out)
        plan_over(scope, tmp_path / "sweep.yaml", "", with_reasons=False, as_json=False)
        counted = "unsupported" if "1 unsupported" in capsys.readouterr().out else "unplaceable"
        lock = next(iter(entry["locks"].values()), None)
        return (counted, entry["reason"]) if lock is None else (lock,)

    def row() -> tuple[str, str]:
        task = Task("torch", "eager", "lenet", 2, device="gpu", gpu_count=1, timing=QUICK)
        found = run(task, tmp_path)
        return str(found["status"]), str(found["reason"])

    def doctor() -> dict[str, tuple[str, str, str]]:
        found = {one.check: one for one in runner.examine(Kernel()) if one.verdict != "unknown"}
        named = {name: found[name] for name in found if "GPU" in name or "accel" in name}
        named.pop("GPU processes", None)
        return {name: (one.verdict.value, one.seen, one.mend) for name, one in named.items()}

    def all_four(*, with_row: bool = True) -> Seen:
        return Seen(nodes(), plan(), doctor(), row() if with_row else ("", ""))

    return all_four


def run(task: Task, folder: Path) -> dict[str, object]:
    store = EnvironmentStore(folder / "home" / "envs")
    found = execute(
        task,
        node=take_inventory(),
        repeat=1,
        attempt=1,
        environments=store,
        on_event=lambda _: None,
    )
    return task_row("s", found)


@pytest.fixture
def nvidia(fake_driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two GPUs of NVIDIA with driver 580; return the file of their states."""
    state = tmp_path / "state"
    state.write_text("0 capability 9.0\n1 capability 9.0\n0 total_mib 81920\n1 total_mib 81920\n")
    for name, value in {
        "LD_LIBRARY_PATH": str(fake_driver),
        "FAKE_NVML": "NVIDIA H100 80GB HBM3:2",
        "FAKE_NVML_STATE": str(state),
        "FAKE_NVML_DRIVER": "580.95.05",
        "FAKE_NVML_CUDA": "13000",
    }.items():
        monkeypatch.setenv(name, value)
    return state


def run_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return the row of a GPU task of NumPy, which computes on the CPU and notes its GPU."""
    monkeypatch.setenv("VELODROME_ADAPTERS", str(FRAMEWORKS))
    for name in ("NUMPY", "NUMPY_GPU"):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name}", sys.executable)
    task = Task("numpy_gpu", "float64", "canary", 2, device="gpu", gpu_count=1, timing=QUICK)
    return run(task, tmp_path)


@pytest.mark.slow
def test_two_mig_instances(
    look: Callable[..., Seen], nvidia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML", f"{H100}:1")
    nvidia.write_text(
        "0 mig 1:1\n0 capability 9.0\n"
        "0 instance 3g.40gb:40192\n0 instance 3g.40gb:40192\n"
        "0.0 total_mib 40192\n0.1 total_mib 40192\n"
    )
    assert look(with_row=False) == Seen(
        nodes=(f"2 x {H100} MIG 3g.40gb (39 GiB, compute capability 9.0)",),
        plan=("linux-x86_64-cuda13.txt",),
        doctor={
            "GPU driver": CUDA_13,
            "GPU partitions (MIG)": (
                "warning",
                "on, now or after the next reset: GPU 0",
                "sudo nvidia-smi -i 0 -mig 0",
            ),
        },
    )
    row = run_stand_in(tmp_path, monkeypatch)
    uuid = "MIG-fa4e0000-0000-0000-0000-000000000000"
    assert chosen(row) == [True, f"{H100} MIG 3g.40gb", [uuid], "9.0"]
    assert f"given {uuid}" in str(row["notes"])  # the one of the two that CUDA shows the worker
    assert row["energy_reason"] == f"{uuid} of GPU 0 has no meter of its own"
    assert row["vendor_peak_reason"] == "a MIG instance is a part of a GPU"


@pytest.mark.slow
def test_one_gpu_of_two_is_lost(
    look: Callable[..., Seen], nvidia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia.write_text("0 capability 9.0\n0 total_mib 81920\n1 fails 15\n")
    problem = "GPU 1 has fallen off the bus (NVML 15)"
    mend = "Restart the machine; if it happens again, check its slot, power and cooling "
    mend += "(`sudo dmesg | grep -i xid`)"
    assert look(with_row=False) == Seen(
        nodes=(f"{H100} (80 GiB, compute capability 9.0)", f"{problem}. {mend}"),
        plan=("linux-x86_64-cuda13.txt",),
        doctor={"GPU driver": ("warning", problem, mend)},
    )
    row = run_stand_in(tmp_path, monkeypatch)
    uuid = "GPU-fa4e0000-0000-0000-0000-000000000000"
    assert chosen(row) == [True, H100, [uuid], "9.0"]


def chosen(row: dict[str, object]) -> list[object]:
    """Whether there is a number, which a busy machine leaves unstable, and the GPU's columns."""
    names = ("gpu_name", "gpu_uuids", "gpu_compute_capability")
    return [Status(str(row["status"])).has_number, *(row[name] for name in names)]


def test_an_nvml_of_another_release_than_the_kernel_module(
    look: Callable[..., Seen], nvidia: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML_FAILS", "nvmlInitWithFlags=18")
    problem = "the GPU driver has a library and a kernel module of different releases (NVML 18)"
    mend = "Restart the machine, or reload the module: `sudo rmmod nvidia_uvm nvidia && "
    mend += "sudo modprobe nvidia`"
    fault = f"{problem}. {mend}"
    assert look() == Seen(
        nodes=("none usable", fault),
        plan=("unplaceable", f"needs 1 GPU, no node has one; {HOST}: {fault}"),
        doctor={"GPU driver": ("warning", problem, mend)},
        row=("unplaceable", f"1 GPU, and {HOST} has none: {fault}"),
    )


def test_amd_alone(
    look: Callable[..., Seen], sys_folder: MadeUpSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys_folder.add_mi210s(2)
    no_driver = ("fine", "no NVIDIA driver: no GPU of NVIDIA is measured here", "")
    found = look()
    assert found == Seen(
        nodes=("2 x AMD Instinct MI210 (64 GiB)",),
        plan=(
            "unsupported",
            f"needs GPUs of NVIDIA, which torch is locked for, the nodes have AMD's ({SET_TORCH})",
        ),
        doctor={
            "GPU driver": no_driver,
            "AMD GPUs": ("warning", "2 x AMD Instinct MI210", SET_TORCH),
        },
        row=(
            "unsupported",
            "torch is not locked for AMD's GPUs. Set VELODROME_PYTHON_TORCH to an interpreter with "
            "its build for ROCm",
        ),
    )
    monkeypatch.setenv("VELODROME_PYTHON_TORCH", sys.executable)
    named = look(with_row=False)
    assert named.plan == ("",)  # it can run, by no lock
    assert named.doctor["AMD GPUs"][:2] == (
        "fine",
        "2 x AMD Instinct MI210; torch by VELODROME_PYTHON_TORCH",
    )


def test_amd_beside_nvidia(look: Callable[..., Seen], nvidia: Path, sys_folder: MadeUpSys) -> None:
    sys_folder.add_mi210s(2)
    others = "2 x AMD GPU 740f (not used beside NVIDIA's)"
    assert look(with_row=False) == Seen(
        nodes=(f"2 x {H100} (80 GiB, compute capability 9.0)", others),
        plan=("linux-x86_64-cuda13.txt",),
        doctor={"GPU driver": CUDA_13, "other accelerators": ("fine", others, "")},
    )
    assert take_inventory().gpu_remarks == ""  # they are no reason why GPUs are missing


def test_intel_alone(look: Callable[..., Seen], sys_folder: MadeUpSys) -> None:
    sys_folder.add_device("0000:03:00.0", XPU, "xe")
    others = "Intel GPU 0bda (no framework is locked for XPU)"
    no_driver = ("fine", "no NVIDIA driver: no GPU of NVIDIA is measured here", "")
    assert look() == Seen(
        nodes=("none usable", others),
        plan=("unsupported", f"needs 1 GPU, no node has one; {HOST}: {others}"),
        doctor={"GPU driver": no_driver, "other accelerators": ("fine", others, "")},
        row=("unsupported", f"1 GPU, and {HOST} has none: {others}"),
    )


def test_nvidia_without_a_driver_beside_intel(
    look: Callable[..., Seen], sys_folder: MadeUpSys
) -> None:
    sys_folder.add_device("0000:00:02.0", {**XPU, "class": "0x030000"}, "i915")
    sys_folder.add_device("0000:01:00.0", {**XPU, "vendor": "0x10de", "device": "0x2684"})
    note = "NVIDIA GPU 2684 (this process finds no driver of NVIDIA)"
    others = "Intel GPU 0bda (no framework is locked for XPU)"
    found = look()
    assert found.nodes == ("none usable", note, others)
    assert found.plan == ("unplaceable", f"needs 1 GPU, no node has one; {HOST}: {note}; {others}")
    assert found.doctor["GPUs without a driver"][:2] == ("warning", note)
    assert found.row == ("unplaceable", f"1 GPU, and {HOST} has none: {note}; {others}")


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Arm host as the kernel describes one."""
    own = os.uname()
    uname = os.uname_result((own.sysname, own.nodename, own.release, own.version, "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: uname)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    (tmp_path / "cpuinfo").write_text(ARM_CPU)
    monkeypatch.setattr(inventory, "CPUINFO", tmp_path / "cpuinfo")


@pytest.mark.usefixtures("arm")
def test_an_arm_host(
    look: Callable[..., Seen], nvidia: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look(with_row=False) == Seen(
        nodes=(f"2 x {H100} (80 GiB, compute capability 9.0)",),
        plan=("linux-aarch64-cuda13.txt",),
        doctor={
            "GPU driver": (
                "fine",
                "580.95.05, CUDA 13: torch, jax; not locked for GPUs on this platform: tensorflow",
                "",
            )
        },
    )
    show_nodes("", as_json=True)
    (node,) = json.loads(capsys.readouterr().out)
    assert (node["architecture"], node["cpu_model"]) == ("aarch64", "ARM 0x41 0xd4f 0x0")
    assert node["instructions"] == "asimd bf16 sve"
