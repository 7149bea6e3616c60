"""Why a GPU's clock is not as high as it could be: the bits of NVML, and which are nobody's plan.

Source: nvmlClocksEventReason* in nvml.h (before R535 nvmlClocksThrottleReason*).
"""

IDLE = 0x1  # GpuIdle
POWER_CAP = 0x4  # SwPowerCap
HARDWARE_SLOWDOWN = 0x8  # HwSlowdown

WORDS = {
    IDLE: "idle",
    0x2: "clocks that were set",  # ApplicationsClocksSetting
    POWER_CAP: "power cap",
    HARDWARE_SLOWDOWN: "hardware slowdown",
    0x10: "sync boost",  # SyncBoost
    0x20: "heat (driver)",  # SwThermalSlowdown
    0x40: "heat (hardware)",  # HwThermalSlowdown
    0x80: "power brake",  # HwPowerBrakeSlowdown
    0x100: "display clocks",  # DisplayClockSetting
    0x200: "board limit",  # BoardLimit
    0x400: "reliability",  # Reliability
}
# The GPU, its cooling or its power supply is in need: the next hour's number is another one.
# Hardware slowdown also covers the two of the hardware, and short changes of the power state.
IN_NEED = (HARDWARE_SLOWDOWN, 0x20, 0x40, 0x80)
# Where a GPU works as it should: under full load most run at their power cap, so a number at
# the cap is that GPU's number. Told, since one with another limit would give another.
BY_DESIGN = (POWER_CAP, 0x10, 0x200)


def reasons(bits: int) -> tuple[str, ...]:
    """In words, the lowest bit first; bits that are not known yet by their number."""
    numbers = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    return tuple(WORDS.get(number, f"reason {number:#x}") for number in numbers)
