"""Exchange of addresses, for a framework whose processes must know those of all before they start.

Each process reserves a port that the kernel chooses (sockets.reserve_port). Rank 0 collects the
addresses over connections that need a token, and gives all of them to all.
"""

import secrets
import socket
from typing import Dict, List, Tuple

from velodrome.adapters.contract import Group
from velodrome.adapters.groups.sockets import accept, connect, format_address, open_listener

_open: Dict[str, socket.socket] = {}  # of rank 0, by the meeting place


def open_exchange(host: str) -> str:
    """Listen on a free port of rank 0's node; return the meeting place. PeerUnreachable."""
    listener = open_listener(host)
    meeting = "tcp://{}#{}".format(format_address(listener, host), secrets.token_hex(16))
    _open[meeting] = listener
    return meeting


def exchange_addresses(group: Group, own: str) -> Tuple[str, ...]:
    """Return the `host:port` of all processes, by rank. own: that of this one. PeerUnreachable."""
    address, _, token = group.meeting[len("tcp://") :].partition("#")
    if group.rank:
        leader = connect(address, token)
        leader.send((group.rank, own))
        found: List[str] = leader.recv()
        leader.close()
        return tuple(found)
    with _open.pop(group.meeting) as listener:
        others = [accept(listener, token) for _ in range(group.size - 1)]
    known = dict([(0, own)] + [other.recv() for other in others])
    found = [known[rank] for rank in range(group.size)]
    for other in others:
        other.send(found)
        other.close()
    return tuple(found)
