"""On what a sweep ran: every type of node, and every framework's environment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.html.formatting import listed, size
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
    """facts: name and text; several texts where its nodes differ, or nothing if none is known."""

    name: str
    facts: tuple[tuple[str, str], ...]
    hosts: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class EnvironmentSummary:
    """What one framework ran in."""

    framework: str
    versions: str
    hashes: str
    tasks: int


def node_types(nodes: Iterable[Row]) -> tuple[NodeType, ...]:
    found: dict[str, list[Row]] = {}
    for node in nodes:
        found.setdefault(in_one_line(node["node_type"]), []).append(node)
    return tuple(_type(name, own) for name, own in sorted(found.items()))


def environments(rows: Iterable[Row]) -> tuple[EnvironmentSummary, ...]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(in_one_line(row["framework"]), []).append(row)
    return tuple(
        EnvironmentSummary(
            framework,
            listed(_texts(own, "framework_version")) or "never ran",
            listed([text[:12] for text in _texts(own, "environment_hash")]) or "none",
            len(own),
        )
        for framework, own in found.items()
    )


def _type(name: str, nodes: Sequence[Row]) -> NodeType:
    facts = [(title, listed(_texts(nodes, column), 4)) for title, column in PLAIN.items()]
    facts[1:1] = [("cores", listed(_distinct(map(_cores, nodes))))]
    facts[2:2] = [
        ("memory", listed(_distinct(size(float(str(n["ram_bytes"] or 0))) for n in nodes)))
    ]
    facts += [("GPUs", listed(_distinct(map(_gpus, nodes)), 4) or "none")]
    facts += [("labels", listed(_distinct(map(_labels, nodes)), 4))]
    hosts = sorted(
        {in_one_line(node["hostname"]) or in_one_line(node["node_id"]) for node in nodes}
    )
    kept = tuple((title, text) for title, text in facts if text)
    return NodeType(name, kept, tuple(hosts[:MOST_HOSTS]), len(nodes))


def _cores(node: Row) -> str:
    sockets, numa = node.get("sockets"), node.get("numa_nodes")
    told = f"{node['cores']} cores, {node['threads']} threads"
    told += f", {sockets} socket{'s' if sockets != 1 else ''}" if sockets else ""
    return told + (f", {numa} NUMA nodes" if numa and numa != 1 else "")


def _gpus(node: Row) -> str:
    gpus = node.get("gpus")
    return listed([_gpu(gpu) for gpu in gpus], 8) if isinstance(gpus, list) else ""


def _gpu(gpu: Row) -> str:
    told = [in_one_line(gpu["name"])]
    if gpu.get("memory_bytes"):
        told.append(size(float(str(gpu["memory_bytes"]))))
    if gpu.get("driver"):
        told.append(f"driver {in_one_line(gpu['driver'])}")
    if gpu.get("power_limit_w"):
        told.append(f"limit {float(str(gpu['power_limit_w'])):.0f} W")
    return ", ".join(told)


def _labels(node: Row) -> str:
    labels = node.get("labels")
    if not isinstance(labels, list):
        return ""
    return ", ".join(f"{in_one_line(one['key'])}={in_one_line(one['value'])}" for one in labels)


def _texts(rows: Iterable[Row], column: str) -> list[str]:
    return _distinct(in_one_line(row.get(column)) for row in rows)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
