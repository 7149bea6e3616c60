"""Connections to Ray: to an embedded one, or to a cluster that is already running."""

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

from velodrome.adapters.models import user_models
from velodrome.agents.node import Node
from velodrome.scheduler import interrupts
from velodrome.scheduler.errors import ClusterUnreachable, ConfigError
from velodrome.scheduler.fleet.connection_check import MEND, check_token, is_about_tokens

CONNECT_S = 5.0
JOIN_S = 120.0
TOKEN_FILE = Path("~/.ray/auth_token")
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # holds the runtime_env of a Ray job, for its driver
SIGNAL_FLAG = "_ZN3ray6RayLog36is_failure_signal_handler_installed_E"


def find_variables(environ: Mapping[str, str], home_token: Path) -> dict[str, str]:
    """List the environment variables that a cluster's driver needs and the user has not set.

    Ray uses a token only if RAY_AUTH_MODE says so; a cluster with a token rejects others.
    """
    found = {"RAY_USAGE_STATS_ENABLED": "0"}
    has_token = any(environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if has_token or home_token.is_file():
        found["RAY_AUTH_MODE"] = "token"
    return {name: value for name, value in found.items() if not environ.get(name)}


def check_address(address: str) -> None:
    """Check a cluster's address.

    ConfigError if it is invalid, ClusterUnreachable if nothing listens.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not (port.isascii() and port.isdecimal()):
        mend = "Give HOST:PORT of its head, 6379 by default, or `auto` on one of its nodes."
        raise ConfigError(f"--address {address}", "this is not an address of Ray", mend)
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnreachable(
            f"nothing answers at {address} ({error}). Is its head running, and is this its port? "
            f"On the head, `ray status` shows it"
        ) from error


@contextmanager
def join_cluster(address: str) -> Iterator[None]:
    """Connect to a cluster and ship this version of Velodrome to its nodes."""
    check_address(address)
    os.environ.update(find_variables(os.environ, TOKEN_FILE.expanduser()))
    check_token(address, os.environ)
    # A package is shipped as a folder of that name; the links in ours are followed.
    import velodrome

    package = str(Path(velodrome.__file__ or "").parent)
    timer = threading.Timer(JOIN_S, _give_up, (address,))
    timer.daemon = True
    timer.start()
    try:
        with connect(address, build_runtime_environment(package, os.environ.get(JOB_CONFIG, "{}"))):
            timer.cancel()
            yield
    finally:
        timer.cancel()


def _give_up(address: str) -> None:
    """End the process: Ray may wait forever to be admitted, and cannot be interrupted."""
    print(
        f"velodrome: Ray at {address} did not admit this driver in {JOIN_S:.0f} s. Use the address "
        "that its nodes use, as in `ray status`, and no other address of the same machine",
        file=sys.stderr,
        flush=True,
    )
    os._exit(ClusterUnreachable.exit_status)


def list_nodes(address: str, note: Callable[[str], None]) -> tuple[Node, ...]:
    """Ask the nodes of a cluster for their inventories; note gets a message for each that fails."""
    with join_cluster(address):
        from velodrome.scheduler.fleet.membership import Membership

        with Membership() as membership:
            return membership.wait_for_nodes(note)


@contextmanager
def connect(address: str, runtime_env: Mapping[str, object] | None = None) -> Iterator[None]:
    """Connect to Ray. ClusterUnreachable, with Ray's own reason, if it refuses.

    Ray reads its variables once, on import: here, provided that they are set by now.
    """
    import ray

    _silence_ray()
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
        raise ClusterUnreachable(
            f"the Ray at {address} cannot be joined: {_shorten(error)}"
        ) from error
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
    is_installed = _find_signal_flag(_raylet.__file__)
    is_installed.value = True
    try:
        yield
    finally:
        is_installed.value = False  # else `ray.shutdown` uninstalls it, and ours with it
        utils.set_sigterm_handler = original
        interrupts.reinstall_handlers()


def _find_signal_flag(library: str) -> ctypes.c_bool:
    try:
        return ctypes.c_bool.in_dll(ctypes.CDLL(library), SIGNAL_FLAG)
    except (OSError, ValueError):
        return ctypes.c_bool()


def build_runtime_environment(package: str, job_config: str = "{}") -> dict[str, object]:
    """Describe what nodes get from this machine: Velodrome, and the user's files.

    Files of models are sent; the folders of adapters have to exist on the nodes, too. What the
    surrounding Ray job already ships is left out: Ray rejects the same entry twice.
    """
    shipped = json.loads(job_config).get("runtime_env") or {}
    given = {
        "VELODROME_ADAPTERS": os.environ.get("VELODROME_ADAPTERS", ""),
        user_models.TEXTS_VARIABLE: user_models.encode_added(),
    }
    variables = {
        name: value
        for name, value in given.items()
        if value and name not in (shipped.get("env_vars") or {})
    }
    modules = {} if "py_modules" in shipped else {"py_modules": [package]}
    return {**modules, "env_vars": variables}


def _silence_ray() -> None:
    """Stop Ray from copying the last log lines of dying nodes to this process's streams.

    stdout belongs to our caller, and a node's bytes must not reach a terminal; we report what
    matters. Ray has no setting for this; if a later Ray has no such function, its lines appear.
    """
    from ray._private import worker

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *data, **options: None


def _shorten(error: Exception) -> str:
    text = " ".join(str(error).split())
    if is_about_tokens(text):
        return f"{text.partition('. ')[0]}. {MEND}"
    return text[:500] or type(error).__name__
