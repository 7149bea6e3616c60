"""One model on several nodes: workers on several addresses of this one stand for them."""

import socket
import threading
import time
from contextlib import closing

import psutil
import pytest

from velodrome.adapters.groups import sockets
from velodrome.adapters.groups.messages import Start
from velodrome.adapters.protocol import (
    COMPUTED_PHASES,
    Failed,
    Finished,
    Phase,
    Request,
    Timed,
)
from velodrome.adapters.wire_format import decode

pytestmark = pytest.mark.slow

GROUP = {"adapter": "numpy_group", "nodes": 2, "batch_size": 8}


@pytest.fixture
def bench(workers_of):
    return workers_of("numpy")


@pytest.mark.parametrize(
    ("model", "nodes", "devices"), [("lenet", 2, 1), ("lenet", 2, 2), ("resnet50-tiny", 4, 1)]
)
def test_nodes_agree_with_the_reference_of_the_whole_batch(bench, model, nodes, devices):
    verified = bench.agrees(model, **{**GROUP, "nodes": nodes, "devices": devices})
    assert verified.gradient_error < 1e-12


def test_every_phase_of_a_group_passes_every_check(bench):
    group = {**GROUP, "batch_size": 2}
    events = bench.measure("bert-base-tiny", phases=COMPUTED_PHASES, **group)
    assert isinstance(events[-1], Finished), events[-1]
    assert {each.phase for each in events if isinstance(each, Timed)} == set(COMPUTED_PHASES)


def test_a_sample_lasts_as_long_as_on_the_slowest_node(workers_of):
    events = workers_of("numpy", GROUP_FAULT="sleeps").measure("lenet", **GROUP)
    assert isinstance(events[-1], Finished), events[-1]
    timed = {each.phase: each.median_ns for each in events if isinstance(each, Timed)}
    assert timed["gradient"] > 50e6


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("left out", "disagreed", "gradients are off"),
        ("not divided", "disagreed", "gradients are off"),
        ("not shared", "disagreed", "on rank 1 of 2 differs from that on rank 0"),
        ("raises", "crashed", "rank 1 of 2: ValueError: planted"),
        ("exits", "disconnected", "the connection is lost"),
        ("killed", "disconnected", "the connection is lost"),
    ],
)
def test_a_fault_on_another_node_ends_the_task_at_once(workers_of, fault, status, reason):
    began = time.monotonic()
    failed = workers_of("numpy", GROUP_FAULT=fault).measure("lenet", **GROUP)[-1]
    assert isinstance(failed, Failed), failed
    assert failed.status == status
    assert reason in failed.reason
    assert time.monotonic() - began < 60


def test_a_member_ends_when_its_leader_is_gone(bench):
    request = make_request()
    with bench.members(request) as (leading, (member,)):
        orders = sockets.connect(leading.peers[0], leading.token)
        sockets.connect(leading.peers[0], leading.token).close()
        assert member.child.wait(10) == 1
        orders.close()
        assert list(member.events)[-1].status == "disconnected"


def make_request(devices=1):
    names = ("measure", "numpy", "numpy_group", "float64", "lenet", 8, "cpu", 1, "float32", 0, "")
    return Request(*names, nodes=2, devices=devices)


def test_a_killed_process_of_a_member_is_no_lost_leader_to_its_agent(bench):
    with bench.members(make_request(devices=2)) as (_, (member,)):
        (child,) = psutil.Process(member.child.pid).children()
        child.kill()
        failed = list(member.events)[-1]
        assert (failed.status, "killed by signal 9" in failed.reason) == ("killed", True)
        assert member.child.wait(10) == 1


def test_the_agent_of_another_node_hears_of_each_phase(bench):
    led, followed = bench.measure_and_follow("lenet", **GROUP)
    begun = [event.name for event in followed if isinstance(event, Phase)]
    known = [event.name for event in led if isinstance(event, Phase)]
    assert isinstance(followed[-1], Finished), followed[-1]
    assert begun == ["build", *known[1:]]  # after it listens; the first build: it is connected
    assert "gradient" in begun


@pytest.mark.parametrize("kind", ["refuses", "drops"])
def test_a_firewall_before_another_node_is_told_with_its_address(bench, kind):
    """The kernel refuses where nobody listens, and drops what a full listener cannot take."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        port = listener.getsockname()[1]
        waiting = []
        if kind == "refuses":
            listener.close()
        else:
            waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(1)]
        began = time.monotonic()
        failed = bench.measure_with_peers("lenet", (f"127.0.0.1:{port}",), **GROUP)[-1]
        for each in waiting:
            each.close()
    assert isinstance(failed, Failed), failed
    assert failed.status == "disconnected"
    assert f"127.0.0.1:{port}" in failed.reason
    assert "firewall" in failed.reason
    assert time.monotonic() - began < sockets.CONNECT_S + 20  # it starts a worker


def test_a_firewall_between_two_other_nodes_is_told_before_they_join(bench):
    """Between these, the framework would wait for an hour."""
    with sockets.open_listener("127.0.0.1") as closed:
        beyond = sockets.format_address(closed, "127.0.0.1")
    with bench.members(make_request()) as (leading, (member,)):
        orders = sockets.connect(leading.peers[0], leading.token)
        alarms = sockets.connect(leading.peers[0], leading.token)
        orders.send(Start(1, "tcp://127.0.0.1:1", (leading.peers[0], beyond)))
        failed = decode(alarms.recv())
        assert failed.status == "disconnected"
        assert failed.reason.startswith(f"no connection to {beyond} within 6 s: ")
        assert member.child.wait(10) == 1
        orders.close()
        alarms.close()


def test_whoever_does_not_know_the_token_is_sent_away():
    listener = sockets.open_listener("127.0.0.1")
    address = sockets.format_address(listener, "127.0.0.1")
    accepted = []
    waiting = threading.Thread(target=lambda: accepted.append(sockets.accept(listener, "right")))
    waiting.start()
    with pytest.raises(sockets.PeerUnreachable, match="no process of this group"):
        sockets.connect(address, "wrong")
    with closing(socket.create_connection(sockets.parse_address(address))):
        pass  # says nothing
    with closing(sockets.connect(address, "right")) as known:
        waiting.join(10)
        known.send("hello")
        assert accepted[0].recv() == "hello"
    accepted[0].close()
    listener.close()


def test_a_port_where_nobody_listens_is_told_with_the_address():
    with sockets.open_listener("127.0.0.1") as closed:
        port = closed.getsockname()[1]
    with pytest.raises(sockets.PeerUnreachable, match=rf"127\.0\.0\.1:{port} .*firewall"):
        sockets.connect(f"127.0.0.1:{port}", "token")


def test_an_address_that_this_node_does_not_have_is_an_error():
    with pytest.raises(sockets.PeerUnreachable, match=r"cannot listen on 192\.0\.2\.1"):
        sockets.open_listener("192.0.2.1")
    with pytest.raises(sockets.PeerUnreachable, match=r"cannot bind a port of 192\.0\.2\.1"):
        sockets.reserve_port("192.0.2.1")


def test_the_interface_of_an_address_is_found():
    assert sockets.find_interface("127.0.0.1") == "lo"
    assert sockets.find_interface("192.0.2.1") == ""
