"""Checks of accelerators of other makers than NVIDIA."""

from collections.abc import Mapping

from velodrome.agents.doctor.finding import DoctorFinding, Subject, count_values
from velodrome.agents.environments.recipes import variable_for
from velodrome.agents.gpu_allotment import find_allotment
from velodrome.agents.sampling.driver import DriverState

VARIABLE = variable_for("torch")

AMD = Subject(
    "AMD GPUs", "no framework is locked for ROCm, so a task on them needs an interpreter of yours"
)
NVIDIA = Subject("GPUs without a driver", "they cannot be used, and are not measured")
OTHERS = Subject("other accelerators", "no task can use them")


def check_other_makers(state: DriverState, environ: Mapping[str, str]) -> list[DoctorFinding]:
    """Check AMD's GPUs, and name the accelerators that no task can use; empty: there are none.

    state: of a machine without NVIDIA's driver; of others, their other accelerators alone.
    """
    found = [AMD.warning(f"{fault.whose} {fault.problem}", fault.mend) for fault in state.faults]
    if state.note:
        found.append(NVIDIA.warning(state.note, "install it; start a container with `--gpus all`"))
    if state.gpus:
        found.append(_check_amd(state, environ))
    return [*found, OTHERS.fine(state.others)] if state.others else found


def _check_amd(state: DriverState, environ: Mapping[str, str]) -> DoctorFinding:
    given = find_allotment(state.gpus, environ)
    seen = count_values([gpu.name for gpu in state.gpus])
    seen = f"{len(state.gpus)} x {seen}" if len({gpu.name for gpu in state.gpus}) == 1 else seen
    seen = "; ".join(filter(None, (seen, given.note)))
    if environ.get(VARIABLE):
        return AMD.fine(f"{seen}; torch by {VARIABLE}")
    return AMD.warning(seen, f"set {VARIABLE} to an interpreter with torch for ROCm")
