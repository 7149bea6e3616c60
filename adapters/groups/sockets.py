"""Connections between the processes of a group on different nodes: authenticated, and watched.

Each is a multiprocessing Connection over TCP. Nothing that arrives is unpickled before both sides
have shown that they know the group's token (HMAC, as multiprocessing.connection does it). The
kernel notices a peer that is cut off, without a thread that wakes up while calls are timed.
"""

import contextlib
import fcntl
import os
import socket
import struct
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Iterable, Iterator, Tuple

CONNECT_S = 6.0  # to a follower that already listens: a firewall drops what it does not let pass
ACCEPT_S = 120.0  # for the leader, whose reference may have to be computed first
# A peer that is gone without a word is noticed after 2 + 4 x 1 seconds.
IDLE_S, INTERVAL_S, PROBES = 2, 1, 4
SIOCGIFADDR = 0x8915  # of Linux' sockios.h

Address = Tuple[str, int]


class PeerUnreachable(Exception):
    """A process of the group on another node cannot be reached, or is not what it should be."""


def open_listener(host: str) -> socket.socket:
    """Listen on a port that the kernel chooses, on one address of this node alone.

    PeerUnreachable if this node has no such address.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(found[0], found[1])
        listener.bind(found[4])
        listener.listen(4096)  # each other node tries it once; the kernel's own limit is lower
    except OSError as error:
        raise PeerUnreachable("cannot listen on {}: {}".format(host, error)) from error
    return listener


def reserve_port(host: str = "0.0.0.0") -> socket.socket:
    """Bind a port that the kernel chooses, for a server that cannot choose one itself.

    host: an address of this node; by default the port is bound on all of them.

    Nobody else can take it until the socket is closed. A server of this user that allows others on
    its port (SO_REUSEPORT), as gRPC's do, can: this socket does not listen, so it takes no
    connection. PeerUnreachable if this node has no such address.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        reserved = socket.socket(found[0], found[1])
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(found[4])
    except OSError as error:
        raise PeerUnreachable("cannot bind a port of {}: {}".format(host, error)) from error
    return reserved


def format_address(listener: socket.socket, host: str) -> str:
    """Return `host:port` of a listening socket."""
    return "{}:{}".format(host, listener.getsockname()[1])


def parse_address(text: str) -> Address:
    """Return host and port of `host:port`; the host may be an IPv6 address."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def connect(address: str, token: str) -> Connection:
    """Connect to a follower. PeerUnreachable."""
    channel = _open_channel(address)
    with _naming(address):
        channel.settimeout(None)
        connection = _wrap(channel)
        answer_challenge(connection, token.encode("ascii"))
        deliver_challenge(connection, token.encode("ascii"))
    return connection


def require_reachable(addresses: Iterable[str]) -> None:
    """Raise PeerUnreachable unless all these processes can be connected to.

    Frameworks connect each process to every other one, and wait for an hour where they cannot.
    """
    for address in addresses:
        _open_channel(address).close()


def accept(listener: socket.socket, token: str) -> Connection:
    """Wait for the leader; whoever does not know the token is sent away. PeerUnreachable."""
    deadline = time.monotonic() + ACCEPT_S
    while True:
        listener.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            channel, _ = listener.accept()
        except OSError as error:
            text = "no other process of the group connected within {:.0f} s"
            raise PeerUnreachable(text.format(ACCEPT_S)) from error
        channel.settimeout(None)
        connection = _wrap(channel)
        try:
            deliver_challenge(connection, token.encode("ascii"))
            answer_challenge(connection, token.encode("ascii"))
        except (AuthenticationError, EOFError, OSError):
            connection.close()
            continue
        return connection


def find_interface(host: str) -> str:
    """Return the network interface that has an IPv4 address, such as `eth0`; empty if none has."""
    try:
        wanted = socket.inet_aton(socket.gethostbyname(host))
    except OSError:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for _, name in socket.if_nameindex():
            field = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # it has no IPv4 address
                if fcntl.ioctl(query.fileno(), SIOCGIFADDR, field)[20:24] == wanted:
                    return name
    return ""


def choose_nccl_interface(host: str) -> None:
    """Let NCCL use the interface of this node's address, unless the user has chosen one."""
    interface = find_interface(host)
    if interface:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "=" + interface)  # this one, not a prefix


def _open_channel(address: str) -> socket.socket:
    try:
        return socket.create_connection(parse_address(address), CONNECT_S)
    except OSError as error:
        text = "no connection to {} within {:.0f} s: {}. Does a firewall stand between the nodes?"
        raise PeerUnreachable(text.format(address, CONNECT_S, error)) from error


def _wrap(channel: socket.socket) -> Connection:
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, IDLE_S),
        (socket.TCP_KEEPINTVL, INTERVAL_S),
        (socket.TCP_KEEPCNT, PROBES),
        (socket.TCP_USER_TIMEOUT, 1000 * (IDLE_S + PROBES * INTERVAL_S)),
    ):
        channel.setsockopt(socket.IPPROTO_TCP, option, value)
    connection = Connection(os.dup(channel.fileno()))
    channel.close()
    return connection


@contextlib.contextmanager
def _naming(address: str) -> Iterator[None]:
    try:
        yield
    except (AuthenticationError, EOFError, OSError) as error:
        text = "{} is no process of this group: {}"
        raise PeerUnreachable(text.format(address, error or type(error).__name__)) from error
