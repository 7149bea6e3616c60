"""What is wrong where NVIDIA's driver answers with an error, in words, and what mends it."""

from dataclasses import dataclass

DRIVER = "the GPU driver"
REINSTALL = "Install the driver anew, whole, and restart the machine"
RESTART = "Restart the machine; if it comes again, `sudo dmesg | grep -i nvrm` says more"
UPDATE = "Install a newer driver, or an nvidia-ml-py that is as old as this one"
RIGHTS = "Give this user the rights on /dev/nvidia*; start a container with its GPUs (`--gpus all`)"

# nvmlReturn_t of nvml.h: what it means of a driver or of a GPU, and what mends it.
_WORDS = {
    1: ("says that nobody has started it", UPDATE),
    2: ("takes what it was asked for invalid", UPDATE),
    3: ("does not support what it was asked", "Install a driver that supports these GPUs"),
    4: ("lets this user ask nothing", RIGHTS),
    5: ("says that it is started already", UPDATE),
    6: ("does not find what it was asked for", RESTART),
    7: ("wants more room for its answer", UPDATE),
    8: ("lacks power: a cable is not plugged in", "Plug in all power cables of the GPUs"),
    9: (
        "has no kernel module that is loaded",
        "`sudo modprobe nvidia`; where that fails, install the driver anew for this kernel "
        "(`dkms status`)",
    ),
    10: ("ran out of time", RESTART),
    11: ("gets no interrupts from the kernel", RESTART),
    12: ("does not find a library of its own", REINSTALL),
    13: ("lacks a function that it was asked for", UPDATE),
    14: ("has a damaged infoROM", "Have the GPU mended; `nvidia-smi -q` says more"),
    15: (
        "has fallen off the bus",
        "Restart the machine; if it comes again, see to its seat, power and heat "
        "(`sudo dmesg | grep -i xid`)",
    ),
    16: ("must be reset", "`sudo nvidia-smi --gpu-reset`, or restart the machine"),
    17: ("is kept from the GPUs by the operating system or its control groups", RIGHTS),
    18: (
        "has a library and a kernel module of different releases",
        "Restart the machine, or load the module anew: `sudo rmmod nvidia_uvm nvidia && sudo "
        "modprobe nvidia`",
    ),
    19: ("is in use by somebody who wants it alone", "End whoever that is (`nvidia-smi`)"),
    20: ("has no memory left", "End what takes the machine's memory"),
    21: ("has nothing to tell", RESTART),
    22: ("has no ECC under a virtual GPU", RESTART),
    23: ("lacks resources", RESTART),
    24: ("does not support that clock", UPDATE),
    25: ("knows another version of what it was asked", UPDATE),
    26: ("no longer answers what it was asked", UPDATE),
    27: ("is not ready yet", "Try again in a minute; else restart the machine"),
    28: ("does not find the GPU", RESTART),
    29: ("is in a state in which it cannot answer", RESTART),
    999: ("does not say what is wrong with it", RESTART),
}
_OTHER = ("answers with an error that only newer drivers have", RESTART)
# Such a GPU answers nothing until the machine, or it, is started anew; asking on may block.
LOST = (15, 16)


@dataclass(frozen=True)
class Fault:
    """whose: the driver's, or a GPU's by its number. mend: a sentence or two, without a dot."""

    whose: str
    problem: str
    mend: str

    def __str__(self) -> str:
        return f"{self.whose} {self.problem}. {self.mend}"


def of_status(whose: str, status: int, question: str = "") -> Fault:
    """Of an nvmlReturn_t. question: the function that gave it, if not the driver's start."""
    problem, mend = _WORDS.get(status, _OTHER)
    asked = f" to {question}" if question else ""
    return Fault(whose, f"{problem} (NVML {status}{asked})", mend)


def unloadable(said: str) -> Fault:
    """By what the dynamic linker says."""
    return Fault(DRIVER, f"has a library that cannot be loaded ({said})", REINSTALL)


def died(how: str) -> Fault:
    return Fault(DRIVER, f"ended the process that asked it ({how})", REINSTALL)


def unasked(why: str) -> Fault:
    """By what the system says to a process more."""
    mend = "End what this user runs here, or raise how many processes it may have (`ulimit -u`)"
    return Fault(DRIVER, f"cannot be asked, as no process can be started for that ({why})", mend)


def hung(deadline_s: float, variable: str, left_pid: int = 0) -> Fault:
    """left_pid: of a process that could not be ended; 0: it is gone."""
    left = f", and its process {left_pid} cannot be ended" if left_pid else ""
    return Fault(
        DRIVER,
        f"does not answer within {deadline_s:g} s{left}",
        f"{RESTART}. Where it is only slow, `sudo nvidia-smi -pm 1` keeps it started, and "
        f"{variable} gives it more seconds",
    )
