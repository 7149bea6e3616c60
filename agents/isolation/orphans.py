"""Processes and folders that killed agents leave behind, found by a token.

A process carries the token in its environment, a folder in its name. This is the last resort for
processes: it takes two SIGKILLs at one instant, to a supervisor and its guard, to leave one.
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
SUPERVISOR = "VELODROME_SUPERVISOR"  # in a tree's supervisors, in place of VARIABLE
FOLDERS = "velodrome-scratch-"
_START_TIME = 19  # of /proc/PID/stat, counted behind the command's closing bracket


def new_token() -> str:
    """Return `pid.starttime.random`, which names the process that started the tree."""
    return f"{_agent_name()}.{secrets.token_hex(6)}"


def folder_prefix() -> str:
    """Return the first part of the names of this agent's scratch folders."""
    return f"{FOLDERS}{_agent_name()}."


def remove_orphans() -> int:
    """Kill processes and remove folders of dead agents; return the number of killed processes.

    Called when an agent starts. Processes of other users and other PID namespaces are left alone,
    because their agent cannot be seen from here; so are folders of other namespaces.
    """
    killed = _kill_all(lambda token: not _is_agent_alive(token))
    # Their supervisors end by themselves, except a stopped one, which still holds its locks.
    killed += _kill_all(lambda token: not _is_agent_alive(token), SUPERVISOR)
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        if not _is_agent_alive(folder.name.removeprefix(FOLDERS)):
            shutil.rmtree(folder, ignore_errors=True)
    return killed


def kill_tree(token: str) -> int:
    """Kill every process that carries this token; return their number."""
    return _kill_all(lambda other: other == token)


def kill_supervisors(token: str) -> int:
    """Kill the supervisors of the tree with this token; return their number."""
    return _kill_all(lambda other: other == token, SUPERVISOR)


def find_tree(token: str) -> tuple[int, ...]:
    """Return the processes that carry this token and are not zombies."""
    return tuple(pid for pid, found in _find_tokens(VARIABLE) if found == token)


def is_stopped(pid: int) -> bool:
    """Return True if a process is stopped by SIGSTOP or a debugger."""
    return _process_state(pid) in ("T", "t")


def _kill_all(matches: Callable[[str], bool], variable: str = VARIABLE) -> int:
    """Kill repeatedly until none is found: a process may fork while it is killed."""
    killed: set[int] = set()
    for attempt in range(8):
        targets = [pid for pid, token in _find_tokens(variable) if matches(token)]
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


def _find_tokens(variable: str) -> Iterator[tuple[int, str]]:
    """(pid, token) of each other process of this user that carries a token.

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
        tokens = [text[len(prefix) :] for text in variables if text.startswith(prefix)]
        if tokens:
            yield int(entry.name), tokens[0].decode(errors="replace")


def _agent_name() -> str:
    """pid, start time and PID namespace of this process."""
    pid = os.getpid()
    return f"{pid}.{_start_time(pid)}.{_namespace()}"


def _is_agent_alive(token: str) -> bool:
    """Return True if the agent is alive, or if that cannot be known."""
    pid, started, namespace, *_ = [*token.split("."), "", "", ""]
    if not pid.isdigit() or namespace != _namespace():
        return True
    return _start_time(int(pid)) == started


def _namespace() -> str:
    """Number of this PID namespace; 0 if /proc does not state it."""
    try:
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return "0"


def _process_state(pid: int) -> str:
    """A letter of proc(5); empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks since boot, which distinguish processes that reuse a pid.

    Empty if there is no such process, or only its zombie.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[_START_TIME]
