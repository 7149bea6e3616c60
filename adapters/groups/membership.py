"""The start of an adapter on as many devices as a request wants, and the end of its processes."""

import contextlib
import os
from typing import Iterator

from velodrome.adapters.contract import BY_PROCESSES, Adapter, Group, Unsupported
from velodrome.adapters.groups.cpus import run_on
from velodrome.adapters.groups.layout import count_node_processes, make_group
from velodrome.adapters.groups.leader import GroupAdapter
from velodrome.adapters.models.collectives import find_fault
from velodrome.adapters.models.copies import find_copy_fault
from velodrome.adapters.models.layers import Model
from velodrome.adapters.models.shared_batches import find_single_device_work
from velodrome.adapters.proof.disagreement import Disagreed
from velodrome.adapters.protocol import Failed, Request
from velodrome.adapters.worker.adapter_steps import Send, start_adapter


@contextlib.contextmanager
def start_group(request: Request, model: Model, send: Send) -> Iterator[Adapter]:
    """Start an adapter for the block; with several devices, with all its processes.

    Unsupported if the framework, the model or a phase has no form for several devices.
    """
    require_group_form(request, model)
    adapter = start_adapter(request, model, send)
    if request.all_devices == 1:
        yield adapter
    elif adapter.group_form == BY_PROCESSES or request.nodes > 1:
        with _start_processes(request, adapter, send) as group:
            yield group
    else:
        adapter.join(Group(devices=request.devices))
        yield adapter


def require_group_form(request: Request, model: Model) -> None:
    """Raise Unsupported if several devices cannot share the model's batches, or a phase."""
    count = request.all_devices
    fault = find_fault(model, request.batch_size, count) or find_copy_fault(
        model, request.device, request.batch_size, count
    )
    if fault:
        raise Unsupported(fault)
    if count == 1:
        return
    if request.batch_size % count:
        text = "{} devices cannot share a batch of {} examples equally. Give a multiple of {}"
        raise Unsupported(text.format(count, request.batch_size, count))
    reason = find_single_device_work(model, request.phases)
    if reason:
        raise Unsupported(reason)


@contextlib.contextmanager
def _start_processes(request: Request, own: Adapter, send: Send) -> Iterator[Adapter]:
    from velodrome.adapters.groups import ranks as processes  # takes tens of ms
    from velodrome.adapters.groups import sockets

    with contextlib.ExitStack() as stack:
        own_address = ""
        if request.nodes > 1:
            listener = stack.enter_context(sockets.open_listener(request.address))
            own_address = sockets.format_address(listener, request.address)
            meeting = own.meet(request.address)
        else:
            meeting = stack.enter_context(processes.meeting_place())
        on_node = count_node_processes(request, own.group_form)
        ranks = processes.start_ranks(request, on_node, meeting, own_address)

        def give_up(failed: Failed) -> None:
            processes.kill_ranks(ranks)
            send(failed)
            os._exit(1)  # the main thread may wait for the follower for ever

        watch = processes.Watch(ranks, give_up)
        try:
            run_on(request, 0)
            own.join(make_group(request, own.group_form, 0, meeting))
            for rank in ranks:
                rank.receive()
            yield GroupAdapter(own, ranks)
        except BaseException as error:
            if not isinstance(error, (Disagreed, Unsupported)):
                watch.await_verdict()
            watch.end()
            processes.kill_ranks(ranks)
            raise
        watch.end()
        processes.end_ranks(ranks)
