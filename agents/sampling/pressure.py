"""How long processes have stalled for want of something, by the kernel's count (PSI)."""

from velodrome.agents.sampling.kernel_files import KernelFile


class Pressure:
    """One file of /proc/pressure: `cpu`, `memory` or `io`."""

    def __init__(self, path: str) -> None:
        self._file = KernelFile(path)

    def stalled_us(self) -> int | None:
        """At least one process of the machine. None: the kernel does not count it."""
        text = self._file.read()
        return int(text.split(b"total=", 1)[1].split(None, 1)[0]) if text else None

    def close(self) -> None:
        self._file.close()
