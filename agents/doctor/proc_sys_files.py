"""Reading of /proc and /sys files, below a root that tests can replace."""

from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.cpusets import cpu_numbers


@dataclass(frozen=True)
class Kernel:
    """Reads files by paths without the first slash. Missing or unreadable files are None."""

    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """Read a whole file, stripped; None if it is empty, too."""
        try:
            return (self.root / path).read_text(errors="replace").strip() or None
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        text = self.text(path) or ""
        return int(text) if text.removeprefix("-").isdecimal() else None

    def texts(self, pattern: str) -> dict[str, str]:
        """Read every matching file with content: path below the root -> text."""
        paths = [str(path.relative_to(self.root)) for path in sorted(self.root.glob(pattern))]
        return {path: text for path in paths if (text := self.text(path)) is not None}

    def field(self, path: str, name: str) -> int | None:
        """Read the number of a line such as `MemTotal:  5 kB` or `cpu MHz : 5`."""
        for line in (self.text(path) or "").splitlines():
            key, _, value = line.partition(":")
            words = value.split()
            if key.strip() == name and words and words[0].isdecimal():
                return int(words[0])
        return None

    def online(self) -> frozenset[int]:
        """List the machine's online CPUs; empty if unknown."""
        return cpu_numbers(self.text("sys/devices/system/cpu/online") or "")
