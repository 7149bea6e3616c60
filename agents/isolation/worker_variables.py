"""The environment variables that a worker starts with: made from nothing, little passed through."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from velodrome.agents.node import Gpu

# What a worker may need to run at all on this node, and no more: where compilers are, whom to trust
# when a framework fetches something, how to write text and time. Not which kernels a BLAS takes:
# what a shell exports for its own programs can halve the speed of another version. Where libraries
# are, velodrome.agents.isolation.driver_libraries says.
PASSED_THROUGH = re.compile(r"PATH|SSL_CERT_(FILE|DIR)|TZ|LANG|LC_[A-Z]+")
NONE: Mapping[str, str] = MappingProxyType({})
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
# One for each library that computes; NPROC is what some builds of compilers ask.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",
)


def worker_variables(
    inherited: Mapping[str, str],
    *,
    import_path: str,
    home: Path,
    temporary: Path,
    threads: int,
    gpus: Sequence[Gpu] = (),
    blas: Mapping[str, str] = MappingProxyType({}),
    recipe: Sequence[tuple[str, str]] = (),
    libraries: Mapping[str, str] = NONE,
) -> dict[str, str]:
    """The recipe's own come last and win. libraries: the variables by which they are found.

    home is where frameworks keep what they compile, and is no user's: what stands in somebody's
    .theanorc or .keras decides no number. GPUs are named by UUID; none at all for a CPU task. blas:
    which kernels it takes (velodrome.agents.environments.core_types).
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
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus),
        **blas,
        **dict(recipe),
    }
