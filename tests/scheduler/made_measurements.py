"""Measurements as an agent makes them, from the fields that a test gives."""

from dataclasses import fields

from velodrome.adapters.protocol import Timed, Verified
from velodrome.agents.measurement import Measurement, Sample, Status
from velodrome.agents.task import Task

DEFAULTS = {
    "framework": "torch",
    "variant": "eager",
    "model": "lenet",
    "batch_size": 64,
    "repeat": 0,
    "attempt": 1,
    "status": Status.OK,
    "reason": "",
    "node_id": "n1",
    "hostname": "host1",
    "node_type": "t1",
    "started_at": 1.0,
    "finished_at": 2.0,
}
SAMPLES = tuple(Sample("forward", i, 1, 1000 * i, 900 + i) for i in range(5))
VERIFIED = Verified(2.3, 1e-6, 1e-5, (), (), 7)


def make_measurement(task: Task | None = None, **columns: object) -> Measurement:
    """Make a first attempt that ended `ok` without a time. columns: fields of it or its task."""
    values = DEFAULTS | columns
    names = {field.name for field in fields(Task)} & values.keys()
    of_task = {name: values.pop(name) for name in names}
    return Measurement(task or Task(**of_task), **values)


def make_times(forward_ms: float, gradient_ms: float, spread: float = 0.01) -> dict[str, Timed]:
    """Make stable times with bounds `spread` to either side, as fields of a measurement."""
    return {
        phase: Timed(
            phase, ns, ns * (1 - spread), ns * (1 + spread), 30, 2, 5, "target", stable=True
        )
        for phase, ns in (("forward", forward_ms * 1e6), ("gradient", gradient_ms * 1e6))
    }
