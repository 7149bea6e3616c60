"""Throttle reasons of a GPU: NVML's bits, and which of them are flagged or reported.

Source: nvmlClocksEventReason* in nvml.h (before R535 nvmlClocksThrottleReason*).
"""

IDLE = 0x1  # GpuIdle
POWER_CAP = 0x4  # SwPowerCap
HARDWARE_SLOWDOWN = 0x8  # HwSlowdown

WORDS = {
    POWER_CAP: "power cap",
    HARDWARE_SLOWDOWN: "hardware slowdown",
    0x10: "sync boost",  # SyncBoost
    0x20: "heat (driver)",  # SwThermalSlowdown
    0x40: "heat (hardware)",  # HwThermalSlowdown
    0x80: "power brake",  # HwPowerBrakeSlowdown
    0x200: "board limit",  # BoardLimit
}
# The GPU, its cooling or its power supply has a problem: a timing an hour later would differ.
# Hardware slowdown includes the two hardware reasons, and short changes of the power state.
FLAGGED = (HARDWARE_SLOWDOWN, 0x20, 0x40, 0x80)
# Normal operation: under full load most GPUs run at their power cap, so a timing at the cap is
# valid for that GPU. Reported, because another limit would give another timing.
REPORTED = (POWER_CAP, 0x10, 0x200)
