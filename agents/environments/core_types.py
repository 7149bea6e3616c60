"""The choice of OpenBLAS kernels of an environment: its own, unless there are better ones.

OpenBLAS identifies the CPU when it is loaded. A version older than the CPU falls back to older
kernels: 0.3.13 runs SSE3 kernels on an AMD CPU with AVX-512. OPENBLAS_CORETYPE names the kernels
instead. A name that a build does not know is worse than none (0.3.13 then takes PRESCOTT), and
untested kernels may compute wrong results. So a candidate is chosen only if a child process reports
that it runs these kernels, and multiplies correctly. This module decides; the children are started
in velodrome.agents.environments.openblas_selection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

VARIABLE = "OPENBLAS_CORETYPE"
USER_VARIABLE = "VELODROME_OPENBLAS_CORETYPE"

# Instruction sets of the kernels, by the names of core types (OpenBLAS, driver/others/dynamic.c).
# All others are of SSE; Excavator is an AVX2 CPU with kernels of its own.
SETS = ("SSE", "AVX", "AVX2", "AVX-512")
_SET_OF = {
    "SANDYBRIDGE": "AVX",
    "BULLDOZER": "AVX",
    "PILEDRIVER": "AVX",
    "STEAMROLLER": "AVX",
    "EXCAVATOR": "AVX2",
    "HASWELL": "AVX2",
    "ZEN": "AVX2",
    "SKYLAKEX": "AVX-512",
    "COOPERLAKE": "AVX-512",
    "SAPPHIRERAPIDS": "AVX-512",
}
# Best first, with the flags of /proc/cpuinfo that their kernels need. Speed of each on a CPU with
# all of them: docs/results/caffe-kernels.json.
_AVX512 = frozenset(("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"))
_CANDIDATES = (
    ("SkylakeX", _AVX512),
    ("Haswell", frozenset(("avx2", "fma"))),
    ("Sandybridge", frozenset(("avx",))),
)


@dataclass(frozen=True)
class OpenBlasRun:
    """One OpenBLAS in a test process. exact: its products were bit-exact."""

    path: str
    version: str
    core: str
    exact: bool

    @property
    def name(self) -> str:
        return " ".join(filter(None, ("openblas", self.version)))


@dataclass(frozen=True)
class KernelChoice:
    """The kernels of an environment's workers. own, run: each library's default and actual ones.

    setting: the value of OPENBLAS_CORETYPE; empty: not set. best: the best instruction set of this
    CPU; empty: unknown. named_by: the source of a setting that was not chosen here. run is empty if
    its test process crashed.
    """

    setting: str = ""
    own: tuple[OpenBlasRun, ...] = ()
    run: tuple[OpenBlasRun, ...] = ()
    best: str = ""
    named_by: str = ""

    @property
    def variables(self) -> dict[str, str]:
        return {VARIABLE: self.setting} if self.setting else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the row; empty if the library's own choice stands."""
        if not self.setting:
            return ()
        if self.named_by:
            return (f"{VARIABLE}={self.setting}, set by {self.named_by}",)
        changed = [own for own, run in zip(self.own, self.run, strict=True) if own != run]
        reasons = dict.fromkeys(f"{own.name} chooses {own.core}" for own in changed)
        return (f"{VARIABLE}={self.setting}, because {', '.join(reasons)} on this CPU",)

    @property
    def below(self) -> tuple[OpenBlasRun, ...]:
        """Libraries whose kernels use a lesser instruction set than the CPU offers."""
        return tuple(run for run in self.run if self.best and level(run.core) < _rank(self.best))


Probe = Callable[[str], tuple[OpenBlasRun, ...] | None]  # None: the child crashed, or hung


@dataclass(frozen=True)
class CoreTypeSetting:
    """A setting made by the user or a recipe. by: the variable or file that contains it."""

    setting: str
    by: str


def try_setting(named: CoreTypeSetting, flags: frozenset[str], probe: Probe) -> KernelChoice:
    """Apply a given setting, and test it, so that its kernels are known."""
    run = probe(named.setting) or ()
    return KernelChoice(named.setting, (), run, _best(flags), named.by)


def choose_core_type(flags: frozenset[str], probe: Probe) -> KernelChoice:
    """Choose a core type. probe tests one in a child process; empty: the library's own choice.

    The library's choice stands if it is right and of the best instruction set. Else the first
    candidate that is right in every library, worsens none and improves one.
    """
    own = probe("")
    candidates, best = _candidates(flags), _best(flags)
    if own is not None and not own:
        return KernelChoice()
    for name in candidates:
        if own and _are_right(own) and min(level(run.core) for run in own) >= level(name):
            break
        found = probe(name)
        if found and _are_right(found) and _is_better(found, own):
            return KernelChoice(name, own or found, found, best)
    return KernelChoice("", own or (), own or (), best)


def level(core: str) -> int:
    """Return the rank of a core type's instruction set in SETS."""
    return _rank(_SET_OF.get(core.upper(), SETS[0]))


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Parse the first CPU's flags; empty on architectures without them."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def _candidates(flags: frozenset[str]) -> list[str]:
    return [name for name, needed in _CANDIDATES if needed <= flags]


def _best(flags: frozenset[str]) -> str:
    candidates = _candidates(flags)
    return SETS[level(candidates[0])] if candidates else ""


def _rank(name: str) -> int:
    return SETS.index(name)


def _are_right(runs: Sequence[OpenBlasRun]) -> bool:
    return all(run.exact for run in runs)


def _is_better(found: Sequence[OpenBlasRun], own: Sequence[OpenBlasRun] | None) -> bool:
    """Right products are always better than a crash or wrong ones."""
    if not own or not _are_right(own):
        return True
    before = _levels(own)
    after = _levels(found)
    if before.keys() != after.keys():
        return False
    steps = [after[path] - before[path] for path in before]
    return min(steps) >= 0 and max(steps) > 0


def _levels(runs: Sequence[OpenBlasRun]) -> Mapping[str, int]:
    return {run.path: level(run.core) for run in runs}
