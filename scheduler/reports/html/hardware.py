"""Node types and framework environments of a sweep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.html.formatting import join_names, show_size
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.sanitizing import in_one_line

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


def summarize_node_types(nodes: Iterable[Row]) -> tuple[NodeType, ...]:
    """Summarize the nodes by type."""
    found: dict[str, list[Row]] = {}
    for node in nodes:
        found.setdefault(in_one_line(node["node_type"]), []).append(node)
    return tuple(_type(name, own) for name, own in sorted(found.items()))


def summarize_environments(rows: Iterable[Row]) -> tuple[EnvironmentSummary, ...]:
    """Summarize the rows by framework."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(in_one_line(row["framework"]), []).append(row)
    return tuple(
        EnvironmentSummary(
            framework,
            join_names(_texts(own, "framework_version")) or "never ran",
            join_names([text[:12] for text in _texts(own, "environment_hash")]) or "none",
            len(own),
        )
        for framework, own in found.items()
    )


def _type(name: str, nodes: Sequence[Row]) -> NodeType:
    facts = [(title, join_names(_texts(nodes, column), 4)) for title, column in PLAIN.items()]
    facts[1:1] = [("cores", join_names(_distinct(map(_cores, nodes))))]
    facts[2:2] = [
        ("memory", join_names(_distinct(show_size(float(str(n["ram_bytes"] or 0))) for n in nodes)))
    ]
    facts += [("GPUs", join_names(_distinct(map(_gpus, nodes)), 4) or "none")]
    facts += [("labels", join_names(_distinct(map(_labels, nodes)), 4))]
    hosts = sorted(
        {in_one_line(node["hostname"]) or in_one_line(node["node_id"]) for node in nodes}
    )
    kept = tuple((title, text) for title, text in facts if text)
    return NodeType(name, kept, tuple(hosts[:MOST_HOSTS]), len(nodes))


def _cores(node: Row) -> str:
    sockets, numa = node.get("sockets"), node.get("numa_nodes")
    text = f"{node['cores']} cores, {node['threads']} threads"
    text += f", {sockets} socket{'s' if sockets != 1 else ''}" if sockets else ""
    return text + (f", {numa} NUMA nodes" if numa and numa != 1 else "")


def _gpus(node: Row) -> str:
    gpus = node.get("gpus")
    return join_names([_gpu(gpu) for gpu in gpus], 8) if isinstance(gpus, list) else ""


def _gpu(gpu: Row) -> str:
    parts = [in_one_line(gpu["name"])]
    if gpu.get("memory_bytes"):
        parts.append(show_size(float(str(gpu["memory_bytes"]))))
    if gpu.get("driver"):
        parts.append(f"driver {in_one_line(gpu['driver'])}")
    if gpu.get("power_limit_w"):
        parts.append(f"limit {float(str(gpu['power_limit_w'])):.0f} W")
    return ", ".join(parts)


def _labels(node: Row) -> str:
    labels = node.get("labels")
    if not isinstance(labels, list):
        return ""
    return ", ".join(f"{in_one_line(one['key'])}={in_one_line(one['value'])}" for one in labels)


def _texts(rows: Iterable[Row], column: str) -> list[str]:
    return _distinct(in_one_line(row.get(column)) for row in rows)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
