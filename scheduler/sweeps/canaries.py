"""The `canary` of a sweep file: whether canaries run, and in which framework."""

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.sweeps import value_parsers
from velodrome.scheduler.sweeps.yaml_nodes import Scalar, Value

ON_CPUS = "numpy"  # which is always there
ON_GPUS = "torch"


def read_canary(value: Value, name: str) -> str:
    """The framework of canaries on GPUs; empty for none at all, anywhere."""
    known = {one: one for one in FRAMEWORKS if "gpu" in FRAMEWORKS[one].devices}
    known |= {"true": ON_GPUS, "false": ""}
    if isinstance(value, Scalar) and value.text in known:
        return known[value.text]
    *names, last = (one for one in known if one not in ("true", "false"))
    on_gpus = f"{', '.join(names)} or {last}"
    mend = f"Give true, false, or what is to run them on GPUs: {on_gpus}."
    raise value_parsers.wrong_value(value, name, mend)


def canary_on(device: str, on_gpus: str) -> str:
    """The framework of a task's canaries, by its device. on_gpus: what read_canary found."""
    return ON_CPUS if on_gpus and device == "cpu" else on_gpus
