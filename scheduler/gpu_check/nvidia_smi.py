"""Our readings of the driver, compared with those of `nvidia-smi`.

`nvidia-smi --query-gpu` prints memory in MiB, power in W, clocks in MHz and temperature in degrees
Celsius (`nvidia-smi --help-query-gpu`); what a GPU does not have is in brackets, as `[N/A]`.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from velodrome.agents.doctor.gpu_states import GpuState
from velodrome.agents.doctor.runner import read_gpu_states
from velodrome.agents.node import Gpu
from velodrome.agents.sampling import driver
from velodrome.agents.sampling.driver_faults import DriverFault
from velodrome.scheduler.gpu_check.steps import StepOutcome, failed, passed, skipped

COMMAND = "nvidia-smi"
DEADLINE_S = 60.0
FIELDS = (
    "uuid",
    "name",
    "driver_version",
    "memory.total",
    "power.limit",
    "persistence_mode",
    "ecc.mode.current",
    "mig.mode.current",
    "memory.used",
    "temperature.gpu",
    "power.draw",
    "clocks.sm",
    "utilization.gpu",
)
# Differences between two readings a moment apart that are not an error: units of each field. On
# an idle GPU clock and utilization change from one moment to the next, so they are only shown.
TOLERANCES = {"memory.total": 1.0, "power.limit": 1.0, "memory.used": 64.0, "temperature.gpu": 3.0}
POWER_TOLERANCE_W, POWER_TOLERANCE = 15.0, 0.25  # of a mean over a second against an instant
SHOWN = ("clocks.sm", "utilization.gpu")
# The others are numbers, in these units.
TEXTS = (*FIELDS[:3], *FIELDS[5:8])
SWITCHES = {None: None, True: "Enabled", False: "Disabled"}

Value = str | float | None


class Agreement(StrEnum):
    """Relation of two readings. UNKNOWN: one of them does not state it. SHOWN: not judged."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    SHOWN = "shown"


@dataclass(frozen=True)
class FieldComparison:
    """One field by nvidia-smi and by us, before and after it ran. None: not stated."""

    field: str
    theirs: Value
    before: Value
    after: Value
    agreement: Agreement


def check_against_nvidia_smi(gpu: Gpu) -> StepOutcome:
    """Compare one GPU. Skipped without nvidia-smi, and for GPUs and MIG instances it leaves out."""
    if gpu.is_amd:
        return skipped(f"{gpu.name} is no GPU of NVIDIA's")
    if gpu.is_mig_instance:
        return skipped(f"{COMMAND} --query-gpu lists no MIG instances")
    if shutil.which(COMMAND) is None:
        return skipped(f"there is no {COMMAND} on PATH")
    before = read_ours(gpu)
    answer = _ask()
    if isinstance(answer, StepOutcome):
        return answer
    theirs = parse_answer(answer).get(gpu.uuid)
    after = read_ours(gpu)
    if theirs is None:
        return failed(f"{COMMAND} does not list {gpu.uuid}")
    compared = [compare(name, theirs[name], before.get(name), after.get(name)) for name in FIELDS]
    figures = {one.field: asdict(one) for one in compared}
    wrong = [one for one in compared if one.agreement is Agreement.DIFFERS]
    if wrong:
        parts = [f"{one.field}: {one.theirs}, ours {one.before} to {one.after}" for one in wrong]
        return failed("; ".join(parts), figures)
    same = sum(one.agreement is Agreement.AGREES for one in compared)
    unknown = [one.field for one in compared if one.agreement is Agreement.UNKNOWN]
    lacks = f"; not stated: {', '.join(unknown)}" if unknown else ""
    return passed(f"{same} fields agree{lacks}", figures)


def read_ours(gpu: Gpu) -> dict[str, Value]:
    """Read the same fields, in nvidia-smi's units, through our inventory, doctor and sampler."""
    states = read_gpu_states()
    found = [state for state in (states.gpus if states else ()) if state.index == gpu.index]
    answer = driver.query_driver("velodrome.scheduler.gpu_check.gpu_readings")
    known = {} if answer is None or isinstance(answer, DriverFault) else answer.get(gpu.uuid, {})
    return {
        "uuid": gpu.uuid,
        "name": gpu.name,
        "driver_version": gpu.driver,
        "memory.total": gpu.memory_bytes / 2**20,
        "power.limit": gpu.power_limit_w,
        **(_list_settings(found[0]) if found else {}),
        "memory.used": _scale(known.get("memory_bytes"), 2**20),
        "temperature.gpu": known.get("temperature_c"),
        "power.draw": known.get("power_w"),
        "clocks.sm": known.get("sm_mhz"),
        "utilization.gpu": known.get("percent"),
    }


def parse_answer(text: str) -> dict[str, dict[str, Value]]:
    """Parse the lines of nvidia-smi: {UUID: {field: value}}; None where it has none."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(FIELDS):
            found[cells[0]] = dict(zip(FIELDS, map(_parse_cell, FIELDS, cells), strict=True))
    return found


def compare(field: str, theirs: Value, before: Value, after: Value) -> FieldComparison:
    """Compare one field with our readings before and after it."""
    return FieldComparison(field, theirs, before, after, _judge(field, theirs, before, after))


def _judge(field: str, theirs: Value, before: Value, after: Value) -> Agreement:
    ours = [value for value in (before, after) if value is not None]
    if theirs is None or not ours:
        return Agreement.UNKNOWN
    if field in SHOWN:
        return Agreement.SHOWN
    numbers = [value for value in ours if isinstance(value, (int, float))]
    if not isinstance(theirs, float) or not numbers:
        return Agreement.AGREES if theirs in ours else Agreement.DIFFERS
    allowed = TOLERANCES.get(field, max(POWER_TOLERANCE_W, POWER_TOLERANCE * theirs))
    is_near = min(numbers) - allowed <= theirs <= max(numbers) + allowed
    return Agreement.AGREES if is_near else Agreement.DIFFERS


def _list_settings(state: GpuState) -> Mapping[str, Value]:
    return {
        "persistence_mode": SWITCHES[state.is_persistent],
        "ecc.mode.current": SWITCHES[state.ecc[0] if state.ecc else None],
        "mig.mode.current": SWITCHES[state.mig[0] if state.mig else None],
    }


def _scale(value: object, unit: float) -> float | None:
    return value / unit if isinstance(value, (int, float)) else None


def _parse_cell(field: str, cell: str) -> Value:
    if cell.startswith("[") or cell in ("", "N/A"):
        return None
    if field in TEXTS:
        return cell
    try:
        return float(cell)
    except ValueError:
        return None


def _ask() -> str | StepOutcome:
    """Return its CSV lines; the outcome if it fails."""
    done = subprocess.run(
        [COMMAND, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        return failed(f"{COMMAND} ended with {done.returncode}: {done.stdout.strip()[:300]}")
    return done.stdout
