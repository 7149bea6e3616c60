"""The float64 reference of a model, batch size and seed: computed once per node, then stored.

Each worker gets a copy. The stored file is checked before each use against two digests, one in a
file beside it and one in this process. So a reference that an adapter has rewritten, to help the
next task, is detected and computed again.
"""

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from velodrome.adapters import registry
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.products import count_gradient_flops
from velodrome.adapters.models.shared_batches import count_separate_devices
from velodrome.adapters.protocol import Failed
from velodrome.adapters.registry import Framework
from velodrome.agents.cores.assignment import ResourceRequest
from velodrome.agents.cores.core_locks import lock_resources
from velodrome.agents.environments.disk_layout import home_of
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.frameworks import find_framework
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.isolation.worker_process import WorkerBounds, memory_limit
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.outcomes import WorkerLimits, decide_outcome
from velodrome.agents.requests import reference_request
from velodrome.agents.session import Session, WorkerSetting, run_session
from velodrome.agents.task import Task
from velodrome.agents.worker_report import last

FRAMEWORK = registry.FRAMEWORKS["numpy"]
DEADLINE_S = 3600.0
WAIT_DEADLINE_S = 7200.0
POLL_S = 0.2
HASH_LENGTH = 20
ONE_CORE_FLOPS = 5e9  # under a second on one core
# All files that decide its numbers. Their text is hashed, so that no change goes unnoticed.
SOURCES = (
    "proof/reference.py",
    "proof/reference_file.py",
    "proof/batch_results.py",
    "optimizers.py",
    "proof/clear_draws.py",
    "proof/error_predictor.py",
    "proof/phase_references.py",
    "proof/prediction.py",
    "proof/relative_errors.py",
    "proof/seeding.py",
    "proof/sketch.py",
    "proof/tie_distance.py",
    "proof/dropout_gradients.py",
    "models/layers.py",
    "models/step_layers.py",
    "models/image_layers.py",
    "models/shapes.py",
    "models/shared_batches.py",
    "frameworks/graph.py",
    "frameworks/numpy/*.py",
)


# What decides a reference of code besides.
CODE_SOURCES = (*SOURCES, "own_code/*.py", "frameworks/*/own_code.py", "frameworks/torch/rounded*")


_used_digests: dict[Path, str] = {}  # of each file that this process has used


@dataclass(frozen=True)
class StoredReference:
    """The file's content as computed. notes: for the rows that use it."""

    path: Path
    content: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Maker:
    """The framework that computes a reference. environment None: its own, for the CPU."""

    framework: Framework
    environment: Environment | None = None


class ReferenceFailed(Exception):
    """The reference cannot be computed, so no framework's numbers can be verified."""

    def __init__(self, status: Status, reason: str, log_tail: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.log_tail = log_tail


def obtain_reference(
    task: Task, node: Node, environments: EnvironmentStore, on_note: Callable[[str], None]
) -> StoredReference:
    """Return the stored reference; compute it, alone on the node, if it is missing or changed.

    Two agents that need the same one compute it once. ReferenceFailed, EnvironmentFailed, and the
    errors of velodrome.agents.cores.core_locks.lock_resources.
    """
    maker = _choose_maker(task, environments, on_note)
    name = f"{_key(task, maker)}.npz"
    path = home_of(environments.root) / "references" / name
    image_path = environments.root.parent / "references" / name  # the same, unless in an image
    try:
        content = _read_unchanged(path) or _read_unchanged(image_path)
        make_private(path.parent)
    except OSError as error:
        reason = f"its float64 reference cannot be stored in {path.parent}: {error}"
        raise ReferenceFailed(Status.ENVIRONMENT_FAILED, reason) from error
    if content is not None:
        return StoredReference(path, content)
    with _locked(path, on_note):
        return _load_or_compute(task, path, node, environments, maker, on_note)


def _choose_maker(
    task: Task, environments: EnvironmentStore, on_note: Callable[[str], None]
) -> _Maker:
    """Choose NumPy; for a user's code its own framework, in the environment of the task."""
    if not is_code(MODELS.get(task.model)):
        return _Maker(FRAMEWORK)
    environment = environments.build(task.framework, task.accelerator, on_note, task.lock_hash)
    return _Maker(find_framework(task.framework), environment)


def _load_or_compute(
    task: Task,
    path: Path,
    node: Node,
    environments: EnvironmentStore,
    maker: _Maker,
    on_note: Callable[[str], None],
) -> StoredReference:
    """Lock held: another agent may have computed it in between."""
    content = _read_unchanged(path)
    if content is not None:
        return StoredReference(path, content)
    notes = _change_notes(path)
    for note in notes:
        on_note(note)
    content = _compute(task, path, node, environments, maker, on_note)
    return StoredReference(path, content, notes)


def _change_notes(path: Path) -> tuple[str, ...]:
    if not (path.is_file() and _digest_file(path).is_file()):
        return ()
    return (f"{path} was changed since it was computed, and is computed again",)


def _read_unchanged(path: Path) -> bytes | None:
    """Read the file; None if it is missing or changed."""
    try:
        content, stored_digest = path.read_bytes(), _digest_file(path).read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    digest = hashlib.sha256(content).hexdigest()
    if digest != stored_digest or digest != _used_digests.setdefault(path, digest):
        return None
    return content


def _store(temporary: Path, path: Path) -> bytes:
    """Store its digest first, so that no reader takes the new file for a changed one."""
    content = temporary.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    temporary.with_suffix(".sha256").write_text(digest)
    temporary.with_suffix(".sha256").replace(_digest_file(path))
    temporary.replace(path)
    _used_digests[path] = digest
    return content


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _key(task: Task, maker: _Maker) -> str:
    if task.model not in MODELS:
        reason = f"there is no model {task.model!r}. Known: {', '.join(sorted(MODELS))}"
        raise ReferenceFailed(Status.UNSUPPORTED, reason)
    own = maker.environment
    version = f"{_version(CODE_SOURCES)} {own.name}" if own else _version(SOURCES)
    text = f"{version} {MODELS[task.model]!r} {task.batch_size} {task.seed} {task.dtype}"
    if "inference" in task.phases:  # all that it holds besides the results of forward and gradient
        text += " inference"
    text += f" {task.optimizer}" if task.optimizer else ""
    separate = count_separate_devices(MODELS[task.model], task.devices)
    text += f" {separate} devices" if separate > 1 else ""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


@functools.cache
def _version(patterns: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for pattern in patterns:
        for file in sorted(Path(registry.HERE).glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _locked(path: Path, on_note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a reference; report a wait for another agent."""
    lock = FileLock(path.with_suffix(".lock"), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_note("waiting for another task that computes the same float64 reference")
        try:
            lock.acquire(timeout=WAIT_DEADLINE_S, poll_interval=POLL_S)
        except Timeout:
            hours = WAIT_DEADLINE_S / 3600
            reason = f"another task has been computing the float64 reference for {hours:g} h"
            raise ReferenceFailed(Status.UNPLACEABLE, reason) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """Yield a path for the worker, hidden from readers. Lock held: a leftover has no owner."""
    folder = path.with_suffix(".making")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compute(
    task: Task,
    path: Path,
    node: Node,
    environments: EnvironmentStore,
    maker: _Maker,
    on_note: Callable[[str], None],
) -> bytes:
    environment = maker.environment or environments.build(FRAMEWORK.name, "cpu", on_note)
    need = ResourceRequest(threads=_threads(task, node))
    with (
        lock_resources(node, need, deadline_s=WAIT_DEADLINE_S, on_wait=on_note) as locks,
        _temporary_file(path) as temporary,
    ):
        on_note(f"computing the float64 reference of {task.model} b{task.batch_size}")
        bounds = WorkerBounds(
            cpus=locks.share.allotment.cpus,
            memory_bytes=memory_limit(node, 0),
            deadline_s=DEADLINE_S,
            held_fds=locks.descriptors,
        )
        setting = WorkerSetting(environment, maker.framework, home_of(environments.root), bounds)
        request = reference_request(task, maker.framework, _threads(task, node), temporary)
        session = run_session(request, setting, lambda event: None)
        _require_computed(session, task, bounds)
        return _store(temporary, path)


def _threads(task: Task, node: Node) -> int:
    """Return all cores for a large model, else 1: NumPy's BLAS spins to synchronize threads.

    Code may be large.
    """
    if is_code(MODELS[task.model]):
        return node.physical
    flops = count_gradient_flops(MODELS[task.model], task.batch_size)
    return node.physical if flops > ONE_CORE_FLOPS else 1


def _require_computed(session: Session, task: Task, bounds: WorkerBounds) -> None:
    """Raise ReferenceFailed unless it was computed."""
    verdict = decide_outcome(
        session, WorkerLimits(bounds.deadline_s, bounds.memory_bytes, task.timing)
    )
    if verdict.status is not Status.OK:
        reason = f"its float64 reference could not be computed: {verdict.reason}"
        if is_code(MODELS[task.model]) and last(session.events, Failed) is not None:
            reason = verdict.reason  # which names the file and its line
        raise ReferenceFailed(verdict.status, reason, session.log_tail)
