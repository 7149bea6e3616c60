"""The choice of an OpenBLAS core type: from tables of results, and from real child processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import velodrome
from velodrome.agents.environments.core_types import (
    CoreTypeSetting,
    KernelChoice,
    OpenBlasRun,
    choose_core_type,
    cpu_flags,
    level,
    try_setting,
)
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.openblas_selection import (
    choose_kernels,
    find_openblas_files,
    make_probe,
)

SOURCES = Path(__file__).parents[2] / "adapters" / "libraries"
IMPORT_PATH = str(Path(velodrome.__path__[0]).parent)
AVX2 = frozenset(("avx", "avx2", "fma"))
AVX512 = AVX2 | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}

Table = dict[str, tuple[OpenBlasRun, ...] | None]


def make_run(
    core: str, path: str = "a", version: str = "0.3.13", exact: str = "yes"
) -> OpenBlasRun:
    return OpenBlasRun(path, version, core, exact == "yes")


def choose(flags: frozenset[str], table: Table) -> tuple[KernelChoice, list[str]]:
    """Choose kernels; return the choice and the settings tried, in order."""
    tried: list[str] = []

    def probe(setting: str) -> tuple[OpenBlasRun, ...] | None:
        tried.append(setting)
        return table[setting]

    return choose_core_type(flags, probe), tried


def test_a_library_that_knows_the_cpu_keeps_its_choice() -> None:
    choice, tried = choose(AVX512, {"": (make_run("SKYLAKEX"),)})
    assert tried == [""]
    assert (choice.variables, choice.notes, choice.below) == ({}, (), ())


def test_kernels_of_equal_instruction_sets_leave_the_choice_to_the_library() -> None:
    for core in ("COOPERLAKE", "SAPPHIRERAPIDS"):
        assert choose(AVX512, {"": (make_run(core),)})[0].setting == ""
    assert choose(AVX2, {"": (make_run("ZEN"),)})[0].setting == ""


def test_a_library_that_does_not_know_the_cpu_is_set_to_its_best_kernels_with_a_note() -> None:
    choice, tried = choose(
        AVX512, {"": (make_run("BARCELONA"),), "SkylakeX": (make_run("SKYLAKEX"),)}
    )
    assert tried == ["", "SkylakeX"]
    assert choice.variables == {"OPENBLAS_CORETYPE": "SkylakeX"}
    assert choice.notes == (
        "OPENBLAS_CORETYPE=SkylakeX, because openblas 0.3.13 chooses BARCELONA on this CPU",
    )
    assert choice.below == ()


def test_kernels_that_the_cpu_cannot_run_are_not_tried() -> None:
    choice, tried = choose(AVX2, {"": (make_run("PRESCOTT"),), "Haswell": (make_run("HASWELL"),)})
    assert tried == ["", "Haswell"]
    assert (choice.setting, choice.best) == ("Haswell", "AVX2")
    assert choose(frozenset(("sse2",)), {"": (make_run("PRESCOTT"),)})[0].setting == ""


@pytest.mark.parametrize(
    "tried",
    [None, (make_run("SKYLAKEX", exact="no"),), (make_run("PRESCOTT"),), ()],
    ids=["it crashes", "it is wrong", "the build does not have it", "it is gone"],
)
def test_kernels_that_fail_are_skipped_for_the_next(
    tried: tuple[OpenBlasRun, ...] | None,
) -> None:
    table: Table = {
        "": (make_run("BARCELONA"),),
        "SkylakeX": tried,
        "Haswell": (make_run("HASWELL"),),
    }
    choice, _ = choose(AVX512, table)
    assert choice.setting == "Haswell"
    assert [one.core for one in choice.below] == ["HASWELL"]


def test_the_library_keeps_its_choice_if_nothing_is_better() -> None:
    table: Table = {"": (make_run("BARCELONA"),)}
    table |= dict.fromkeys(("SkylakeX", "Haswell", "Sandybridge"))
    choice, _ = choose(AVX512, table)
    assert (choice.setting, choice.notes) == ("", ())
    assert [one.core for one in choice.below] == ["BARCELONA"]


def test_a_choice_that_crashes_or_computes_wrongly_is_replaced_by_slower_kernels() -> None:
    for own in ((make_run("SKYLAKEX", exact="no"),), None):
        table: Table = {"": own, "SkylakeX": None, "Haswell": (make_run("HASWELL"),)}
        assert choose(AVX512, table)[0].setting == "Haswell"


def test_no_library_is_slowed_for_the_sake_of_another() -> None:
    old, new = make_run("BARCELONA", "old"), make_run("SKYLAKEX", "new", "0.3.31")
    lowered: Table = {
        "": (old, new),
        "SkylakeX": (make_run("PRESCOTT", "old"), new),
        "Haswell": (make_run("HASWELL", "old"), make_run("HASWELL", "new", "0.3.31")),
        "Sandybridge": (make_run("SANDYBRIDGE", "old"), make_run("SANDYBRIDGE", "new", "0.3.31")),
    }
    assert choose(AVX512, lowered)[0].setting == ""
    partly = lowered | {"SkylakeX": (make_run("HASWELL", "old"), new)}
    choice, _ = choose(AVX512, partly)
    assert choice.setting == "SkylakeX"
    assert [one.path for one in choice.below] == ["old"]
    assert "0.3.31" not in choice.notes[0]


def test_without_openblas_nothing_is_chosen() -> None:
    assert choose(AVX512, {"": ()})[0] == KernelChoice()


def test_a_named_setting_is_used_as_given_and_noted() -> None:
    choice = try_setting(
        CoreTypeSetting("Haswell", "A_VARIABLE"), AVX512, lambda setting: (make_run("HASWELL"),)
    )
    assert choice.variables == {"OPENBLAS_CORETYPE": "Haswell"}
    assert choice.notes == ("OPENBLAS_CORETYPE=Haswell, set by A_VARIABLE",)
    assert [one.core for one in choice.below] == ["HASWELL"]


def test_instruction_sets_are_those_of_the_first_cpu_in_order() -> None:
    assert cpu_flags("processor\t: 0\nflags\t\t: fpu avx avx2\n") == {"fpu", "avx", "avx2"}
    assert cpu_flags("Features\t: fp asimd\n") == frozenset()
    cores = ["Prescott", "SANDYBRIDGE", "Zen", "SkylakeX"]
    assert [level(core) for core in cores] == [0, 1, 2, 3]


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    """The interpreter of the tests, which has NumPy and SciPy, as an environment."""
    prefix, python = Path(sys.prefix), Path(sys.executable)
    return Environment("trial", "h", prefix, python, None, kind="existing", caches=tmp_path)


@pytest.fixture
def make_environment(tmp_path: Path) -> Callable[[], Environment]:
    """An environment with a fake OpenBLAS; variables control it (see its source)."""
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")
    place = tmp_path / "lib" / "python3.9" / "site-packages" / "numpy.libs"
    place.mkdir(parents=True)
    build = [compiler, "-shared", "-fPIC", "-Wl,--no-as-needed", "-o"]
    beside = [place / "libbeside.so", "-Wl,-soname,libbeside.so", SOURCES / "others.c"]
    library = [place / "libopenblas-1.so", SOURCES / "openblas.c", f"-L{place}", "-lbeside"]
    for words in (beside, library):  # as wheels have it: it does not say where its own lies
        subprocess.run([*build, *words], check=True)
    (place / "libopenblas.so").symlink_to("libopenblas-1.so")
    python = Path(sys.executable)

    def environment(**variables: str) -> Environment:
        pairs = tuple(sorted(variables.items()))
        return Environment("trial", "h", tmp_path, python, None, caches=tmp_path, variables=pairs)

    return environment


@pytest.mark.slow
def test_a_current_numpy_keeps_its_choice_whatever_the_shell_exports(here: Environment) -> None:
    cores = {one.core for one in choose_kernels(here, IMPORT_PATH, {}).run}
    choice = choose_kernels(here, IMPORT_PATH, {"OPENBLAS_CORETYPE": "Nehalem"})
    assert choice.variables == {}
    assert {one.core for one in choice.run} == cores
    assert all(one.exact for one in choice.run)
    assert choice.below == ()


@pytest.mark.slow
def test_kernels_that_the_user_names_reach_the_worker_and_are_noted(here: Environment) -> None:
    variables = {"VELODROME_OPENBLAS_CORETYPE": "Nehalem"}
    choice = choose_kernels(here, IMPORT_PATH, variables)
    assert choice.variables == {"OPENBLAS_CORETYPE": "Nehalem"}
    assert choice.notes == ("OPENBLAS_CORETYPE=Nehalem, set by VELODROME_OPENBLAS_CORETYPE",)
    if "sse4_2" in cpu_flags(Path("/proc/cpuinfo").read_text()):
        assert {one.core for one in choice.run} == {"NEHALEM"}


@pytest.mark.slow
def test_a_choice_is_cached_until_a_library_changes(
    make_environment: Callable[[], Environment],
) -> None:
    environment = make_environment()
    first = choose_kernels(environment, IMPORT_PATH, {})
    gone = Environment(**{**vars(environment), "python": Path("/no/such/python")})
    assert choose_kernels(gone, IMPORT_PATH, {}) == first
    (library,) = find_openblas_files(environment)
    os.utime(library, ns=(1, 1))
    assert choose_kernels(gone, IMPORT_PATH, {}).run == ()  # tried again, and nothing ran


def test_a_link_to_a_library_counts_as_the_same_library(
    make_environment: Callable[[], Environment],
) -> None:
    assert [path.name for path in find_openblas_files(make_environment())] == ["libopenblas-1.so"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "cores"),
    [("CRASHES", "SkylakeX"), ("WRONG", "SkylakeX"), ("KNOWN", "Haswell Sandybridge")],
)
def test_kernels_that_crash_compute_wrongly_or_do_not_exist_are_skipped(
    make_environment: Callable[..., Environment], variable: str, cores: str
) -> None:
    environment = make_environment(**{variable: cores})
    choice = choose_core_type(
        AVX512, make_probe(environment, IMPORT_PATH, find_openblas_files(environment))
    )
    assert choice.setting == "Haswell"
    assert [(one.core.upper(), one.exact) for one in choice.run] == [("HASWELL", True)]
    assert [one.core for one in choice.own] == ["BARCELONA"]
