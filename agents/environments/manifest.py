"""The manifest of an environment: its files, written at the build and compared later."""

import base64
import csv
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MANIFEST = "velodrome-manifest.txt"
# Written after the manifest, or by every run of a tool: not installed files.
NOT_LISTED = (MANIFEST, "velodrome-environment.json", ".lock")
Entries = Mapping[str, str]  # path inside the environment -> `<sha256> <size>`, or `-> <target>`


def scan(folder: Path) -> Entries:
    """List and hash all files. Reads every byte: about 1 s per GB."""
    paths = sorted(_walk(folder))
    # hashlib releases the interpreter lock, so threads help.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        entries = pool.map(_entry, paths)
        return {
            str(path.relative_to(folder)): entry for path, entry in zip(paths, entries, strict=True)
        }


def write(folder: Path, entries: Entries) -> None:
    lines = (f"{entry}  {path}\n" for path, entry in sorted(entries.items()))
    (folder / MANIFEST).write_text("".join(lines))


def read(folder: Path) -> Entries:
    """Read a manifest. OSError if there is none."""
    lines = (folder / MANIFEST).read_text().splitlines()
    return {path: entry for entry, path in (line.split("  ", 1) for line in lines)}


def find_missing(folder: Path) -> str:
    """Describe the first missing or resized file; empty if there is none.

    No file is read: 0.1 s for 20,000 files.
    """
    for path, entry in read(folder).items():
        try:
            size = os.lstat(f"{folder}/{path}").st_size
        except OSError:
            return f"{path} is missing"
        if not entry.startswith("->") and size != int(entry.split()[1]):
            return f"{path} was changed"
    return ""


def find_change(folder: Path) -> str:
    """Describe the first added, missing or changed file; empty if there is none.

    Only files touched since the manifest was written are read (st_ctime, which no program can set):
    0.2 s for 20,000 files. A touched file may be unchanged: another link to a file counts. OSError
    and ValueError if there is no manifest.
    """
    written_ns = (folder / MANIFEST).stat().st_mtime_ns
    missing = _entries(folder, written_ns).copy()
    for name, status in _statuses(str(folder)):
        entry = missing.pop(name, "")
        if not entry:
            return f"{name} was added"
        if not entry.startswith("->") and status.st_size != int(entry.rpartition(" ")[2]):
            return f"{name} was changed"
        # Also at the same instant: the kernel's clock for files ticks every 4 ms.
        if status.st_ctime_ns >= written_ns and _entry(folder / name) != entry:
            return f"{name} was changed"
    return f"{min(missing)} is missing" if missing else ""


def _statuses(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Like _walk, without a Path per file, which would double the time."""
    waiting = [""]
    while waiting:
        place = waiting.pop()
        with os.scandir(f"{folder}/{place}") as entries:
            for entry in entries:
                name = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif name not in NOT_LISTED:
                    yield name, entry.stat(follow_symlinks=False)


def libraries(folder: Path) -> tuple[str, ...]:
    """List the paths of shared libraries. OSError and ValueError if there is no manifest."""
    written_ns = (folder / MANIFEST).stat().st_mtime_ns
    return tuple(path for path in _entries(folder, written_ns) if ".so" in Path(path).suffixes)


@functools.lru_cache(maxsize=4)
def _entries(folder: Path, written_ns: int) -> dict[str, str]:
    """Parse a manifest; 20,000 lines take 40 ms."""
    return dict(read(folder))


def size_bytes(entries: Entries) -> int:
    return sum(int(entry.split()[1]) for entry in entries.values() if not entry.startswith("->"))


def differences(before: Entries, now: Entries) -> tuple[str, ...]:
    """List missing, changed and new files. New bytecode does not count."""
    missing = [f"{path} is missing" for path in before if path not in now]
    changed = [
        f"{path} was changed" for path in before if now.get(path, before[path]) != before[path]
    ]
    new = [f"{path} was added" for path in now if path not in before and not path.endswith(".pyc")]
    return tuple(sorted(missing) + sorted(changed) + sorted(new))


def distributions(entries: Entries) -> Mapping[str, str]:
    """Map installed packages to versions, from their `.dist-info` folders."""
    folders = {Path(path).parent.name for path in entries if path.endswith(".dist-info/METADATA")}
    pairs = (folder.removesuffix(".dist-info").rsplit("-", 1) for folder in folders)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def differing_from_wheel(folder: Path, entries: Entries) -> tuple[str, ...]:
    """List files that differ from their wheel's RECORD.

    uv checks a wheel's hash when it downloads it, not the copy from its cache. Metadata
    (*.dist-info) is left out: some wheels were published with changed metadata (cntk 2.7.post2),
    which does not affect the code.
    """
    return tuple(
        path
        for record in folder.rglob("*.dist-info/RECORD")
        for path, expected in _read_hashes(record, folder)
        if path in entries
        and not Path(path).parent.name.endswith(".dist-info")
        and entries[path].split()[0] != expected
    )


def _read_hashes(record: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield path and sha256 of each file that a RECORD has a hash for."""
    site_packages = record.parent.parent
    with record.open(newline="") as lines:
        for row in csv.reader(lines):
            if len(row) < 2 or not row[1].startswith("sha256="):
                continue
            encoded = row[1].removeprefix("sha256=")
            digest = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            path = os.path.normpath(site_packages / row[0])
            yield os.path.relpath(path, folder), digest.hex()


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in [*files, *links]:
            path = Path(place, name)
            if path.parent != folder or name not in NOT_LISTED:
                yield path


def _entry(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{digest} {os.fstat(file.fileno()).st_size}"
