"""Shared libraries mapped into a process, and those from outside its environment and the system."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from velodrome.agents.sampling.kernel_files import KernelFile

# Default folders of the system's linker: ld.so(8), and ld.so.conf of the distributions.
SYSTEM = tuple(map(Path, ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")))
_LIBRARY = re.compile(r"[^/]*\.so(\.[0-9.]+)?")
MOST_NAMED = 5


def mapped_libraries(pid: int) -> frozenset[str]:
    """Return the paths of a process' mapped libraries; empty if it cannot be read."""
    with KernelFile(f"/proc/{pid}/maps") as file:
        text = (file.read_all() or b"").decode(errors="replace")
    return frozenset(parse_libraries(text))


def parse_libraries(maps: str) -> Iterator[str]:
    """Parse library paths from the text of /proc/PID/maps (proc_pid_maps(5))."""
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and _LIBRARY.fullmatch(fields[5].rpartition("/")[2]):
            yield fields[5]


def library_notes(
    mapped: Collection[str], locked: Collection[str], folders: Sequence[Path]
) -> tuple[str, ...]:
    """Notes for the row on libraries that come from outside the environment.

    locked: files of the environment. known: the environment's folder first, then the other folders
    that a worker's libraries may come from.
    """
    own = {path for path in mapped if Path(path).is_relative_to(folders[0])}
    loaded, stems = set(map(_stem, own)), set(map(_stem, locked))
    others = sorted(path for path in mapped if not _is_below(path, folders))
    replaced = [path for path in others if _stem(path) in stems - loaded]
    outside = [path for path in others if path not in replaced and not _is_below(path, SYSTEM)]
    groups = (
        ("its packages' own libraries were replaced by", replaced),
        ("libraries from outside its environment and the system:", outside),
    )
    return tuple(f"{words} {_join_names(paths)}" for words, paths in groups if paths)


def _is_below(path: str, places: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(place) for place in places)


def _stem(path: str) -> str:
    """The name without its version: libcudnn.so.9 links to libcudnn.so.9.1.0, or did elsewhere."""
    return path.rpartition("/")[2].partition(".so")[0]


def _join_names(paths: list[str]) -> str:
    rest = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(paths[:MOST_NAMED]) + rest
