"""Arguments and options of the commands about machines, frameworks and sweep files."""

from pathlib import Path
from typing import Annotated

import typer

from velodrome.scheduler.cli.options import Address, Json


def nodes(address: Address = "", json: Json = False) -> None:
    """Describe this machine, or the nodes of a cluster."""
    from velodrome.scheduler.commands import catalogue

    catalogue.show_nodes(address, as_json=json)


def doctor(json: Json = False) -> int:
    """Check that this machine is fit to measure.

    Says what to change; exit status 1 if a check warns.
    """
    from velodrome.scheduler.commands import doctor as command

    return command.doctor(as_json=json)


def frameworks(json: Json = False) -> None:
    """List the frameworks, their variants and environments."""
    from velodrome.scheduler.commands import catalogue

    catalogue.show_frameworks(as_json=json)


def models(json: Json = False) -> None:
    """List the models, their parameters and multiply-adds."""
    from velodrome.scheduler.commands import catalogue

    catalogue.show_models(as_json=json)


def sweeps(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Sweep files, or folders of them; default: sweeps/.")
    ] = None,
    json: Json = False,
) -> int:
    """List sweep files: purpose, frameworks, models, cells.

    Reads sweeps/ of this folder, or else of this checkout. Exit status 2 if a file is wrong.
    """
    from velodrome.scheduler.commands import sweep_list

    return sweep_list.sweeps(tuple(paths or ()), as_json=json)


def envs_build(
    frameworks: Annotated[list[str] | None, typer.Argument(help="Names; default: all.")] = None,
    accelerator: Annotated[
        str,
        typer.Option(
            "--accelerator", "--device", help="cpu, gpu, or e.g. cuda13; this machine may lack it."
        ),
    ] = "cpu",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build existing ones again, too.")
    ] = False,
) -> None:
    """Build the environments of the named frameworks."""
    from velodrome.scheduler.commands import envs as command

    make = command.rebuild if rebuild else command.build
    make(tuple(frameworks or ()), command.check_accelerator(accelerator))


def envs_list(json: Json = False) -> None:
    """List the environments on this machine."""
    from velodrome.scheduler.commands import envs as command

    command.show_environments(as_json=json)


def envs_check(
    frameworks: Annotated[list[str] | None, typer.Argument(help="Names; default: all.")] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Run a small model, too, without network.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that environments are unchanged and import."""
    from velodrome.scheduler.commands import envs as command

    check = command.check_offline if offline else command.check
    check(tuple(frameworks or ()), as_json=json)


def envs_prune() -> None:
    """Remove environments without a lock, and aborted builds."""
    from velodrome.scheduler.commands import envs as command

    command.prune()


def envs_lock(frameworks: Annotated[list[str], typer.Argument(help="Names.")]) -> None:
    """Lock the newest allowed packages (for maintainers)."""
    from velodrome.scheduler.commands import envs as command

    command.lock(tuple(frameworks))
