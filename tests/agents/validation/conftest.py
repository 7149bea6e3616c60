"""A session of a real worker, as the agent hears it."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Finished, Request, Timing
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.environment import Environment
from velodrome.agents.isolation.worker_process import WorkerBounds
from velodrome.agents.session import WorkerSetting, run_session
from velodrome.agents.validation.arrivals import Arrival

NUMPY = FRAMEWORKS["numpy"]


@dataclass(frozen=True)
class RecordedSession:
    """A recorded session: its request, its arrivals and its start."""

    request: Request
    arrivals: tuple[Arrival, ...]
    begun_ns: int


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> RecordedSession:
    """LeNet in NumPy, from its reference to its last sample."""
    home = tmp_path_factory.mktemp("home")
    environment = Environment(
        "numpy", "0", home, Path(sys.executable), None, kind="existing", caches=home / "caches"
    )
    setting = WorkerSetting(environment, NUMPY, home, WorkerBounds(deadline_s=60))
    request = Request(
        action="reference",
        framework="numpy",
        adapter=NUMPY.adapter,
        variant="float64",
        model="lenet",
        batch_size=2,
        device="cpu",
        threads=1,
        dtype="float32",
        seed=0,
        reference=str(home / "reference.npz"),
        timing=Timing(target=0.5, min_samples=3, min_seconds=0.1, max_seconds=1.0),
    )
    run_session(request, setting, lambda event: None)
    measuring = request._replace(action="measure")
    attempts = (_record_session(measuring, setting) for _ in range(5))
    return next(one for one in attempts if isinstance(one.arrivals[-1].event, Finished))


def _record_session(measuring: Request, setting: WorkerSetting) -> RecordedSession:
    """A noisy machine may make a check of the worker's own fail."""
    arrivals: list[Arrival] = []

    def record(event: object) -> None:
        at_ns = time.monotonic_ns()
        arrivals.append(Arrival(event, at_ns, at_ns))

    begun_ns = time.monotonic_ns()
    run_session(measuring, setting, record)
    if not isinstance(arrivals[-1].event, Finished):
        print(arrivals[-1].event)
    return RecordedSession(measuring, tuple(arrivals), begun_ns)
