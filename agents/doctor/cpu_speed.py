"""Checks of the cores' speed and its stability: frequency, boost, heat."""

from collections.abc import Mapping

from velodrome.agents.doctor.finding import DoctorFinding, Subject, count_values, join_names
from velodrome.agents.doctor.proc_sys_files import Kernel

CPUS = "sys/devices/system/cpu"
CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")  # drivers of the CPUs' own sensors
NEAR_LIMIT_C = 10.0

GOVERNOR = Subject(
    "frequency governor",
    "any governor but performance changes the clock with the load, even during a measurement",
)
CEILING = Subject("frequency limit", "a clock below the maximum of the CPU makes every task slower")
BOOST = Subject(
    "turbo boost",
    "the boosted clock depends on the temperature and on the number of busy cores",
)
TEMPERATURE = Subject("CPU temperature", "a CPU near its temperature limit soon lowers its clock")
THROTTLING = Subject("thermal throttling", "a core that is too hot lowers its clock for a while")


def check_governor(kernel: Kernel) -> DoctorFinding:
    """Check the frequency governor."""
    governors = list(kernel.texts(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_governor").values())
    drivers = list(kernel.texts(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_driver").values())
    if not governors:
        return GOVERNOR.unknown("the kernel does not control the frequency")
    driver = f", driver {count_values(drivers)}" if drivers else ", driver unknown"
    seen = count_values(governors) + driver
    if set(governors) == {"performance"}:
        return GOVERNOR.fine(seen)
    return GOVERNOR.warning(
        seen, f"echo performance | sudo tee /{CPUS}/cpu*/cpufreq/scaling_governor"
    )


def check_frequency_limit(kernel: Kernel) -> DoctorFinding:
    """Check that the clock may go as high as the hardware does."""
    allowed = kernel.texts(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_max_freq")
    possible = kernel.texts(f"{CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq")
    pairs = [
        (int(khz), int(most))
        for path, khz in allowed.items()
        if (most := possible.get(path.replace("scaling_max", "cpuinfo_max")))
    ]
    if not pairs:
        return CEILING.unknown("the kernel does not control the frequency")
    lowered = [pair for pair in pairs if pair[0] < pair[1]]
    if not lowered:
        return CEILING.fine(f"up to {max(most for _, most in pairs) / 1e6:.2f} GHz")
    lowest, full = min(lowered)
    seen = f"{len(lowered)} of {len(pairs)} CPUs: {lowest / 1e6:.2f} of {full / 1e6:.2f} GHz"
    return CEILING.warning(seen, f"sudo cpupower frequency-set --max {full}kHz")


def check_boost(kernel: Kernel) -> DoctorFinding:
    """Check boost: a number under boost depends on heat and load, so on is a warning."""
    off = kernel.number(f"{CPUS}/intel_pstate/no_turbo")
    if off is not None:
        file, value, is_on = f"/{CPUS}/intel_pstate/no_turbo", 1, off == 0
        return _boost(file, value, is_on=is_on)
    on = kernel.number(f"{CPUS}/cpufreq/boost")
    if on is not None:
        return _boost(f"/{CPUS}/cpufreq/boost", 0, is_on=on == 1)
    each = kernel.texts(f"{CPUS}/cpu[0-9]*/cpufreq/boost")
    if each:
        return _boost(f"/{CPUS}/cpu*/cpufreq/boost", 0, is_on="1" in each.values())
    return BOOST.unknown("the kernel does not state whether it is on")


def check_temperature(kernel: Kernel) -> DoctorFinding:
    """Check the CPU's own sensors, each against its own limit."""
    sensors = [
        (path.removesuffix("_input"), int(text) / 1000)
        for path, text in kernel.texts("sys/class/hwmon/hwmon*/temp*_input").items()
        if kernel.text(f"{path.rsplit('/', 1)[0]}/name") in CHIPS
    ]
    if not sensors:
        return TEMPERATURE.unknown("no sensor of the CPU can be read")
    hottest = max(degrees for _, degrees in sensors)
    limits = [(degrees, limit) for path, degrees in sensors if (limit := _limit_c(kernel, path))]
    if not limits:
        return TEMPERATURE.unknown(f"{hottest:.0f} °C; the sensor does not state its limit")
    degrees, limit = min(limits, key=lambda pair: pair[1] - pair[0])
    seen = f"{degrees:.0f} °C, limit {limit:.0f} °C"
    if limit - degrees > NEAR_LIMIT_C:
        return TEMPERATURE.fine(seen)
    return TEMPERATURE.warning(seen, "let it cool down, clean its vents, or improve its cooling")


def throttle_counts(kernel: Kernel) -> Mapping[str, int]:
    """Read counts since boot of each core and package; empty if not counted (AMD, guests)."""
    texts = kernel.texts(f"{CPUS}/cpu[0-9]*/thermal_throttle/*_throttle_count")
    return {path: int(text) for path, text in texts.items() if text.isdecimal()}


def check_throttling(before: Mapping[str, int], after: Mapping[str, int]) -> DoctorFinding:
    """Compare the counters of two instants."""
    if not after:
        return THROTTLING.unknown("the kernel does not count it")
    grown = [path for path, count in after.items() if count > before.get(path, count)]
    mend = "improve its cooling, or lower its power limit until the clock is constant"
    if grown:
        cpus = join_names(sorted({path.split("/")[4] for path in grown}))
        return THROTTLING.warning(f"right now: {cpus}", mend)
    most = max(after.values())
    if most:
        return THROTTLING.warning(f"up to {most} times per core since boot; none now", mend)
    return THROTTLING.fine("never since boot")


def _boost(file: str, value: int, *, is_on: bool) -> DoctorFinding:
    if not is_on:
        return BOOST.fine("off")
    return BOOST.warning("on", f"echo {value} | sudo tee {file}")


def _limit_c(kernel: Kernel, path: str) -> float | None:
    limit = kernel.number(f"{path}_max") or kernel.number(f"{path}_crit")
    return limit / 1000 if limit else None
