"""The GPU driver's state, queried in a separate process with a deadline.

A driver may hang at its start and ignore every signal, even SIGKILL while in the kernel, or end the
process that queries it. A query takes 0.1 s (a bare interpreter and nvidia-ml-py) where the library
is installed, 1 ms where it is not.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from velodrome.agents.node import Gpu
from velodrome.agents.sampling.amd_gpus import list_amd_devices, query_amd_gpus
from velodrome.agents.sampling.driver_faults import (
    DRIVER,
    DriverFault,
    exit_fault,
    load_fault,
    missing_fault,
    start_fault,
    status_fault,
    timeout_fault,
)
from velodrome.agents.sampling.driver_process import LIBRARY
from velodrome.agents.sampling.other_accelerators import (
    describe_driverless_nvidia,
    describe_other_accelerators,
)

log = logging.getLogger(__name__)

VARIABLE = "VELODROME_GPU_DEADLINE_S"
DEADLINE_S = 30.0  # without persistence mode some drivers take over a second per GPU
LONGEST_S = 86400.0
END_S = 2.0  # after SIGKILL; a process in an uninterruptible call outlives that
START = (
    "import sys; sys.path += sys.argv[3:]; "
    "from velodrome.agents.sampling.driver_process import main; main()"
)
ABSENT = f"{LIBRARY}: cannot open shared object file: No such file"
# Default paths of ld.so(8), for any architecture.
CACHE = Path("/etc/ld.so.cache")
FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
NOT_LOADED = 9  # NVML_ERROR_DRIVER_NOT_LOADED
PCI_DEVICES = Path("/sys/bus/pci/devices")
KERNEL_GPUS = Path("/proc/driver/nvidia/gpus")  # driver README, "The /proc File System Interface"
DEVICE_FILES = Path("/dev")
NVIDIA, DISPLAY = "0x10de", "0x03"


@dataclass(frozen=True)
class DriverState:
    """GPUs and faults of the driver. No GPU and no fault: there is no driver.

    faults: of the driver or of single GPUs. cuda_major: the newest CUDA that it runs; None:
    unknown. note: GPUs of NVIDIA without a driver here, which may be others'. others: accelerators
    that no task can use, with the reason.
    """

    gpus: tuple[Gpu, ...] = ()
    cuda_major: int | None = None
    faults: tuple[DriverFault, ...] = ()
    note: str = ""
    others: str = ""


def query_gpus() -> DriverState:
    """List the usable GPUs: NVIDIA's, or if there is none AMD's; and name all others.

    A GPU in MIG mode is replaced by its instances.
    """
    state = query_nvidia_gpus()
    if state.gpus or state.faults:
        return replace(state, others=query_other_makers(has_nvidia=True).others)
    return query_other_makers(has_nvidia=False)


def query_other_makers(*, has_nvidia: bool) -> DriverState:
    """List AMD's GPUs, and name all other accelerators; beside NVIDIA's GPUs, AMD's are such."""
    if has_nvidia:
        return DriverState(others=describe_other_accelerators(has_nvidia=True))
    amd = query_amd_gpus()
    shown = {device.folder.name for device in list_amd_devices()}
    others = describe_other_accelerators(shown)
    return DriverState(amd.gpus, None, amd.faults, describe_driverless_nvidia(), others)


def query_nvidia_gpus() -> DriverState:
    """List NVIDIA's GPUs, without a look for other makers'."""
    answer = query_driver("velodrome.agents.sampling.gpus")
    if answer is None:
        return DriverState()
    if isinstance(answer, DriverFault):
        return DriverState(faults=(answer,))
    faults = tuple(DriverFault(*fault) for fault in answer["faults"])
    return DriverState(
        gpus=tuple(
            Gpu(**gpu, numa_node=_numa_node(answer["pci_bus_ids"][gpu["index"]]))
            for gpu in answer["gpus"]
        ),
        cuda_major=answer["cuda_major"],
        faults=(*faults, *find_missing_gpus(answer["pci_bus_ids"])),
    )


def find_missing_gpus(counted: Sequence[str]) -> tuple[DriverFault, ...]:
    """Describe each GPU that the kernel module has and the library does not count.

    A GPU that fails to start is such a one. Those whose device file this process may not use are of
    others: the control group of a container or a job hides them from the library as well. counted:
    as in velodrome.agents.sampling.gpus.list_bus_ids; each unknown address may be any.
    """
    known = {_short(address) for address in counted if address}
    folders = sorted(KERNEL_GPUS.iterdir()) if KERNEL_GPUS.is_dir() else []
    missing = [
        folder.name
        for folder in folders
        if _short(folder.name) not in known and _may_use(folder / "information")
    ]
    if len(missing) <= sum(not address for address in counted):
        return ()
    return tuple(map(missing_fault, missing))


def _numa_node(address: str) -> int | None:
    """Read the NUMA node of a PCI address; None: unknown, as -1 in the kernel's file."""
    domain, _, rest = address.lower().partition(":")
    text = _read_line(PCI_DEVICES / f"{domain[-4:]}:{rest}" / "numa_node")
    return int(text) if text.isdigit() else None


def _short(address: str) -> str:
    """Shorten a PCI address to the form without leading zeros of its domain."""
    return address.lower().lstrip("0")


def _may_use(information: Path) -> bool:
    minor = re.search(r"Device Minor:\s*(\d+)", _read_line(information))
    return minor is not None and os.access(DEVICE_FILES / f"nvidia{minor[1]}", os.R_OK | os.W_OK)


def query_driver(module: str) -> Mapping[str, Any] | DriverFault | None:
    """Run that module's query() in a process and return its JSON. None: there is no driver."""
    if not is_installed(os.environ):
        return None
    deadline_s = _deadline_s(os.environ)
    try:
        process = _start_query(module)
    except OSError as error:
        return start_fault(str(error))
    try:
        output, errors = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        return timeout_fault(deadline_s, VARIABLE, _kill(process))
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0 or not output:
        return exit_fault(_describe_exit(process.returncode, errors))
    return _parse_answer(json.loads(output))


def _start_query(module: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, module, str(os.getpid()), *import_paths()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which then kills it
    )


def is_installed(environ: Mapping[str, str], cache: Path = CACHE) -> bool:
    """Return True if the linker may find the driver's library; the library is not loaded."""
    named = environ.get("LD_LIBRARY_PATH") or FOLDERS[0]
    if any(Path(folder, LIBRARY).exists() for folder in (*re.split("[:;]", named), *FOLDERS)):
        return True
    try:
        return f"/{LIBRARY}\0".encode() in cache.read_bytes()
    except OSError:  # no cache, as on Alpine: then let the linker search
        return True


def has_nvidia_gpu(devices: Path) -> bool:
    """Return True if the machine has an NVIDIA GPU, with or without a driver."""
    return any(
        _read_line(device / "vendor") == NVIDIA and _read_line(device / "class").startswith(DISPLAY)
        for device in (devices.iterdir() if devices.is_dir() else ())
    )


def _parse_answer(reply: Mapping[str, Any]) -> Mapping[str, Any] | DriverFault | None:
    if "answer" in reply:
        answer: Mapping[str, Any] = reply["answer"]
        return answer
    if "status" in reply:
        # Images and clusters also install the library on machines without a GPU.
        if reply["status"] == NOT_LOADED and not has_nvidia_gpu(PCI_DEVICES):
            return None
        return status_fault(DRIVER, reply["status"])
    message = str(reply["unloadable"])
    return None if message.startswith(ABSENT) else load_fault(message)


def _kill(process: "subprocess.Popen[bytes]") -> int:
    """Return its PID if it cannot be killed (nobody waits for it then), else 0."""
    process.kill()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        return process.pid
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    return 0


def _describe_exit(status: int, errors: bytes) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    if status < 0:
        return f"by signal {-status}: {signal.strsignal(-status)}"
    return f"exit status {status}" + (f": {lines[-1][:200]}" if lines else "")


def _deadline_s(environ: Mapping[str, str]) -> float:
    text = environ.get(VARIABLE, "")
    try:
        deadline_s = float(text or DEADLINE_S)
    except ValueError:
        deadline_s = 0.0
    if 0 < deadline_s <= LONGEST_S:  # which nan is not
        return deadline_s
    log.warning(
        "%s=%s is not a number of seconds from 0 to 86400; using %g", VARIABLE, text, DEADLINE_S
    )
    return DEADLINE_S


def import_paths() -> list[str]:
    """List the paths of this package and of nvidia-ml-py, for a bare interpreter."""
    found = find_spec("pynvml")
    source = str(Path(__file__).parents[3])
    return [source, str(Path(found.origin).parent)] if found and found.origin else [source]


def _read_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
