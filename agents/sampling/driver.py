"""The GPUs' driver, asked in a process of its own under a deadline: it is foreign code.

A driver may hang in its very start, deaf to every signal but SIGKILL and in the kernel to that one,
too; or end the process that asks. Asking takes 0.1 s (a bare interpreter, and nvidia-ml-py) where
its library is installed, and 1 ms where the dynamic linker has none to find.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from velodrome.agents.node import Gpu
from velodrome.agents.sampling.driver_faults import (
    DRIVER,
    Fault,
    died,
    hung,
    of_status,
    unasked,
    unloadable,
)
from velodrome.agents.sampling.driver_process import LIBRARY

log = logging.getLogger(__name__)

VARIABLE = "VELODROME_GPU_DEADLINE_S"
DEADLINE_S = 30.0  # without persistence some drivers take a second and more for each GPU
LONGEST_S = 86400.0
END_S = 2.0  # after SIGKILL; in an uninterruptible call a process outlives that
START = (
    "import sys; sys.path += sys.argv[3:]; "
    "from velodrome.agents.sampling.driver_process import main; main()"
)
ABSENT = f"{LIBRARY}: cannot open shared object file: No such file"
# Where ld.so(8) looks, whatever the machine's architecture.
CACHE = Path("/etc/ld.so.cache")
FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
NOT_LOADED = 9  # NVML_ERROR_DRIVER_NOT_LOADED
PCI_DEVICES = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"


@dataclass(frozen=True)
class Driver:
    """faults: of the driver or of single GPUs; without any and without GPUs, there is no driver.

    cuda_major: the newest CUDA that it runs; None: it does not say.
    """

    gpus: tuple[Gpu, ...] = ()
    cuda_major: int | None = None
    faults: tuple[Fault, ...] = ()


def look() -> Driver:
    """Which GPUs there are, MIG instances in place of one that is parted."""
    told = ask("velodrome.agents.sampling.gpus")
    if told is None:
        return Driver()
    if isinstance(told, Fault):
        return Driver(faults=(told,))
    return Driver(
        gpus=tuple(Gpu(**gpu) for gpu in told["gpus"]),
        cuda_major=told["cuda_major"],
        faults=tuple(Fault(*fault) for fault in told["faults"]),
    )


def ask(module: str) -> Mapping[str, Any] | Fault | None:
    """What that module's tell() says of the driver, through JSON. None: there is no driver."""
    if not is_installed(os.environ):
        return None
    deadline_s = _deadline_s(os.environ)
    try:
        process = _asking(module)
    except OSError as error:
        return unasked(str(error))
    try:
        answer, noise = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        return hung(deadline_s, VARIABLE, _ended(process))
    except BaseException:
        _ended(process)
        raise
    if process.returncode != 0 or not answer:
        return died(_how(process.returncode, noise))
    return _understood(json.loads(answer))


def _asking(module: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, module, str(os.getpid()), *_import_paths()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, who then end it
    )


def is_installed(environ: Mapping[str, str], cache: Path = CACHE) -> bool:
    """Whether the dynamic linker might find the driver's library. It is not loaded for that."""
    named = environ.get("LD_LIBRARY_PATH") or FOLDERS[0]
    if any(Path(folder, LIBRARY).exists() for folder in (*re.split("[:;]", named), *FOLDERS)):
        return True
    try:
        return f"/{LIBRARY}\0".encode() in cache.read_bytes()
    except OSError:  # a system that has none, as Alpine's: then its own search says
        return True


def has_nvidia_gpu(devices: Path) -> bool:
    """Whether one is built in, whatever drives it."""
    return any(
        _line(device / "vendor") == NVIDIA and _line(device / "class").startswith(DISPLAY)
        for device in (devices.iterdir() if devices.is_dir() else ())
    )


def _understood(answer: Mapping[str, Any]) -> Mapping[str, Any] | Fault | None:
    if "told" in answer:
        told: Mapping[str, Any] = answer["told"]
        return told
    if "status" in answer:
        # Images and clusters install the library on machines without a GPU, too.
        if answer["status"] == NOT_LOADED and not has_nvidia_gpu(PCI_DEVICES):
            return None
        return of_status(DRIVER, answer["status"])
    said = str(answer["unloadable"])
    return None if said.startswith(ABSENT) else unloadable(said)


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Its PID if it cannot be ended: nobody waits for it any longer. 0: it is gone."""
    process.kill()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        return process.pid
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    return 0


def _how(status: int, noise: bytes) -> str:
    said = noise.decode(errors="replace").strip().splitlines()
    if status < 0:
        return f"by signal {-status}: {signal.strsignal(-status)}"
    return f"exit status {status}" + (f": {said[-1][:200]}" if said else "")


def _deadline_s(environ: Mapping[str, str]) -> float:
    text = environ.get(VARIABLE, "")
    try:
        deadline_s = float(text or DEADLINE_S)
    except ValueError:
        deadline_s = 0.0
    if 0 < deadline_s <= LONGEST_S:  # which nan is not
        return deadline_s
    log.warning("%s=%s: give a number of seconds; taking %g", VARIABLE, text, DEADLINE_S)
    return DEADLINE_S


def _import_paths() -> list[str]:
    """Where the bare interpreter finds this package, and nvidia-ml-py."""
    found = find_spec("pynvml")
    source = str(Path(__file__).parents[3])
    return [source, str(Path(found.origin).parent)] if found and found.origin else [source]


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
