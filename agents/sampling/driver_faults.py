"""Faults of NVIDIA's driver: each error status in words, with a fix."""

from dataclasses import dataclass

DRIVER = "the GPU driver"
REINSTALL = "Reinstall the whole driver and restart the machine"
RESTART = "Restart the machine; if it happens again, see `sudo dmesg | grep -i nvrm`"
UPDATE = "Install a newer driver, or an nvidia-ml-py as old as this driver"
RIGHTS = "Give this user access to /dev/nvidia*; start a container with its GPUs (`--gpus all`)"

# nvmlReturn_t of nvml.h: its meaning for a driver or a GPU, and the fix.
_WORDS = {
    1: ("is not initialized", UPDATE),
    2: ("reports an invalid argument", UPDATE),
    3: ("does not support the query", "Install a driver that supports these GPUs"),
    4: ("denies this user access", RIGHTS),
    5: ("is already initialized", UPDATE),
    6: ("does not find the queried object", RESTART),
    7: ("needs a larger buffer for its answer", UPDATE),
    8: ("lacks power: a cable is not connected", "Connect all power cables of the GPUs"),
    9: (
        "has no loaded kernel module",
        "Run `sudo modprobe nvidia`; if that fails, reinstall the driver for this kernel "
        "(`dkms status`)",
    ),
    10: ("timed out", RESTART),
    11: ("receives no interrupts from the kernel", RESTART),
    12: ("does not find one of its own libraries", REINSTALL),
    13: ("lacks the called function", UPDATE),
    14: ("has a damaged infoROM", "Have the GPU repaired; see `nvidia-smi -q`"),
    15: (
        "has fallen off the bus",
        "Restart the machine; if it happens again, check its slot, power and cooling "
        "(`sudo dmesg | grep -i xid`)",
    ),
    16: ("must be reset", "`sudo nvidia-smi --gpu-reset`, or restart the machine"),
    17: ("is denied the GPUs by the operating system or its control groups", RIGHTS),
    18: (
        "has a library and a kernel module of different releases",
        "Restart the machine, or reload the module: `sudo rmmod nvidia_uvm nvidia && sudo "
        "modprobe nvidia`",
    ),
    19: ("is in exclusive use by another process", "End that process (see `nvidia-smi`)"),
    20: ("is out of memory", "End what uses the machine's memory"),
    21: ("has no data", RESTART),
    22: ("has no ECC under a virtual GPU", RESTART),
    23: ("has insufficient resources", RESTART),
    24: ("does not support that clock", UPDATE),
    25: ("expects another version of the argument", UPDATE),
    26: ("no longer supports the query", UPDATE),
    27: ("is not ready yet", "Try again in a minute; if that fails, restart the machine"),
    28: ("does not find the GPU", RESTART),
    29: ("is in an invalid state", RESTART),
    999: ("reports an unknown error", RESTART),
}
_OTHER = ("reports an error of newer drivers", RESTART)
# A lost GPU answers nothing until it or the machine restarts; a further query may block.
LOST = (15, 16)


@dataclass(frozen=True)
class DriverFault:
    """A fault of the driver, or of a GPU by its number. mend: a sentence or two, no full stop."""

    whose: str
    problem: str
    mend: str

    def __str__(self) -> str:
        return f"{self.whose} {self.problem}. {self.mend}"


def status_fault(whose: str, status: int, question: str = "") -> DriverFault:
    """Describe an nvmlReturn_t. question: the function that returned it; empty: the start."""
    problem, mend = _WORDS.get(status, _OTHER)
    call = f", {question}" if question else ""
    return DriverFault(whose, f"{problem} (NVML {status}{call})", mend)


def load_fault(message: str) -> DriverFault:
    """Describe a message of the dynamic linker."""
    return DriverFault(DRIVER, f"has a library that cannot be loaded ({message})", REINSTALL)


def missing_fault(address: str) -> DriverFault:
    """Describe a GPU at this PCI address that the kernel module has and the library omits."""
    return DriverFault(f"the GPU at {address}", "did not start: the driver omits it", RESTART)


def exit_fault(how: str) -> DriverFault:
    return DriverFault(DRIVER, f"crashed the process that queried it ({how})", REINSTALL)


def start_fault(why: str) -> DriverFault:
    """Describe a failure to start the query's process."""
    mend = "End some of this user's processes, or raise their limit (`ulimit -u`)"
    return DriverFault(DRIVER, f"cannot be queried: no process could be started ({why})", mend)


def timeout_fault(deadline_s: float, variable: str, left_pid: int = 0) -> DriverFault:
    """Describe a query without an answer. left_pid: a process that cannot be killed, or 0."""
    left = f", and its process {left_pid} cannot be killed" if left_pid else ""
    return DriverFault(
        DRIVER,
        f"does not answer within {deadline_s:g} s{left}",
        f"{RESTART}. If it is only slow, keep it loaded (`sudo nvidia-smi -pm 1`), or raise "
        f"{variable} (seconds)",
    )
