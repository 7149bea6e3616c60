"""One request to one worker, from the worker's start to the end of its last process."""

import io
import os
import time
import zipfile
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters.models import user_models
from velodrome.adapters.protocol import (
    TIMED_PHASES,
    Checked,
    Failed,
    Finished,
    Phase,
    ProtocolError,
    Request,
    Timed,
)
from velodrome.adapters.registry import Framework
from velodrome.adapters.tolerances import PredictedErrors, read_predicted
from velodrome.adapters.wire_format import decode, encode_request
from velodrome.agents.datasets import add_datasets_folder
from velodrome.agents.environments.checks import require_as_built
from velodrome.agents.environments.core_types import KernelChoice
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.launch import BY_SIGNAL, launch_command
from velodrome.agents.environments.manifest import libraries
from velodrome.agents.environments.openblas_selection import choose_kernels
from velodrome.agents.isolation.driver_libraries import (
    driver_library_variables,
    shell_library_variables,
)
from velodrome.agents.isolation.mapped_libraries import library_notes, mapped_libraries
from velodrome.agents.isolation.pipe_lines import EndlessLine
from velodrome.agents.isolation.supervised import StartFailed, TreeExit
from velodrome.agents.isolation.worker_process import (
    RunningWorker,
    WorkerBounds,
    scratch_folder,
    start_worker,
)
from velodrome.agents.isolation.worker_variables import worker_variables
from velodrome.agents.measurement import Reading
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.sampler import Sampler
from velodrome.agents.validation.arrivals import Arrival
from velodrome.agents.validation.events import Validated, validate

READS = 2 * len(TIMED_PHASES)  # of a worker's libraries: at each warm-up, after each timed phase
LEAVE_S = 10.0  # for a worker to end by itself after its last event


@dataclass(frozen=True)
class WorkerSetting:
    """A worker's environment, bounds and devices. sampling_hz 0: it is not sampled."""

    environment: Environment
    framework: Framework
    home: Path  # holds the environments, their caches and Velodrome's import path
    bounds: WorkerBounds
    gpus: tuple[Gpu, ...] = ()
    sampling_hz: float = 0.0
    sampler_cpu: int | None = None


@dataclass(frozen=True)
class Session:
    """A worker's events and its end. ending None: the processes in survivors cannot be killed.

    events: the validated ones (velodrome.agents.validation.events); checks: the agent's own.
    kernel_kills: processes that the kernel killed meanwhile for lack of memory, on the whole
    machine. broken: a line that could not be decoded; then there are no events.
    """

    events: tuple[object, ...]
    ending: TreeExit | None
    log_tail: str
    survivors: tuple[int, ...] = ()
    readings: tuple[Reading, ...] = ()
    peak_rss_bytes: int | None = None
    sampling_cpu_s: float | None = None  # CPU time of the sampler, its start included
    kernel_kills: int = 0
    broken: str = ""
    checks: tuple[Checked, ...] = ()
    notes: tuple[str, ...] = ()  # settings of the worker, and libraries from elsewhere


def run_session(
    request: Request,
    setting: WorkerSetting,
    on_event: Callable[[object], None],
    reference: bytes | None = None,
) -> Session:
    """Run one worker. on_event gets each event as it arrives.

    EnvironmentFailed if the environment has changed since its build, StartFailed if the worker
    cannot be started. reference: the worker gets a copy at the path in the request.
    """
    kernel_kills, started_ns = _kernel_kills(), time.monotonic_ns()
    listener = _Listener(on_event)
    with scratch_folder() as scratch:
        if reference is not None:
            request = request._replace(reference=_copy_reference(reference, scratch))
        request = add_datasets_folder(request, setting.home)
        require_as_built(setting.environment)
        importable = _prepare_import_path(setting)
        blas = choose_kernels(setting.environment, importable)
        command, variables = _prepare(request, setting, scratch, importable, blas)
        with start_worker(command, variables, setting.bounds, scratch) as running:
            sampler = _listen_sampled(running, setting, listener)
            ending = running.wait(0.0 if listener.broken else LEAVE_S)
        validated = (
            Validated(())
            if listener.broken
            else validate(listener.arrivals, request, started_ns, _read_predicted(reference))
        )
        return Session(
            events=validated.events,
            checks=validated.checks,
            ending=_worker_exit(ending or running.kill(), setting.environment),
            log_tail=running.log_tail(),
            survivors=running.survivors(),
            readings=sampler.readings if sampler else (),
            peak_rss_bytes=sampler.peak_rss_bytes if sampler else None,
            sampling_cpu_s=sampler.cost_cpu_seconds if sampler else None,
            kernel_kills=_kernel_kills() - kernel_kills,
            broken=listener.broken,
            notes=(
                *blas.notes,
                *_library_notes(listener.mapped, setting, scratch),
                *([sampler.fault] if sampler and sampler.fault else ()),
                *(
                    ["another process stopped its supervisor, which was then continued"]
                    * running.supervisor_was_stopped
                ),
            ),
        )


def _copy_models(scratch: Path, model: str) -> tuple[tuple[str, str], ...]:
    """Write the user's files of models, and return the variable that names the copies.

    So every worker reads the text that the sweep was planned with, on every node, and a framework's
    own tree of files holds it, too.
    """
    copies = []
    for number, (path, text) in enumerate(user_models.list_texts_for(model)):
        copy = scratch / f"models{number}" / Path(path).name
        copy.parent.mkdir()
        copy.write_text(text, encoding="utf-8")
        copies.append(str(copy))
    return ((user_models.VARIABLE, os.pathsep.join(copies)),) if copies else ()


def _read_predicted(reference: bytes | None) -> PredictedErrors:
    """Read the errors that the reference allows, from the content that no worker can change."""
    try:
        with zipfile.ZipFile(io.BytesIO(reference or b"")) as archive:
            return read_predicted(archive)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError):
        return PredictedErrors()  # the worker reports a file that is no reference


def _copy_reference(reference: bytes, scratch: Path) -> str:
    """Return the path of a read-only copy. StartFailed."""
    path = scratch / "reference.npz"
    try:
        path.write_bytes(reference)
        path.chmod(0o400)
    except OSError as error:
        raise StartFailed(f"its reference cannot be written: {error}") from error
    return str(path)


class _Listener:
    def __init__(self, on_event: Callable[[object], None]) -> None:
        self.arrivals: list[Arrival] = []
        self.broken = ""
        self.mapped: frozenset[str] = frozenset()
        self._reads_left = READS
        self._on_event = on_event

    def listen(self, running: RunningWorker) -> None:
        """Read until the worker has sent all events, breaks the protocol, or has ended."""
        try:
            for line in running.events():
                event = decode(line)
                self.arrivals.append(Arrival(event, *running.arrival_ns))
                self._on_event(event)
                self._read_libraries(event, running.pid)
                if isinstance(event, Finished | Failed):
                    return
        except (ProtocolError, EndlessLine) as error:
            self.broken = str(error)

    def _read_libraries(self, event: object, pid: int) -> None:
        """Read between timed samples, never during them: the kernel stops the worker meanwhile."""
        is_between = isinstance(event, Phase) and event.name == "warmup"
        if self._reads_left and (is_between or isinstance(event, Timed)):
            self._reads_left -= 1
            self.mapped |= mapped_libraries(pid)


def _listen_sampled(
    running: RunningWorker, setting: WorkerSetting, listener: _Listener
) -> Sampler | None:
    """Listen under a sampler, which stops before the worker: its counters end with it."""
    with ExitStack() as stack:
        sampler = None
        if setting.sampling_hz > 0:
            hz, cpu = setting.sampling_hz, setting.sampler_cpu
            sampler = stack.enter_context(Sampler(running.pid, hz, cpu, setting.gpus))
        listener.listen(running)
    return sampler


def _worker_exit(ending: TreeExit | None, environment: Environment) -> TreeExit | None:
    """Convert the exit of a tree's monitor process, whose status carries the worker's signal."""
    if not (ending and environment.tree and (ending.exit_code or 0) > BY_SIGNAL):
        return ending
    return replace(ending, exit_code=None, signal=(ending.exit_code or 0) - BY_SIGNAL)


def _prepare_import_path(setting: WorkerSetting) -> str:
    try:
        return import_path(setting.home, setting.framework)
    except OSError as error:
        raise StartFailed(f"its files cannot be written: {error}") from error


def _prepare(
    request: Request, setting: WorkerSetting, scratch: Path, importable: str, blas: KernelChoice
) -> tuple[list[str], dict[str, str]]:
    """Create the worker's files; return its command and variables."""
    file, temporary = scratch / "request.json", scratch / "tmp"
    environment = setting.environment
    try:
        file.write_text(encode_request(request))
        temporary.mkdir()
        models = _copy_models(scratch, request.model)
        environment.cache_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartFailed(f"its files cannot be written: {error}") from error
    variables = worker_variables(
        os.environ,
        libraries=_library_variables(setting, scratch),
        import_path=importable,
        home=environment.cache_folder,
        temporary=temporary,
        threads=request.threads,
        cores=request.threads * request.devices,
        gpus=setting.gpus,
        blas=blas.variables,
        recipe=(*models, *environment.variables),
    )
    words = ["-m", "velodrome.adapters.worker", str(file)]
    return launch_command(environment, setting.framework.path, words), variables


def _library_variables(setting: WorkerSetting, scratch: Path) -> dict[str, str]:
    """The shell's for a user's own interpreter; the driver's for GPUs in a locked one."""
    if setting.environment.kind == "existing":
        return shell_library_variables(os.environ)
    return driver_library_variables(os.environ, scratch / "driver") if setting.gpus else {}


def _library_notes(
    mapped: Collection[str], setting: WorkerSetting, scratch: Path
) -> tuple[str, ...]:
    """No notes for a worker in a tree: its paths are the tree's own, which is read-only."""
    environment = setting.environment
    if environment.tree:
        return ()
    is_own = environment.kind == "existing"
    shell = shell_library_variables(os.environ) if is_own else {}
    notes = tuple(f"it got {name}={value} from the shell" for name, value in shell.items())
    folders = (
        environment.folder.resolve(),
        environment.python.resolve().parents[1],
        environment.cache_folder.resolve(),
        Path(setting.framework.path or setting.home).resolve(),
        scratch.resolve(),
    )
    locked = () if is_own else libraries(environment.folder)
    return (*notes, *library_notes(mapped, locked, folders))


def _kernel_kills() -> int:
    """Count the whole machine's kills since boot; limits of control groups count too."""
    with KernelFile("/proc/vmstat") as file:
        for line in (file.read_all() or b"").splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0
