"""What killed agents have left: processes by a marker in their environment, folders by their name.

For processes this is the last resort: it takes two SIGKILLs at one instant, of a keeper and of its
guard, for one to get here.
"""

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

VARIABLE = "VELODROME_TASK"
KEEPER = "VELODROME_KEEPER"  # what a tree's keepers carry in place of that
FOLDERS = "velodrome-scratch-"
_START_TIME = 19  # of /proc/PID/stat, counted behind the command's closing bracket


def new_token() -> str:
    """`pid.starttime.random`: which process started the tree that carries it."""
    return f"{_own_name()}.{secrets.token_hex(6)}"


def folder_prefix() -> str:
    """How the names of an agent's scratch folders begin."""
    return f"{FOLDERS}{_own_name()}."


def sweep_strays() -> int:
    """Kill what agents left behind that are dead by now; how many processes that were.

    For the start of an agent. Processes of other users and of other PID namespaces are left alone,
    since whether their agent lives cannot be seen from here; so are folders that carry the name
    of another namespace.
    """
    killed = _kill_all(lambda token: not _agent_lives(token))
    # Their keepers are on their way out, too, but for one that was stopped and holds its locks.
    killed += _kill_all(lambda token: not _agent_lives(token), KEEPER)
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        if not _agent_lives(folder.name.removeprefix(FOLDERS)):
            shutil.rmtree(folder, ignore_errors=True)
    return killed


def kill_marked(token: str) -> int:
    """Kill every process that carries this token; how many there were."""
    return _kill_all(lambda found: found == token)


def kill_keepers(token: str) -> int:
    """Kill the keepers of the tree with this token; how many there were."""
    return _kill_all(lambda found: found == token, KEEPER)


def marked(token: str) -> tuple[int, ...]:
    """The processes that carry this token and are no zombies."""
    return tuple(pid for pid, found in _carriers(VARIABLE) if found == token)


def is_stopped(pid: int) -> bool:
    """By SIGSTOP and its like, or by a debugger: it does nothing until it is continued."""
    return _state(pid) in ("T", "t")


def _kill_all(concerns: Callable[[str], bool], variable: str = VARIABLE) -> int:
    """Again until none is found: one that is being killed may still fork."""
    killed: set[int] = set()
    for attempt in range(8):
        targets = [pid for pid, token in _carriers(variable) if concerns(token)]
        for pid in targets:
            _kill(pid)
        killed.update(targets)
        if not targets:
            break
        time.sleep(0.005 * 2**attempt)
    return len(killed)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _carriers(variable: str) -> Iterator[tuple[int, str]]:
    """(pid, token) of each other process of this user that carries one.

    A zombie's environment reads as empty.
    """
    own = os.getpid()
    prefix = f"{variable}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        try:
            if entry.stat().st_uid != os.geteuid():
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        tokens = [one[len(prefix) :] for one in variables if one.startswith(prefix)]
        if tokens:
            yield int(entry.name), tokens[0].decode(errors="replace")


def _own_name() -> str:
    """pid and start time, and of which PID namespace they are."""
    pid = os.getpid()
    return f"{pid}.{_start_time(pid)}.{_namespace()}"


def _agent_lives(token: str) -> bool:
    """Also true where that cannot be told."""
    pid, started, namespace, *_ = [*token.split("."), "", "", ""]
    if not pid.isdigit() or namespace != _namespace():
        return True
    return _start_time(int(pid)) == started


def _namespace() -> str:
    """Its number; 0 where /proc does not tell."""
    try:
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return "0"


def _state(pid: int) -> str:
    """A letter as proc(5) has it; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _start_time(pid: int) -> str:
    """In clock ticks since boot, which tells a process from a later one of the same pid.

    Empty if there is no such process, or only a zombie of it.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[_START_TIME]
