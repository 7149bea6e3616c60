"""Check of a cluster's token, made by a child process before this process joins.

Ray retries for 15 seconds, writes its errors to the streams of its process meanwhile, and in the
end reports only that it failed; an invalid token even aborts the process. Here that happens to a
child, whose lines we read.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Timer

from velodrome.scheduler.errors import ClusterUnreachable

PATIENCE_S = 5.0  # a rejection comes at once, an admission in half a second
CONNECT = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
REJECTED = ("nauthenticated", "InvalidAuthToken")
NO_TOKEN = ("Illegal header value", "INVALID_METADATA")  # gRPC, which aborts
MEND = (
    "Copy the head's token, and let RAY_AUTH_TOKEN_PATH name that file (without it, "
    "~/.ray/auth_token is used if it exists)"
)


def check_token(address: str, environ: Mapping[str, str]) -> None:
    """Raise ClusterUnreachable if the cluster rejects our token; other errors appear on joining."""
    with _try_to_connect(address, environ) as lines:
        for line in lines:
            if any(word in line for word in REJECTED):
                raise ClusterUnreachable(
                    f"Ray at {address} requires a token, and {_explain_rejection(environ)}. {MEND}"
                )
            if any(word in line for word in NO_TOKEN):
                raise ClusterUnreachable(f"{_name_source(environ)} holds no Ray token. {MEND}")


def is_about_tokens(text: str) -> bool:
    """Return True if a message of Ray's is about a missing, unreadable or rejected token."""
    return any(word in text for word in (*REJECTED, "authentication token", "RAY_AUTH_TOKEN"))


@contextmanager
def _try_to_connect(address: str, environ: Mapping[str, str]) -> Iterator[Iterator[str]]:
    """Yield the output lines of a process that tries to connect.

    It is killed at exit or deadline.
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-c", CONNECT, address],  # without imports from the current folder
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us only; we then end it
    ) as process:
        timer = Timer(PATIENCE_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stderr
            yield iter(process.stderr)
        finally:
            timer.cancel()
            process.kill()


def _explain_rejection(environ: Mapping[str, str]) -> str:
    """Explain why the token that we present is not enough."""
    mode = environ.get("RAY_AUTH_MODE", "")
    if mode.lower() == "token":
        return f"{_name_source(environ)} holds another"
    return f"none is sent, as RAY_AUTH_MODE is {mode}" if mode else "this machine has none"


def _name_source(environ: Mapping[str, str]) -> str:
    """Name the source of the token, in Ray's own order. Never the token itself."""
    if environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
