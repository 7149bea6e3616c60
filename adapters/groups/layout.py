"""Processes and devices of a group: how many of which on each node."""

from velodrome.adapters.contract import BY_PROCESSES, Group
from velodrome.adapters.protocol import Request


def count_node_processes(request: Request, form: str) -> int:
    """Return the number of processes on each node. form: as contract.Adapter.group_form."""
    return request.devices if form == BY_PROCESSES else 1


def make_group(request: Request, form: str, rank: int, meeting: str) -> Group:
    """Return a process's place. form: as contract.Adapter.group_form."""
    on_node = count_node_processes(request, form)
    devices = request.devices // on_node
    return Group(rank, on_node * request.nodes, devices, meeting, on_node, request.address)
