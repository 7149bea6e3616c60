"""Placement on several nodes by MultiWorkerMirroredStrategy: one process a node, over gRPC."""

import functools
import os

import tensorflow as tf
from tensorflow.python.eager import context

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.tensorflow.placement import MirroredDevices
from velodrome.adapters.groups.addresses import exchange_addresses
from velodrome.adapters.groups.sockets import choose_nccl_interface, format_address, reserve_port

# The group's own watch notices who is gone. TensorFlow's heartbeats, every half of this, would end
# a task on a machine that is busy for 10 s, their default (tried with 2.21), and wake in a sample.
HEARTBEAT_MS = 3600 * 1000

_reserved = []  # this process's port; held until its end


class WorkerDevices(MirroredDevices):
    """Devices of this process, with those of others behind them: replicas are numbered over all."""

    def __init__(self, device, group):
        """device: `cpu` or `gpu`, whose devices are made. Unsupported: several CPUs a node."""
        if device == "cpu" and group.devices > 1:
            raise Unsupported(
                "MultiWorkerMirroredStrategy has one CPU device in each process, and there is one "
                "process a node. Give processes: [1] with nodes"
            )
        strategy = _make_strategy(device, group)
        super(WorkerDevices, self).__init__(strategy.extended.worker_devices, strategy)
        self.first, self.total = group.rank * group.devices, group.size * group.devices
        self._processes = group.size

    def _describe(self):
        text = (
            "data parallel on {} devices of {} processes, by tf.distribute."
            "MultiWorkerMirroredStrategy over gRPC"
        )
        return text.format(self.total, self._processes)


def _make_strategy(device, group):
    """Meet the other processes.

    The port is this process's from the moment that the kernel chose it: TensorFlow takes it from a
    list that all must have, and would fail if another program had taken it meanwhile.
    """
    os.environ["TF_GRPC_REUSE_PORT"] = "true"
    _slow_heartbeats()
    _reserved.append(reserve_port())
    addresses = exchange_addresses(group, format_address(_reserved[-1], group.host))
    communication = tf.distribute.experimental.CommunicationImplementation.RING
    if device == "gpu":
        choose_nccl_interface(group.host)
        communication = tf.distribute.experimental.CommunicationImplementation.NCCL
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}),
        task_type="worker",
        task_id=group.rank,
        num_accelerators={"GPU": group.devices if device == "gpu" else 0},
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(
        cluster_resolver=resolver,
        communication_options=tf.distribute.experimental.CommunicationOptions(
            implementation=communication
        ),
    )


def _slow_heartbeats():
    """Let the strategy configure its coordination service with HEARTBEAT_MS: it has no option."""
    own = context.context()
    if hasattr(own, "configure_coordination_service"):
        own.configure_coordination_service = functools.partial(
            own.configure_coordination_service, heartbeat_timeout_in_ms=HEARTBEAT_MS
        )
