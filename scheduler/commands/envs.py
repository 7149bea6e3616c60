"""Commands `envs build|list|check|prune|lock`."""

import re
from collections.abc import Callable, Iterable
from functools import partial

from velodrome.adapters.registry import Framework
from velodrome.agents.environments.accelerators import NAME
from velodrome.agents.environments.environment import Check, Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available_frameworks, with_version
from velodrome.agents.environments.locking import renew
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.scheduler.commands.output import print_json, print_lines, print_table
from velodrome.scheduler.errors import ConfigError, EnvironmentUnavailable
from velodrome.scheduler.next_commands import example_command, format_command
from velodrome.scheduler.standard_streams import ignore_output_errors


def build(names: tuple[str, ...], accelerator: str) -> None:
    """Build environments; tries all. EnvironmentUnavailable at the end if any build failed."""
    store = EnvironmentStore(default_root())
    _make_each(names, lambda name: store.build(name, accelerator, partial(_print_progress, name)))


def rebuild(names: tuple[str, ...], accelerator: str) -> None:
    """Build environments again, replacing existing ones."""
    store = EnvironmentStore(default_root())

    def build_again(name: str) -> Environment:
        found = store.find(name, accelerator)
        say = partial(_print_progress, name)
        return store.rebuild(found, say) if found else store.build(name, accelerator, say)

    _make_each(names, build_again)


def check_accelerator(accelerator: str) -> str:
    """Return the accelerator. ConfigError if its name is invalid."""
    if not re.fullmatch(NAME, accelerator):
        mend = "Give cpu, gpu, or a name such as cuda13."
        raise ConfigError("command line, --accelerator", f"there is no '{accelerator}'", mend)
    return accelerator


def _make_each(names: tuple[str, ...], make: Callable[[str], Environment]) -> None:
    ignore_output_errors()
    failed = []
    for framework in _select_frameworks(names):
        try:
            environment = make(framework.name)
        except EnvironmentFailed as failure:
            print_lines(failure.log_tail, f"{framework.name}: failed: {failure.reason}")
            failed.append(framework.name)
        else:
            print_lines(f"{framework.name}: {environment.folder}")
    if failed:
        raise EnvironmentUnavailable(f"no environment for {', '.join(failed)}; reasons above")
    print_lines(f"next: {example_command('run')}")


def _print_progress(framework: str, text: str) -> None:
    print_lines(f"{framework}: {text}")


def show_environments(*, as_json: bool) -> None:
    rows = [
        {
            "framework": environment.framework,
            "hash": environment.hash,
            "kind": environment.kind,
            "python": str(environment.python),
            "folder": str(environment.folder),
        }
        for environment in EnvironmentStore(default_root()).list()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(rows)
    following = format_command("envs", "check" if rows else "build")
    print_lines(f"next: {following}" if rows else f"no environments yet; next: {following}")


def check(names: tuple[str, ...], *, as_json: bool) -> None:
    """Check environments.

    EnvironmentUnavailable if one differs from its build, or a named one is absent.
    """
    store = EnvironmentStore(default_root())
    _check(names, store, store.check, as_json=as_json)


def check_offline(names: tuple[str, ...], *, as_json: bool) -> None:
    """Check environments and run a small model in each without a network."""
    store = EnvironmentStore(default_root())
    try:
        _check(names, store, store.check_offline, as_json=as_json)
    except EnvironmentFailed as failure:
        raise EnvironmentUnavailable(failure.reason) from failure


def _check(
    names: tuple[str, ...],
    store: EnvironmentStore,
    check_one: Callable[[Environment], Check],
    *,
    as_json: bool,
) -> None:
    rows = []
    for framework in _select_frameworks(names):
        environment = store.find(framework.name)
        if environment is None and not names:
            continue
        problems = check_one(environment).problems if environment else ("not built",)
        rows.append(
            {
                "framework": framework.name,
                "ok": not problems,
                "problems": "; ".join(problems) or "none",
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_table(rows)
    broken = [str(row["framework"]) for row in rows if not row["ok"]]
    if broken:
        raise EnvironmentUnavailable(
            f"not usable: {', '.join(broken)}. "
            f"Build again: {format_command('envs', 'build', '--rebuild', *broken)}"
        )


def lock(names: tuple[str, ...]) -> None:
    """Renew locks. EnvironmentUnavailable at the first failure; earlier locks are written."""
    ignore_output_errors()
    for framework in _select_frameworks(names):
        try:
            paths = renew(framework.name)
        except EnvironmentFailed as failure:
            print_lines(failure.log_tail)
            raise EnvironmentUnavailable(f"{framework.name}: {failure.reason}") from failure
        print_lines(*(str(path) for path in paths))
    print_lines(f"next: {format_command('envs', 'build', *names)}")


def prune() -> None:
    ignore_output_errors()
    removed = EnvironmentStore(default_root()).prune()
    print_lines(*(f"removed {entry}" for entry in removed))
    print_lines(f"{len(removed)} removed; next: {format_command('envs', 'list')}")


def _select_frameworks(names: Iterable[str]) -> list[Framework]:
    """List the named frameworks, `torch==2.12.1` too; without names all, at their own versions."""
    known = available_frameworks()
    for name in names:
        known = with_version(known, name)
        if name not in known:
            raise ConfigError("command line", f"no framework '{name}'", did_you_mean(name, known))
    return [known[name] for name in names] or list(known.values())
