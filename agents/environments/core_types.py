"""Which kernels the OpenBLAS of an environment shall run: its own choice, unless there are better.

OpenBLAS asks the CPU which it is when it is loaded. A version that is older than the CPU takes what
it knows for sure: 0.3.13 runs SSE3 kernels on an AMD CPU with AVX-512. OPENBLAS_CORETYPE names the
kernels instead. A name that a build does not know is worse than none (0.3.13 then takes PRESCOTT),
and kernels that were never tried on a CPU may be wrong, so nothing is believed: a candidate is
taken if a child that runs it says so itself and multiplies right. Deciding is here; the children
are started in velodrome.agents.environments.openblas_probes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

VARIABLE = "OPENBLAS_CORETYPE"
OF_THE_USER = "VELODROME_OPENBLAS_CORETYPE"

# Instruction sets of the kernels, by the names of core types (OpenBLAS, driver/others/dynamic.c).
# What is not named here is of SSE; Excavator is an AVX2 CPU with kernels of its own.
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
# Best first, with the flags of /proc/cpuinfo that their kernels need. What each is worth on a CPU
# that has all of them: docs/results/caffe-kernels.json.
_AVX512 = frozenset(("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"))
_CANDIDATES = (
    ("SkylakeX", _AVX512),
    ("Haswell", frozenset(("avx2", "fma"))),
    ("Sandybridge", frozenset(("avx",))),
)


@dataclass(frozen=True)
class Seen:
    """One OpenBLAS, as a child found it. exact: its products were right to the bit."""

    path: str
    version: str
    core: str
    exact: bool

    @property
    def name(self) -> str:
        return " ".join(filter(None, ("openblas", self.version)))


@dataclass(frozen=True)
class Choice:
    """What an environment's workers get. own, run: each library by itself, and as it is set.

    setting: the value of OPENBLAS_CORETYPE; empty: the variable is not set. best: the instruction
    set that this CPU could run; empty where that is not known. named_by: who gave the setting, if
    it was not chosen here. run is empty where a child that ran it crashed.
    """

    setting: str = ""
    own: tuple[Seen, ...] = ()
    run: tuple[Seen, ...] = ()
    best: str = ""
    named_by: str = ""

    @property
    def variables(self) -> dict[str, str]:
        return {VARIABLE: self.setting} if self.setting else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """For the reader of a row; empty where the library chose by itself."""
        if not self.setting:
            return ()
        if self.named_by:
            return (f"{VARIABLE}={self.setting}, as {self.named_by} asks",)
        changed = [one for one, other in zip(self.own, self.run, strict=True) if one != other]
        told = dict.fromkeys(f"{seen.name} by itself takes {seen.core}" for seen in changed)
        return (f"{VARIABLE}={self.setting}, since {', '.join(told)} on this CPU",)

    @property
    def below(self) -> tuple[Seen, ...]:
        """Libraries whose kernels are of a lesser instruction set than the CPU could run."""
        return tuple(seen for seen in self.run if self.best and level(seen.core) < _rank(self.best))


Probe = Callable[[str], tuple[Seen, ...] | None]  # None: the child crashed, or hung


@dataclass(frozen=True)
class Named:
    """A setting that is not ours to choose. by: the variable or the file that gives it."""

    setting: str
    by: str


def take(named: Named, flags: frozenset[str], probe: Probe) -> Choice:
    """What was named, whatever comes of it; tried, so that it is known what it runs."""
    run = probe(named.setting) or ()
    return Choice(named.setting, (), run, _best(flags), named.by)


def choose(flags: frozenset[str], probe: Probe) -> Choice:
    """probe gets a core type, or nothing for the library's own choice, and starts a child.

    The library's own choice stands wherever it is right and of the best instruction set. Else the
    first candidate that is right in every library, lowers none of them and betters one.
    """
    own = probe("")
    candidates, best = _candidates(flags), _best(flags)
    if own is not None and not own:
        return Choice()
    for name in candidates:
        if own and _are_right(own) and min(level(seen.core) for seen in own) >= level(name):
            break
        found = probe(name)
        if found and _are_right(found) and _is_better(found, own):
            return Choice(name, own or found, found, best)
    return Choice("", own or (), own or (), best)


def level(core: str) -> int:
    """The place of a core type's instruction set among SETS."""
    return _rank(_SET_OF.get(core.upper(), SETS[0]))


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Of the first CPU; empty on an architecture that tells of none."""
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


def _are_right(seen: Sequence[Seen]) -> bool:
    return all(one.exact for one in seen)


def _is_better(found: Sequence[Seen], own: Sequence[Seen] | None) -> bool:
    """Than what crashed, or was wrong, anything that is right is better."""
    if not own or not _are_right(own):
        return True
    before = _levels(own)
    after = _levels(found)
    if before.keys() != after.keys():
        return False
    steps = [after[path] - before[path] for path in before]
    return min(steps) >= 0 and max(steps) > 0


def _levels(seen: Sequence[Seen]) -> Mapping[str, int]:
    return {one.path: level(one.core) for one in seen}
