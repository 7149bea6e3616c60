"""Installation of a framework from a copied source folder, without its dependencies."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import uv

from velodrome.agents.environments import checkouts, uv_messages
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import Checkout
from velodrome.agents.environments.tool_runs import ToolRun, run_tool

PREPARE_DEADLINE_S = 1800


def require_program(prepare: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Raise EnvironmentFailed, before any download, if the source's prepare tool is missing."""
    if prepare and not shutil.which(prepare[0], path=environ.get("PATH")):
        program = prepare[0]
        raise EnvironmentFailed(
            f"there is no `{program}`, which its source needs. Install {program}"
        )


def install_source(
    folder: Path,
    checkout: Checkout,
    prepare: tuple[str, ...],
    environ: Mapping[str, str],
    run_uv: Callable[[list[str]], ToolRun],
) -> ToolRun:
    """Copy, prepare, and install with the environment's own packages only.

    prepare: a command run in the copy first, `{environment}` being the folder; empty: none.
    EnvironmentFailed if it fails. The copy is removed afterwards.
    """
    copied = folder / ".source"
    try:
        checkouts.copy(checkout, copied)
        # A setup.py that asks git for its revision shall not find another repository above.
        own = {**environ, "GIT_CEILING_DIRECTORIES": str(folder)}
        if prepare:
            _prepare(folder, copied, prepare, own)
        command = [uv.find_uv_bin(), "pip", "install", "--python", str(folder / "bin" / "python")]
        command += ["--no-deps", "--no-build-isolation", "--no-cache", "--compile-bytecode"]
        return run_uv([*command, str(copied)])
    finally:
        shutil.rmtree(copied, ignore_errors=True)


def _prepare(
    folder: Path, copied: Path, prepare: tuple[str, ...], environ: Mapping[str, str]
) -> None:
    command = [word.replace("{environment}", str(folder)) for word in prepare]
    run = run_tool(command, environ=environ, cwd=copied, deadline_s=PREPARE_DEADLINE_S)
    if run.ok:
        return
    program = prepare[0]
    mend = f"Install {program}" if run.exit_status == 127 else "See the end of its log"
    raise EnvironmentFailed(
        f"`{program}` in the copy of the source failed: {uv_messages.cause(run.output)}. {mend}",
        uv_messages.log_tail(run.output),
    )
