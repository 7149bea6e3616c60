"""Stubs for shared libraries that a package links against and never calls.

Each function of a stub aborts the process (SIGABRT). Stubs are compiled where the environment is
built, since all other files must come from packages of a lock.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import StubLibrary
from velodrome.agents.environments.tool_runs import run_tool

COMPILERS = ("cc", "gcc", "clang")
COMPILE_DEADLINE_S = 60


def require_compiler(libraries: Sequence[StubLibrary], environ: Mapping[str, str]) -> None:
    """Raise EnvironmentFailed, before any download, if a needed compiler is missing."""
    for library in libraries:
        _compiler(library, environ)


def install_stub_libraries(
    libraries: Sequence[StubLibrary], site_packages: Path, environ: Mapping[str, str]
) -> None:
    """Compile and install stubs. EnvironmentFailed without a working C compiler."""
    for library in libraries:
        _compile(library, site_packages / library.into / library.file, environ)


def _compile(library: StubLibrary, target: Path, environ: Mapping[str, str]) -> None:
    command = [_compiler(library, environ), "-shared", "-fPIC", f"-Wl,-soname,{library.file}"]
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "stub.c")
        source.write_text(_source(library))
        run = run_tool(
            [*command, "-o", str(target), str(source)],
            environ=environ,
            cwd=Path(place),
            deadline_s=COMPILE_DEADLINE_S,
        )
    if not run.ok:
        raise EnvironmentFailed(
            f"{command[0]} cannot compile {library.file}. Set CC to a C compiler that can",
            run.output,
        )


def _source(library: StubLibrary) -> str:
    functions = "".join(f"void {name}(void) {{ abort(); }}\n" for name in library.symbols)
    return f"#include <stdlib.h>\n{functions}"


def _compiler(library: StubLibrary, environ: Mapping[str, str]) -> str:
    names = [environ["CC"]] if environ.get("CC") else COMPILERS
    for name in names:
        found = shutil.which(name, path=environ.get("PATH"))
        if found:
            return found
    raise EnvironmentFailed(
        f"there is no C compiler ({', '.join(names)}), which {library.file} needs. "
        f"Install gcc, or set CC to one"
    )
