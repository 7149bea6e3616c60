"""The found batch sizes that a node keeps, each under a hash of everything that decides it.

Kept beside the environments: one search serves all repeats, sweeps and nights on this node. The
file says in words what it is for, so that a person can find it and remove it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters import registry
from velodrome.adapters.models import MODELS
from velodrome.adapters.registry import Framework
from velodrome.agents.batch_search.bounds import SizeBounds
from velodrome.agents.batch_search.candidates import find_next_smaller
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.node import Gpu
from velodrome.agents.task import Task

VERSION = 1  # of the search
KEY_LENGTH = 20
FOLDER = "batch_sizes"
# Parts of a task's key that decide no memory.
_IRRELEVANT = ("batch_size", "seed", "sampling_hz", "exclusive")


@dataclass(frozen=True)
class FoundSize:
    """A found batch size. reason: why it is not larger, in words.

    peak_bytes: the most memory that the try's processes were seen to use.
    """

    size: int
    reason: str
    peak_bytes: int


@dataclass(frozen=True)
class SizeFile:
    """The file of one search's result. about: what it is for, in words."""

    path: Path
    about: str

    def load(self) -> FoundSize | None:
        """Return the kept size; None if there is none, or the file is not valid."""
        try:
            fields = json.loads(self.path.read_text())
            size, reason = int(fields["batch_size"]), str(fields["reason"])
            found = FoundSize(size, reason, int(fields["peak_bytes"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.size > 0 else None

    def save(self, found: FoundSize) -> None:
        """Keep a size, as best effort: one that is not kept is searched again."""
        fields = {
            "about": self.about,
            "batch_size": found.size,
            "reason": found.reason,
            "peak_bytes": found.peak_bytes,
        }
        temporary = self.path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            make_private(self.path.parent)
            temporary.write_text(json.dumps(fields, indent=2) + "\n")
            temporary.replace(self.path)

    def lower(self, found: FoundSize) -> None:
        """Keep the next smaller size, after a measurement at this one ran out of memory."""
        smaller = find_next_smaller(found.size)
        if smaller:
            reason = f"a measurement of {found.size} ran out of memory"
            self.save(replace(found, size=smaller, reason=reason))
        else:
            with suppress(OSError):
                self.path.unlink()


def find_file(
    home: Path,
    task: Task,
    framework: Framework,
    environment_hash: str,
    node_type: str,
    gpus: Sequence[Gpu],
    bounds: SizeBounds,
) -> SizeFile:
    """Name the file by everything that decides the size: two nodes of a type come to the same."""
    deciding = {name: part for name, part in task.deciding.items() if name not in _IRRELEVANT}
    parts = {
        **deciding,
        "version": VERSION,
        "model": repr(MODELS[task.model]),
        "environment": environment_hash,
        "adapter": _hash_adapter(framework),
        "node_type": node_type,
        "gpus": [(gpu.name, gpu.memory_bytes) for gpu in gpus],
        "most": bounds.most,
        "memory_bytes": bounds.memory.size_bytes,
    }
    text = json.dumps(parts, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
    return SizeFile(home / FOLDER / f"{name}.json", f"{task.label}, {environment_hash}")


def _hash_adapter(framework: Framework) -> str:
    """Hash the code of the adapter and of what adapters share: it decides what is held."""
    digest = hashlib.sha256()
    folders = (Path(framework.folder), Path(registry.HERE) / "frameworks")
    for file in sorted(file for folder in folders for file in folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
