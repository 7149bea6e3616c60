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

PATIENCE_S = 5.0  # who is not let in is told so at once; who is, in half a second
KNOCK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
NOT_LET_IN = ("nauthenticated", "InvalidAuthToken")
NO_TOKEN = ("Illegal header value", "INVALID_METADATA")  # gRPC, which aborts
MEND = (
    "Copy the head's token, and let RAY_AUTH_TOKEN_PATH name that file (without it, "
    "~/.ray/auth_token is shown if it is there)"
)


def check_token(address: str, environ: Mapping[str, str]) -> None:
    """Raise ClusterUnreachable if the cluster rejects our token; other errors appear on joining."""
    with _knocking(address, environ) as lines:
        for line in lines:
            if any(word in line for word in NOT_LET_IN):
                raise ClusterUnreachable(
                    f"Ray at {address} requires a token, and {_shown(environ)}. {MEND}"
                )
            if any(word in line for word in NO_TOKEN):
                raise ClusterUnreachable(f"{_named(environ)} holds no token of a Ray. {MEND}")


def is_about_tokens(text: str) -> bool:
    """Return True if a message of Ray's is about a missing, unreadable or rejected token."""
    return any(word in text for word in (*NOT_LET_IN, "authentication token", "RAY_AUTH_TOKEN"))


@contextmanager
def _knocking(address: str, environ: Mapping[str, str]) -> Iterator[Iterator[str]]:
    """Yield the output lines of a process that tries to connect.

    It is killed at exit or deadline.
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-c", KNOCK, address],  # what lies in this folder is not imported
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for us, who then end it
    ) as process:
        overdue = Timer(PATIENCE_S, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            assert process.stderr
            yield iter(process.stderr)
        finally:
            overdue.cancel()
            process.kill()


def _shown(environ: Mapping[str, str]) -> str:
    """Explain why the token that we present is not enough."""
    mode = environ.get("RAY_AUTH_MODE", "")
    if mode.lower() == "token":
        return f"not the one of {_named(environ)}"
    return f"none was shown, as RAY_AUTH_MODE is {mode}" if mode else "there is none to show"


def _named(environ: Mapping[str, str]) -> str:
    """Name the source of the token, in Ray's own order. Never the token itself."""
    if environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
