"""JAX beside a program that tries to take its coordinator's port between choice and use."""

import errno
import socket

from velodrome.adapters.frameworks.jax import adapter
from velodrome.adapters.groups.sockets import parse_address


class Adapter(adapter.Adapter):
    def meet(self, host):
        meeting = super().meet(host)
        address = parse_address(meeting[len("tcp://") :])
        for place in (address, ("", address[1])):
            try:
                socket.create_server(place)
            except OSError as error:
                assert error.errno == errno.EADDRINUSE
            else:
                raise AssertionError("{}:{} could be taken".format(*place))
        return meeting
