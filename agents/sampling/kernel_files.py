"""Files of /proc and /sys that are opened once and read many times."""

import os


class KernelFile:
    """An open kernel file. A read is None if the file is missing, unreadable, or its process ended.

    The open file stays bound to its process: after its end every read fails, even if another
    process has reused its pid.
    """

    def __init__(self, path: str, most: int = 4096) -> None:
        """most: bytes of one read."""
        self._most = most
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def read(self) -> bytes | None:
        """Read with one system call: at most a page, unless `most` says otherwise."""
        return self._page(0)

    def read_all(self) -> bytes | None:
        """Read the whole file; the kernel returns a page of whole records at a time."""
        pages = [self._page(0)]
        while pages[-1]:
            pages.append(self._page(sum(len(page or b"") for page in pages)))
        return None if pages[0] is None else b"".join(page or b"" for page in pages)

    def __enter__(self) -> "KernelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _page(self, offset: int) -> bytes | None:
        if self._descriptor < 0:
            return None
        try:
            return os.pread(self._descriptor, self._most, offset)
        except OSError:
            return None
