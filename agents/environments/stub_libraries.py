"""Shared libraries that a package links against and never calls, as empty ones in their place.

Each of their functions ends the process by SIGABRT. They are compiled where the environment is
built, since nothing that is no package of a lock may come from elsewhere.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import Library
from velodrome.agents.environments.tool_runs import run_tool

COMPILERS = ("cc", "gcc", "clang")
COMPILE_DEADLINE_S = 60


def require_compiler(libraries: Sequence[Library], environ: Mapping[str, str]) -> None:
    """EnvironmentFailed, before anything is downloaded, if there is none and one is needed."""
    for library in libraries:
        _compiler(library, environ)


def install_stand_ins(
    libraries: Sequence[Library], site_packages: Path, environ: Mapping[str, str]
) -> None:
    """EnvironmentFailed if this node has no C compiler, or it fails."""
    for library in libraries:
        _compile(library, site_packages / library.into / library.file, environ)


def _compile(library: Library, target: Path, environ: Mapping[str, str]) -> None:
    command = [_compiler(library, environ), "-shared", "-fPIC", f"-Wl,-soname,{library.file}"]
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "stand_in.c")
        source.write_text(_source(library))
        run = run_tool(
            [*command, "-o", str(target), str(source)],
            environ=environ,
            cwd=Path(place),
            deadline_s=COMPILE_DEADLINE_S,
        )
    if not run.ok:
        raise EnvironmentFailed(
            f"{command[0]} cannot make {library.file}. Let CC name a C compiler that can",
            run.output,
        )


def _source(library: Library) -> str:
    functions = "".join(f"void {name}(void) {{ abort(); }}\n" for name in library.symbols)
    return f"#include <stdlib.h>\n{functions}"


def _compiler(library: Library, environ: Mapping[str, str]) -> str:
    names = [environ["CC"]] if environ.get("CC") else COMPILERS
    for name in names:
        found = shutil.which(name, path=environ.get("PATH"))
        if found:
            return found
    raise EnvironmentFailed(
        f"there is no C compiler ({', '.join(names)}), which is needed to make {library.file}. "
        f"Install gcc, or let CC name one"
    )
