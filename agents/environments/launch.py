"""The start of an environment's interpreter: directly, or inside the Debian tree that contains it.

A tree is a complete Debian system. A process started in it sees the node's root with the tree's
system folders in place of the node's: the C library, the interpreter and all packages are the
tree's, read-only; home, scratch, /proc and /dev are the node's, at their own paths. PID namespaces
are not unshared, so pids, affinity, memory and signals work as usual.

bubblewrap does this for root and for users. It stays as a monitor of 1 MiB, the parent of the
requested process: a signal that ends the process becomes the monitor's exit status of 128 + signal.
Without bubblewrap, root uses a mount namespace and chroot.
"""

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import velodrome
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed

INSTALL_BWRAP = "`apt-get install bubblewrap`"
BY_SIGNAL = 128  # exit status of a monitor, plus the signal
# The folders of a Debian system; everything else below / stays the node's.
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "boot")
IMPORTS = "/velodrome"  # inside: the node's own place may lie below /usr
PATH = "/usr/local/bin:/usr/bin:/bin"
OF_THE_NODE = ("LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROBE_DEADLINE_S = 20

Links = list[tuple[str, str]]  # place inside without its /, what it links to
Binds = list[tuple[Path, str]]  # outside, place inside without its /


def launch_command(environment: Environment, adapter_path: str, words: Sequence[str]) -> list[str]:
    """Build the command that runs the environment's interpreter with these words.

    adapter_path: its import path besides Velodrome. Inside a tree this sets PYTHONPATH to both;
    elsewhere the caller does. The working directory stays. EnvironmentFailed if the tree cannot be
    entered here.
    """
    tree = environment.tree
    if tree is None:
        return [str(environment.python), *words]
    python = f"/{environment.python.relative_to(tree)}"
    path = os.pathsep.join(filter(None, (IMPORTS, adapter_path)))
    variables = {"PATH": PATH, "PYTHONPATH": path}
    if bwrap := _working_bwrap():
        return [*_by_bwrap(bwrap, tree, variables), python, *words]
    if os.geteuid() == 0:
        return _by_chroot(tree, variables, [python, *words])
    raise EnvironmentFailed(
        f"{environment.framework} runs in a Debian tree, which a user enters with bubblewrap: it "
        f"is missing or may not create namespaces here. Run {INSTALL_BWRAP}, or allow "
        "unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    )


def require_tree_access(framework: str) -> None:
    """Raise EnvironmentFailed if no tree can be entered here, before one is built."""
    tree = Path("/")
    launch_command(Environment(framework, "", tree, tree / "python", None, tree=tree), "", ())


def _working_bwrap() -> str:
    """Return bubblewrap's path; empty if it is missing or not permitted here."""
    bwrap = shutil.which("bwrap")
    return bwrap if bwrap and _works(bwrap) else ""


@functools.cache
def _works(bwrap: str) -> bool:
    probe = [bwrap, "--die-with-parent", "--dev-bind", "/", "/", "true"]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=PROBE_DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _by_bwrap(bwrap: str, tree: Path, variables: dict[str, str]) -> list[str]:
    # The signal of die-with-parent follows the parent's thread: the supervisor and tool_runs start
    # it from a thread that lives as long as the child.
    command = [bwrap, "--die-with-parent"]
    binds, links = _tree_binds(tree)
    for outside, inside in binds:
        command += ["--ro-bind", str(outside), f"/{inside}"]
    node_binds, node_links = _node_binds()
    for outside, inside in node_binds:
        command += ["--dev-bind-try", str(outside), f"/{inside}"]
    for inside, target in links + node_links:
        command += ["--symlink", target, f"/{inside}"]
    for name in OF_THE_NODE:
        command += ["--unsetenv", name]
    for name, value in variables.items():
        command += ["--setenv", name, value]
    return [*command, "--"]


def _by_chroot(tree: Path, variables: dict[str, str], words: list[str]) -> list[str]:
    """Enter by chroot, mounted over the tree's own /mnt, invisible to other processes."""
    root = str(tree / "mnt")
    lines = [f"mount -t tmpfs velodrome {shlex.quote(root)}"]
    binds, links = _tree_binds(tree)
    node_binds, node_links = _node_binds()
    sides = [(bind, "bind,ro") for bind in binds] + [(bind, "rbind") for bind in node_binds]
    for (outside, inside), how in sides:
        source, place = shlex.quote(str(outside)), shlex.quote(f"{root}/{inside}")
        make = f"mkdir -p {place}"
        if outside.is_file():
            make = f'mkdir -p "$(dirname {place})"; touch {place}'
        lines += [f"{make}; mount -o {how} {source} {place}"]
    for inside, target in links + node_links:
        lines += [f"ln -s {shlex.quote(target)} {shlex.quote(f'{root}/{inside}')}"]
    unset = " ".join(f"-u {name}" for name in OF_THE_NODE)
    assignments = shlex.join(f"{name}={value}" for name, value in variables.items())
    env = f'/usr/bin/env --chdir="$PWD" {unset} {assignments} {shlex.join(words)}'
    lines += [f"exec chroot {shlex.quote(root)} {env}"]
    # --fork: the parent names the tree in its command line, by which disk_layout.is_in_use sees it.
    return ["unshare", "--mount", "--fork", "--kill-child", "sh", "-ec", "\n".join(lines)]


def _tree_binds(tree: Path) -> tuple[Binds, Links]:
    """The tree's system folders, and Velodrome."""
    package = Path(velodrome.__file__ or "").parent
    binds: Binds = [
        ((package / "__init__.py").resolve(), f"{IMPORTS[1:]}/velodrome/__init__.py"),
        ((package / "adapters").resolve(), f"{IMPORTS[1:]}/velodrome/adapters"),
    ]
    found = _sort_places(tree / name for name in SYSTEM if name != "boot")
    return binds + found[0], found[1]


def _node_binds() -> tuple[Binds, Links]:
    return _sort_places(
        place for place in sorted(Path("/").iterdir()) if place.name not in (*SYSTEM, IMPORTS[1:])
    )


def _sort_places(places: Iterable[Path]) -> tuple[Binds, Links]:
    """Sort places into folders to bind and links to create; files below / are skipped."""
    binds: Binds = []
    links: Links = []
    for place in places:
        if place.is_symlink():
            links.append((place.name, str(place.readlink())))
        elif place.is_dir():
            binds.append((place, place.name))
    return binds, links
