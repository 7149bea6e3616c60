"""Node types and framework environments of a sweep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.html.formatting import join_names, show_size
from velodrome.scheduler.results.detail_rows import NodeRow
from velodrome.scheduler.results.row_conversion import Struct
from velodrome.scheduler.results.typed_rows import TaskRow

MOST_HOSTS = 400
PLAIN = {
    "processor": "cpu_model",
    "caches": "caches",
    "governor": "governor",
    "system": "system",
    "kernel": "kernel",
    "architecture": "architecture",
    "virtual machine": "virtualization",
    "Python": "python_version",
    "Ray": "ray_version",
    "Velodrome": "velodrome_version",
}


@dataclass(frozen=True)
class NodeType:
    """One node type. facts: name and text, with every value where its nodes differ."""

    name: str
    facts: tuple[tuple[str, str], ...]
    hosts: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class EnvironmentSummary:
    """The environment of one framework."""

    framework: str
    versions: str
    hashes: str
    tasks: int


def summarize_node_types(nodes: Iterable[NodeRow]) -> tuple[NodeType, ...]:
    """Summarize the nodes by type."""
    found: dict[str, list[NodeRow]] = {}
    for node in nodes:
        found.setdefault(node.node_type, []).append(node)
    return tuple(_build_type(name, own) for name, own in sorted(found.items()))


def summarize_environments(rows: Iterable[TaskRow]) -> tuple[EnvironmentSummary, ...]:
    """Summarize the rows by framework."""
    found: dict[str, list[TaskRow]] = {}
    for row in rows:
        found.setdefault(row.framework, []).append(row)
    return tuple(
        EnvironmentSummary(
            framework,
            join_names(_list_texts(own, "framework_version")) or "never ran",
            join_names([text[:12] for text in _list_texts(own, "environment_hash")]) or "none",
            len(own),
        )
        for framework, own in found.items()
    )


def _build_type(name: str, nodes: Sequence[NodeRow]) -> NodeType:
    facts = [(title, join_names(_list_texts(nodes, column), 4)) for title, column in PLAIN.items()]
    facts[1:1] = [("cores", join_names(_list_distinct(map(_describe_cores, nodes))))]
    facts[2:2] = [
        ("memory", join_names(_list_distinct(show_size(n.ram_bytes or 0) for n in nodes)))
    ]
    facts += [("GPUs", join_names(_list_distinct(map(_describe_gpus, nodes)), 4) or "none")]
    facts += [("labels", join_names(_list_distinct(map(_describe_labels, nodes)), 4))]
    hosts = sorted({node.hostname or node.node_id for node in nodes})
    kept = tuple((title, text) for title, text in facts if text)
    return NodeType(name, kept, tuple(hosts[:MOST_HOSTS]), len(nodes))


def _describe_cores(node: NodeRow) -> str:
    sockets, numa = node.sockets, node.numa_nodes
    text = f"{node.cores} cores, {node.threads} threads"
    text += f", {sockets} socket{'s' if sockets != 1 else ''}" if sockets else ""
    return text + (f", {numa} NUMA nodes" if numa and numa != 1 else "")


def _describe_gpus(node: NodeRow) -> str:
    return join_names([_describe_gpu(gpu) for gpu in node.gpus], 8)


def _describe_gpu(gpu: Struct) -> str:
    parts = [gpu["name"] or ""]
    if gpu.get("memory_bytes"):
        parts.append(show_size(gpu["memory_bytes"]))
    if gpu.get("driver"):
        parts.append(f"driver {gpu['driver']}")
    if gpu.get("power_limit_w"):
        parts.append(f"limit {gpu['power_limit_w']:.0f} W")
    return ", ".join(parts)


def _describe_labels(node: NodeRow) -> str:
    return ", ".join(f"{one['key']}={one['value'] or ''}" for one in node.labels)


def _list_texts(rows: Iterable[NodeRow | TaskRow], column: str) -> list[str]:
    return _list_distinct(row.text(column) for row in rows)


def _list_distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
