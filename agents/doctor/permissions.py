"""Checks of this user's permissions: counters, energy, open files."""

from velodrome.agents.doctor.finding import DoctorFinding, Subject
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.sampling.machine_counters import package_paths

# Ray warns below it when it starts a node, and asks for 8192 or more.
FEWEST_FILES, ENOUGH_FILES = 4096, 65536
# At most 2: a user may count events of their own processes (kernel.org, perf-security).
OWN_PROCESSES = 2

ENERGY = Subject("energy counter", "without it the energy of a task on CPUs is unavailable")
PERF = Subject("perf", "hardware counters can explain an unexpected time")
FILES = Subject(
    "open files", "Ray opens one for each process and connection, and fails at the limit"
)
RANDOM = Subject(
    "address randomisation",
    "repeats in new processes include the effect of addresses on a time; leave it on",
)


def check_energy(kernel: Kernel) -> DoctorFinding:
    """Check access to RAPL's energy counters, one per socket."""
    packages = package_paths(str(kernel.root / "sys/class/powercap"))
    if not packages:
        return ENERGY.unknown("the kernel shows none (no RAPL, or no module intel_rapl_msr)")
    inside = [f"{path.removeprefix(str(kernel.root)).lstrip('/')}/energy_uj" for path in packages]
    unread = [path for path in inside if kernel.number(path) is None]
    if not unread:
        return ENERGY.fine(f"{len(packages)} sockets" if len(packages) > 1 else "readable")
    return ENERGY.warning(
        "only root may read it", "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
    )


def check_perf(kernel: Kernel, user: int) -> DoctorFinding:
    """Check access to perf events. user: its number; 0 is root."""
    level = kernel.number("proc/sys/kernel/perf_event_paranoid")
    if level is None:
        return PERF.unknown("the kernel has none")
    if level <= OWN_PROCESSES or user == 0:
        return PERF.fine(
            f"perf_event_paranoid {level}" + (", and this user is root" if not user else "")
        )
    return PERF.warning(f"perf_event_paranoid {level}", "sudo sysctl kernel.perf_event_paranoid=2")


def check_open_files(soft: int, hard: int) -> DoctorFinding:
    """Check this process' limits; -1 is none (resource.RLIM_INFINITY)."""
    if soft == -1 or soft >= FEWEST_FILES:
        return FILES.fine("no limit" if soft == -1 else f"up to {soft}")
    if hard == -1 or hard >= FEWEST_FILES:
        wanted = ENOUGH_FILES if hard == -1 else min(hard, ENOUGH_FILES)
        return FILES.warning(f"up to {soft}", f"ulimit -n {wanted}")
    return FILES.warning(
        f"up to {soft}, at most {hard}",
        f"`* - nofile {ENOUGH_FILES}` in /etc/security/limits.conf, then log in again",
    )


def check_address_randomisation(kernel: Kernel) -> DoctorFinding:
    """Report address randomization, for information: never a warning."""
    value = kernel.number("proc/sys/kernel/randomize_va_space")
    if value is None:
        return RANDOM.unknown("the kernel does not state it")
    return RANDOM.fine(f"randomize_va_space {value}" + (", off" if value == 0 else ", on"))
