"""The float64 reference of a model, batch size and seed: computed once per node, then kept.

A worker gets a copy of its own, and what is kept is held to a digest before each use: one that is
beside it and one that this process remembers. So a reference that an adapter has rewritten, to
help the next task, is found out and computed again.
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
from velodrome.adapters.models.products import count_gradient_flops
from velodrome.adapters.protocol import Request
from velodrome.agents.cores.assignment import Need
from velodrome.agents.cores.core_locks import locked
from velodrome.agents.environments.disk_layout import home_of
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.isolation.worker_process import Bounds, memory_limit
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.outcomes import Bounded, decide
from velodrome.agents.session import Session, Setting, hold_session
from velodrome.agents.task import Task

FRAMEWORK = registry.FRAMEWORKS["numpy"]
DEADLINE_S = 3600.0
WAIT_DEADLINE_S = 7200.0
POLL_S = 0.2
HASH_LENGTH = 20
ONE_CORE_FLOPS = 5e9  # under a second on one core
# Whatever decides its numbers. Read as text: numbers must not change unnoticed.
SOURCES = (
    "proof/reference.py",
    "proof/reference_file.py",
    "proof/seeding.py",
    "proof/sketch.py",
    "proof/tie_distance.py",
    "proof/dropout_gradients.py",
    "models/layers.py",
    "models/shapes.py",
    "frameworks/numpy/*.py",
)


_remembered: dict[Path, str] = {}  # the digest of each file that this process has used


@dataclass(frozen=True)
class Reference:
    """The file as it was computed. notes are for the rows that are held to it."""

    path: Path
    content: bytes
    notes: tuple[str, ...] = ()


class ReferenceFailed(Exception):
    """The reference cannot be had, so that no framework's numbers can be judged."""

    def __init__(self, status: Status, reason: str, log_tail: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.log_tail = log_tail


def reference(
    task: Task, node: Node, environments: EnvironmentStore, on_note: Callable[[str], None]
) -> Reference:
    """Computed with the node to itself if there is none yet, or it is not as it was computed.

    Two agents that need the same one compute it once. ReferenceFailed, EnvironmentFailed, and
    what velodrome.agents.cores.core_locks.locked raises.
    """
    name = f"{_key(task)}.npz"
    path = home_of(environments.root) / "references" / name
    baked = environments.root.parent / "references" / name  # the same, unless in an image
    try:
        content = _as_computed(path) or _as_computed(baked)
        make_private(path.parent)
    except OSError as error:
        reason = f"its float64 reference cannot be kept in {path.parent}: {error}"
        raise ReferenceFailed(Status.ENVIRONMENT_FAILED, reason) from error
    if content is not None:
        return Reference(path, content)
    with _alone(path, on_note):
        return _kept_or_computed(task, path, node, environments, on_note)


def _kept_or_computed(
    task: Task,
    path: Path,
    node: Node,
    environments: EnvironmentStore,
    on_note: Callable[[str], None],
) -> Reference:
    """Lock held: another agent may have computed it meanwhile."""
    content = _as_computed(path)
    if content is not None:
        return Reference(path, content)
    notes = _told_change(path)
    for note in notes:
        on_note(note)
    return Reference(path, _compute(task, path, node, environments, on_note), notes)


def _told_change(path: Path) -> tuple[str, ...]:
    if not (path.is_file() and _digest_file(path).is_file()):
        return ()
    return (f"{path} was changed since it was computed: it is computed again",)


def _as_computed(path: Path) -> bytes | None:
    """None if it is not there, or not as it was."""
    try:
        content, told = path.read_bytes(), _digest_file(path).read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    digest = hashlib.sha256(content).hexdigest()
    if digest != told or digest != _remembered.setdefault(path, digest):
        return None
    return content


def _keep(made: Path, path: Path) -> bytes:
    """Give it its name; its digest first, so that no reader takes the new one for a changed one."""
    content = made.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    made.with_suffix(".sha256").write_text(digest)
    made.with_suffix(".sha256").replace(_digest_file(path))
    made.replace(path)
    _remembered[path] = digest
    return content


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _key(task: Task) -> str:
    if task.model not in MODELS:
        reason = f"there is no model {task.model!r}. Known: {', '.join(sorted(MODELS))}"
        raise ReferenceFailed(Status.UNSUPPORTED, reason)
    text = f"{_version()} {MODELS[task.model]!r} {task.batch_size} {task.seed}"
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


@functools.cache
def _version() -> str:
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for file in sorted(Path(registry.HERE).glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _alone(path: Path, on_note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a reference; tell if that means to wait for another agent."""
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
def _in_the_making(path: Path) -> Iterator[Path]:
    """Where the worker writes it, out of sight of readers. Lock held, so a leftover is nobody's."""
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
    on_note: Callable[[str], None],
) -> bytes:
    environment = environments.build(FRAMEWORK.name, "cpu", on_note)
    need = Need(threads=_threads(task, node))
    with (
        locked(node, need, deadline_s=WAIT_DEADLINE_S, on_wait=on_note) as held,
        _in_the_making(path) as made,
    ):
        on_note(f"computing the float64 reference of {task.model} b{task.batch_size}")
        bounds = Bounds(
            cpus=held.share.allotment.cpus,
            memory_bytes=memory_limit(node, 0),
            deadline_s=DEADLINE_S,
            held_fds=held.descriptors,
        )
        setting = Setting(environment, FRAMEWORK, home_of(environments.root), bounds)
        session = hold_session(_request(task, node, made), setting, lambda event: None)
        _require(session, task, bounds)
        return _keep(made, path)


def _request(task: Task, node: Node, path: Path) -> Request:
    return Request(
        action="reference",
        framework=FRAMEWORK.name,
        adapter=FRAMEWORK.adapter,
        variant=FRAMEWORK.default_variant,
        model=task.model,
        batch_size=task.batch_size,
        device="cpu",
        threads=_threads(task, node),
        dtype="float64",
        seed=task.seed,
        reference=str(path),
    )


def _threads(task: Task, node: Node) -> int:
    """All cores for what takes seconds, one else: NumPy's BLAS spins where threads meet others."""
    flops = count_gradient_flops(MODELS[task.model], task.batch_size)
    return node.physical if flops > ONE_CORE_FLOPS else 1


def _require(session: Session, task: Task, bounds: Bounds) -> None:
    """ReferenceFailed unless it was computed."""
    verdict = decide(session, Bounded(bounds.deadline_s, bounds.memory_bytes, task.timing))
    if verdict.status is not Status.OK:
        reason = f"its float64 reference could not be computed: {verdict.reason}"
        raise ReferenceFailed(verdict.status, reason, session.log_tail)
