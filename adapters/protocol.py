"""The protocol between an agent and a worker: one request in, one line of JSON per event out.

The agent starts `python -m velodrome.adapters.worker REQUEST.json EVENTS_FD`. REQUEST.json holds
one `Request`. The worker writes events to the file descriptor EVENTS_FD, one JSON object a line,
key `event` naming the kind; stdout and stderr are free for the framework's own output. The last
event is `finished` or `failed`; a stream without either was cut off.

    measure:   hello, imported, built, first_call+, verified, (sampled+, timed, checked+)+, finished
    reference: hello, finished
    check:     hello, imported, finished
    fit:       hello, imported, built, first_call+, finished
    follow:    hello, imported, listening, finished

A `phase` event precedes the first event of each phase: import, build, verify; for each timed phase
that the request names: warmup, itself and prove; and prove again at the end. A model without a loss
has only forward, one without trained parameters also inference, one of padded sequences no data
set. The calls of a fit are in a phase warmup. `failed` may replace the rest of the events at any
place; a failed check is sent before it.

Version 1 had neither `checked` nor the phase prove, version 2 only the timed phases forward and
gradient; their sessions can still be read.

Times are nanoseconds of CLOCK_MONOTONIC, the clock of the agent's utilization samples.
`tests/adapters/session.jsonl` is a saved session; a test compares it with this page.
`velodrome.adapters.wire_format` writes requests and events, and reads and checks them.
"""

import time
from typing import Callable, NamedTuple, Tuple

VERSION = 3

# In the order in which they are timed. forward: with the loss, as in training; gradient: all
# gradients, too; inference: no loss, evaluation mode, one call a sample; update: the optimizer's
# step by gradients that are there; step: gradient and update as one call.
COMPUTED_PHASES = ("forward", "gradient", "inference", "update", "step")
# With batches from a data set on disk. load: one batch to the device, nothing else running;
# prefetched_load: the next one, while the loader's own threads or processes work ahead;
# fed_gradient: the gradient of such a batch.
LOADING_PHASES = ("load", "prefetched_load", "fed_gradient")
TIMED_PHASES = COMPUTED_PHASES + LOADING_PHASES
TRAINING_PHASES = ("update", "step")  # which change parameters, by an optimizer
USUAL_PHASES = ("forward", "gradient")  # what a request means that names none
PHASES = ("import", "build", "verify", "warmup") + TIMED_PHASES + ("prove",)

# Checks of a timed phase, described in velodrome.adapters.proof. The agent makes the last one, by
# its own clock; a worker does not send it.
CHECKS = (
    "different_values",
    "clocked_by_two",
    "possible",
    "drained",
    "timed_is_checked",
    "twice_the_work",
    "not_seen_before",
    "follows_parameters",
    "clocked_by_agent",
)
PASSED, FAILED, CANNOT_TELL, IMPOSSIBLE = "passed", "failed", "cannot_tell", "impossible"
OUTCOMES = (PASSED, FAILED, CANNOT_TELL, IMPOSSIBLE)
SMALL_LIMIT = 2**31  # for calls and indices, whose columns have 32 bits
# Statuses of Failed in a group: another node of it is gone; a process was killed by a signal.
DISCONNECTED, KILLED = "disconnected", "killed"


class ProtocolError(Exception):
    """A request or an event that violates the protocol; the text names the field."""


class Timing(NamedTuple):
    """Limits at which the timing of one phase stops, by velodrome.adapters.timing.stopping."""

    target: float = 0.01  # half-width of the median's 95 % interval over the median
    min_samples: int = 10
    min_seconds: float = 1.0
    max_seconds: float = 60.0


class Request(NamedTuple):
    """The job of one worker. `action` is `measure`, `reference`, `check`, `fit` or `follow`.

    check: import the framework and send its version. fit: run the model at the batch size, without
    a proof, to see if there is enough memory. follow: be a node's part of a group that another
    node leads. reference: compute the float64 reference
    of (model, batch_size, seed) and write it to the path `reference`. measure: read the path
    `reference`, verify, time.
    """

    action: str
    framework: str
    adapter: str  # the module to import; its class `Adapter` is the framework's adapter
    variant: str
    model: str
    batch_size: int
    device: str  # `cpu` or `gpu`
    threads: int
    dtype: str  # one of velodrome.adapters.tolerances.DTYPES
    seed: int
    reference: str  # path of an .npz file
    timing: Timing = Timing()
    version: int = VERSION
    phases: Tuple[str, ...] = USUAL_PHASES  # of TIMED_PHASES
    optimizer: str = "sgd"  # of velodrome.adapters.optimizers.NAMES, for update and step
    datasets: str = ""  # folder of data sets on the node, for LOADING_PHASES
    devices: int = 1  # GPUs, or processes on a CPU, of each node; threads are of each
    cpus: Tuple[str, ...] = ()  # CPUs of each device's process, as `0,2`; empty: all share all
    nodes: int = 1  # with as many devices each
    address: str = ""  # of this node, for the processes on others
    peers: Tuple[str, ...] = ()  # of the node that leads: the followers elsewhere, `host:port`
    token: str = ""  # which all processes of the group know

    @property
    def all_devices(self) -> int:
        """Return how many devices of all nodes share each batch."""
        return self.devices * self.nodes


class Hello(NamedTuple):
    """The worker's interpreter runs."""

    python: str
    pid: int
    protocol: int
    at_ns: int


class Phase(NamedTuple):
    """A phase of PHASES begins and the one before it ends."""

    name: str
    at_ns: int


class Imported(NamedTuple):
    """The framework is imported and its threads are set."""

    framework_version: str
    numpy_version: str
    import_ns: int
    device_name: str  # as the framework names it, empty for the CPU
    at_ns: int
    kernels: Tuple[str, ...] = ()  # linear algebra: velodrome.adapters.worker.kernels


class Listening(NamedTuple):
    """The processes of a node wait for the one that leads their group, at `host:port` each."""

    addresses: Tuple[str, ...]
    at_ns: int


class Built(NamedTuple):
    """The network exists, weights and batches are on the device. build_ns includes transfer_ns."""

    build_ns: int
    transfer_ns: int
    at_ns: int


class FirstCall(NamedTuple):
    """The first call of a phase returned: compilation, autotuning and cold caches included."""

    phase: str
    elapsed_ns: int
    at_ns: int


class ParameterError(NamedTuple):
    """One parameter's gradient error against the reference: error = |g - ref| / |ref|.

    allowed: the error's tolerance; 0 in sessions before it was sent.
    """

    name: str
    shape: Tuple[int, ...]
    reference_norm: float
    error: float
    allowed: float = 0.0


class Verified(NamedTuple):
    """Loss and every gradient agree with the float64 reference. Errors are relative, the worst."""

    loss: float
    loss_error: float
    gradient_error: float
    parameters: Tuple[ParameterError, ...]
    notes: Tuple[str, ...]  # composed operations, results of further checks
    at_ns: int


class Sampled(NamedTuple):
    """A chunk of timed samples of one phase. Entry i is sample number first_index + i.

    A sample is `calls` calls in a row: started_ns its begin, elapsed_ns its whole length.
    """

    phase: str
    first_index: int
    calls: int
    started_ns: Tuple[int, ...]
    elapsed_ns: Tuple[int, ...]


class Timed(NamedTuple):
    """The timing of a phase, in ns per call: the median and the bounds of its interval.

    stop_reason is `target`, `settled` or `max_seconds`. stable: the interval met the target, by
    enough samples of a constant speed. warmup_samples: run before and discarded. settled: the
    warm-up converged; else its time was over.
    """

    phase: str
    median_ns: float
    low_ns: float
    high_ns: float
    samples: int
    calls: int
    warmup_samples: int
    stop_reason: str
    stable: bool
    settled: bool = True
    worth: float = 0.0  # effective number of independent samples; 0: unknown
    drift: float = 0.0  # change of speed beyond chance, relative to the median
    doubt: str = ""  # instability reason: `wide`, `few`, `kinds`, `slow` or `drift`
    bounded: bool = True  # low_ns, high_ns are a 95 % interval; else the samples' range


class Figure(NamedTuple):
    """A number behind a check's outcome; its name ends with the unit."""

    name: str
    value: float


class Checked(NamedTuple):
    """The result of one of CHECKS for a timed phase.

    outcome: `passed`, `failed`, `cannot_tell` (because of noise or of the length of a call) or
    `impossible` (because of the framework's design). reason: one line, empty if it passed.
    """

    name: str
    phase: str
    outcome: str
    figures: Tuple[Figure, ...]
    reason: str
    at_ns: int


class Finished(NamedTuple):
    """The request is done. Peak device memory by the framework's own count, 0 without one.

    peak_rss_bytes: the worker's own peak by the kernel's count, if its action is `fit`; else 0.
    """

    peak_gpu_memory_bytes: int
    at_ns: int
    kernels: Tuple[str, ...] = ()  # as in Imported, plus libraries loaded since
    peak_rss_bytes: int = 0


class Failed(NamedTuple):
    """The worker stopped early.

    status: disagreed, unsupported, environment_failed (the framework cannot be imported),
    out_of_memory, crashed, DISCONNECTED, KILLED.
    """

    status: str
    reason: str  # one line for a table
    detail: str  # a traceback, or the table of disagreement
    at_ns: int
    parameters: Tuple[ParameterError, ...] = ()
    loss_error: float = float("nan")


EVENTS = {
    "hello": Hello,
    "phase": Phase,
    "imported": Imported,
    "listening": Listening,
    "built": Built,
    "first_call": FirstCall,
    "verified": Verified,
    "sampled": Sampled,
    "timed": Timed,
    "checked": Checked,
    "finished": Finished,
    "failed": Failed,
}


def _monotonic_ns() -> int:
    return int(time.monotonic() * 1e9)


# CLOCK_MONOTONIC in ns. Chosen once: samples read it. Python 3.6 has floats only.
monotonic_ns: Callable[[], int] = getattr(time, "monotonic_ns", _monotonic_ns)
