"""Where a sweep runs, as it was typed: on this machine, or on the nodes of a cluster."""

from dataclasses import dataclass
from pathlib import Path

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import quantities


@dataclass(frozen=True)
class Where:
    """address: of a Ray; empty: this machine, under a Ray of its own.

    cluster: the file of a fleet whose nodes are brought up as they are needed. patience_s: how long
    to wait for a node when nothing else can run; on this machine none will ever come.
    """

    address: str = ""
    cluster: Path | None = None
    patience_s: float = 0.0


def where(address: str, cluster: Path | None, patience: str) -> Where:
    """ConfigError names the option that is wrong, and the mend.

    patience: empty if nothing was said: 5 minutes for a node to come back, 20 for one to be had,
    which a cloud may take ten to start.
    """
    patience = patience or ("20m" if cluster else "5m")
    if not address:
        if cluster:
            mend = "Give --address, too: `auto` on the head, or HOST:PORT."
            raise ConfigError("command line, --cluster", "it says what may run, not where", mend)
        return Where()
    patience_s = 0.0 if patience == "0" else quantities.duration_s(patience)
    if patience_s is None:
        problem = f"'{patience}' cannot be read"
        raise ConfigError("command line, --patience", problem, quantities.DURATION_MEND)
    return Where(address, cluster, patience_s)
