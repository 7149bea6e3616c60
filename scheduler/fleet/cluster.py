"""A connection to a Ray: one that was started for us, or a cluster that somebody else runs."""

import ctypes
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from velodrome.agents.node import Node
from velodrome.scheduler import interrupts
from velodrome.scheduler.errors import ClusterUnreachable, ConfigError
from velodrome.scheduler.fleet.connection_check import MEND, check_token, is_about_tokens

CONNECT_S = 5.0
JOIN_S = 120.0
TOKEN_FILE = Path("~/.ray/auth_token")
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # what a Ray job's driver finds of its runtime_env
SIGNAL_FLAG = "_ZN3ray6RayLog36is_failure_signal_handler_installed_E"
# A node that is cut off without a word is noticed by these within seconds; by Ray's own defaults a
# driver waits for it without end.
KEEPALIVE = {
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
}


def driver_variables(environ: Mapping[str, str], home_token: Path) -> dict[str, str]:
    """What a driver of a cluster has in its environment, besides what the user has set.

    Ray asks for a token only if it is told to, and a cluster that has one lets nobody in without.
    """
    found = {"RAY_USAGE_STATS_ENABLED": "0", **KEEPALIVE}
    has_token = any(environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if has_token or home_token.is_file():
        found["RAY_AUTH_MODE"] = "token"
    return {name: value for name, value in found.items() if not environ.get(name)}


def check_address(address: str) -> None:
    """ConfigError if it is none, ClusterUnreachable if nobody listens there."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not (port.isascii() and port.isdecimal()):
        mend = "Give HOST:PORT of its head, 6379 by default, or `auto` on one of its nodes."
        raise ConfigError(f"--address {address}", "this is no address of a Ray", mend)
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnreachable(
            f"nobody answers at {address} ({error}). Is its head running, and is this its port? "
            f"On the head, `ray status` says"
        ) from error


@contextmanager
def join_cluster(address: str) -> Iterator[None]:
    """Connected to it, with this very Velodrome shipped to its nodes."""
    check_address(address)
    os.environ.update(driver_variables(os.environ, TOKEN_FILE.expanduser()))
    check_token(address, os.environ)
    # A package is shipped as a folder of that name; the links in ours are followed.
    import velodrome

    package = str(Path(velodrome.__file__ or "").parent)
    overdue = threading.Timer(JOIN_S, _give_up, (address,))
    overdue.daemon = True
    overdue.start()
    try:
        with connect(address, runtime_environment(package, os.environ.get(JOB_CONFIG, "{}"))):
            overdue.cancel()
            yield
    finally:
        overdue.cancel()


def _give_up(address: str) -> None:
    """Some ways of Ray to let nobody in never end, nor can they be interrupted."""
    print(
        f"velodrome: the Ray at {address} has let nobody in for {JOIN_S:.0f} s. Give the address "
        "that its head tells its nodes, as in `ray status`, and no other of the same machine",
        file=sys.stderr,
        flush=True,
    )
    os._exit(ClusterUnreachable.exit_status)


def list_nodes(address: str, note: Callable[[str], None]) -> tuple[Node, ...]:
    """What the nodes of a cluster say that they are; note is told of one that cannot say."""
    with join_cluster(address):
        from velodrome.scheduler.fleet.membership import Membership

        with Membership() as membership:
            return membership.first_look(note)


@contextmanager
def connect(address: str, runtime_env: Mapping[str, object] | None = None) -> Iterator[None]:
    """ClusterUnreachable with Ray's own reason if it does not let us in.

    Ray reads its variables once, when it is imported: here, if they are set by now.
    """
    import ray

    _silence()
    try:
        with without_signal_handlers():
            ray.init(
                address=address,
                runtime_env=dict(runtime_env or {}),
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ClusterUnreachable(f"the Ray at {address} cannot be joined: {_why(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()
        interrupts.reinstall_handlers()


@contextmanager
def without_signal_handlers() -> Iterator[None]:
    """Keep Ray from installing signal handlers during `ray.init`.

    Ray handles SIGTERM itself, twice: in Python with an exit status of its own, and below that in
    C++ with a crash log, even where the signal was ignored. There is no setting for either. The
    C++ handler is installed once per process, which SIGNAL_FLAG remembers; if a later Ray has no
    such variable, our handlers are restored as soon as `ray.init` returns.
    """
    from ray import _raylet
    from ray._private import utils

    original = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    is_installed = _signal_flag(_raylet.__file__)
    is_installed.value = True
    try:
        yield
    finally:
        is_installed.value = False  # else `ray.shutdown` uninstalls it, and ours with it
        utils.set_sigterm_handler = original
        interrupts.reinstall_handlers()


def _signal_flag(library: str) -> ctypes.c_bool:
    try:
        return ctypes.c_bool.in_dll(ctypes.CDLL(library), SIGNAL_FLAG)
    except (OSError, ValueError):
        return ctypes.c_bool()


def runtime_environment(package: str, job_config: str = "{}") -> dict[str, object]:
    """What nodes get from this machine: Velodrome, and where frameworks of the user's own are.

    The folders of those have to be on the nodes, too. What the Ray job that this runs in has
    brought along is left out: Ray refuses to be given the same twice.
    """
    brought = json.loads(job_config).get("runtime_env") or {}
    variables = {
        name: os.environ[name]
        for name in ("VELODROME_ADAPTERS",)
        if os.environ.get(name) and name not in (brought.get("env_vars") or {})
    }
    modules = {} if "py_modules" in brought else {"py_modules": [package]}
    return {**modules, "env_vars": variables}


def _silence() -> None:
    """Ray writes to the streams of its driver what nodes log as they die, whatever they log.

    stdout is our caller's, a node's bytes have no place on a terminal, and what matters of it is
    told by us. Ray has no setting for this one; where a later Ray has no such function, it speaks.
    """
    from ray._private import worker

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *data, **options: None


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())
    if is_about_tokens(text):
        return f"{text.partition('. ')[0]}. {MEND}"
    return text[:500] or type(error).__name__
