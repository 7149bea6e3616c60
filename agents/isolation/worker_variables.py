"""The environment variables of a worker: a fresh set, with few passed through."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from velodrome.agents.node import Gpu

# The minimum that a worker needs on this node: compilers, certificates, locale and time zone. Not
# OPENBLAS_CORETYPE: what a shell sets for its own programs can halve the speed of another version.
# For library folders, see velodrome.agents.isolation.driver_libraries.
PASSED_THROUGH = re.compile(r"PATH|SSL_CERT_(FILE|DIR)|TZ|LANG|LC_[A-Z]+")
NONE: Mapping[str, str] = MappingProxyType({})
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
# One for each library that computes.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def worker_variables(
    inherited: Mapping[str, str],
    *,
    import_path: str,
    home: Path,
    temporary: Path,
    threads: int,
    cores: int = 0,
    gpus: Sequence[Gpu] = (),
    blas: Mapping[str, str] = MappingProxyType({}),
    recipe: Sequence[tuple[str, str]] = (),
    libraries: Mapping[str, str] = NONE,
) -> dict[str, str]:
    """Build a worker's variables; the recipe's come last and win.

    libraries: the variables by which libraries are found. home: where frameworks keep compiled
    code; it is not the user's, so that no .theanorc or .keras affects a number. GPUs are named by
    UUID, to ROCm by a variable of its own; a CPU task gets none. blas: which kernels it uses
    (velodrome.agents.environments.core_types). threads: of each process; cores: of all together.
    """
    passed = {name: value for name, value in inherited.items() if PASSED_THROUGH.fullmatch(name)}
    return {
        "PATH": DEFAULT_PATH,
        "LANG": "C.UTF-8",
        **passed,
        **libraries,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": import_path,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",  # what was printed before a crash is in the log
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "NPROC": str(cores or threads),  # read by XLA, whose one process drives all devices
        **_visible_gpus(gpus),
        **blas,
        **dict(recipe),
    }


def _visible_gpus(gpus: Sequence[Gpu]) -> dict[str, str]:
    """HIP would hide all of AMD's GPUs if CUDA_VISIBLE_DEVICES named none of its numbers.

    A GPU without a UUID of its own has its number in ROCm's order (ROCm, "GPU isolation").
    """
    if any(gpu.is_amd for gpu in gpus):
        names = (gpu.uuid if gpu.uuid.startswith("GPU-") else str(gpu.index) for gpu in gpus)
        return {"ROCR_VISIBLE_DEVICES": ",".join(names)}
    visible = ",".join(gpu.uuid for gpu in gpus)
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}
