"""Commands `nodes`, `frameworks` and `models`, which list what is available."""

from collections import Counter
from dataclasses import asdict

from velodrome.adapters.models import MODELS, list_families
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.collectives import COLLECTIVES
from velodrome.adapters.models.copies import COPIES
from velodrome.adapters.models.layers import Model
from velodrome.adapters.models.products import count_forward_macs, count_units
from velodrome.adapters.models.shapes import count_parameters
from velodrome.adapters.models.sizes import SIZES
from velodrome.agents.environments.frameworks import available_frameworks
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take_inventory
from velodrome.agents.node import Gpu, Node
from velodrome.scheduler.commands.output import Row, print_json, print_lines, print_table
from velodrome.scheduler.next_commands import example_command, format_command
from velodrome.scheduler.sweeps.device_support import explain_missing_devices


def show_nodes(address: str, *, as_json: bool) -> None:
    """List the nodes of a cluster, or describe this machine."""
    notes: list[str] = []
    if address:
        from velodrome.scheduler.fleet.cluster import list_nodes

        found = list_nodes(address, notes.append)
    else:
        found = (take_inventory(),)
    if as_json:
        print_json([_to_json_row(node) for node in found])
        return
    if address:
        print_table([_to_table_row(node) for node in found], right=frozenset({"cores", "threads"}))
        remarks = [
            f"{node.hostname}: {'; '.join(texts)}"
            for node in found
            if (texts := _list_remarks(node))
        ]
        print_lines(*notes, *remarks, f"next: {example_command('plan', '--address', address)}")
        return
    (node,) = found
    print_table([{"": name, "this machine": value} for name, value in _describe_node(node).items()])
    print_lines(*_list_remarks(node), f"next: {example_command('plan')}")


def _list_remarks(node: Node) -> list[str]:
    """List GPUs and accelerators that are not used, with the reason."""
    return [text for text in (node.gpu_fault, node.gpu_note, node.other_accelerators) if text]


def _to_json_row(node: Node) -> Row:
    row = {**asdict(node), "node_type": node.node_type}
    del row["type_name"]  # the same as node_type
    return row


def _to_table_row(node: Node) -> Row:
    gpus = Counter(gpu.name for gpu in node.gpus)
    other = "" if node.architecture == "x86_64" else f" ({node.architecture})"
    return {
        "host": node.hostname,
        "node_type": node.node_type,
        "cpu_model": f"{node.cpu_model}{other}",
        "cores": node.physical,
        "threads": node.logical,
        "memory": f"{node.ram_bytes / 2**30:.0f} GiB",
        "gpus": ", ".join(f"{count} x {name}" for name, count in gpus.items())
        or ("none usable" if node.gpu_remarks else ""),
        "labels": ", ".join(f"{key}={value}" for key, value in node.labels),
    }


def show_frameworks(*, as_json: bool) -> None:
    store = EnvironmentStore(default_root())
    rows = []
    missing: dict[str, dict[str, str]] = {}
    for framework in available_frameworks().values():
        environment = store.find(framework.name)
        rows.append(
            {
                "framework": framework.name,
                "about": framework.about,
                "variants": " ".join(framework.variants),
                "devices": " ".join(framework.devices),
                "environment": environment.folder.name if environment else "not built",
            }
        )
        missing[framework.name] = explain_missing_devices(framework)
    if as_json:
        print_json([{**row, "missing_devices": missing[str(row["framework"])]} for row in rows])
        return
    print_table(rows)
    print_lines(
        *(f"{name}: {reason}" for name, lacks in missing.items() for reason in lacks.values()),
        f"next: {format_command('envs', 'build', 'torch')}",
    )


def describe_model(model: Model) -> Row:
    """Return a model's size and defaults. macs: forward, per unit of its input."""
    return {
        "model": model.name,
        "parameters": None if is_code(model) else count_parameters(model),
        "macs": None if is_code(model) else count_forward_macs(model),
        "unit": count_units(model, model.batch_size).name,
        "batch_size": model.batch_size,
        "gpu_batch_size": model.gpu_batch_size,
        "about": model.about,
    }


def show_models(*, as_json: bool) -> None:
    if as_json:
        print_json([describe_model(model) for model in MODELS.values()])
        return
    # These have a model for each of many sizes; the smallest stands for all.
    shown = (*COLLECTIVES[:: len(SIZES)], *COPIES[:: len(SIZES)])
    models = (one for one in MODELS.values() if not one.has_row_per_device or one in shown)
    rows = [describe_model(model) for model in models]
    table_rows = [
        {
            "model": row["model"],
            "parameters": format_count(row["parameters"]),
            "macs": format_count(row["macs"]),
            "unit": row["unit"],
            "batch": row["batch_size"],
            "GPU batch": row["gpu_batch_size"],
            "about": row["about"],
        }
        for row in rows
    ]
    print_table(table_rows, right=frozenset({"parameters", "macs", "batch", "GPU batch"}))
    names = ", ".join(list_families())
    print_lines(
        "macs: multiply-adds of one unit (image, vector or token), forward",
        f"a family's name stands for its parts: {names}",
        f"collective operations: {COLLECTIVES[0].name} to {COLLECTIVES[len(SIZES) - 1].name}, "
        "by factors of 4, the others and copies between memories alike",
        f"next: {format_command('measure', 'torch', 'lenet')}",
    )


def _describe_node(node: Node) -> dict[str, object]:
    counted = Counter(_describe_gpu(gpu, node) for gpu in node.gpus)
    gpus = ", ".join(f"{count} x {text}" if count > 1 else text for text, count in counted.items())
    return {
        "host": node.hostname,
        "type": node.node_type,
        "CPU": node.cpu_model,
        "cores": f"{node.physical} physical, {node.logical} logical",
        "sockets, NUMA nodes": f"{node.sockets}, {node.numa_nodes}",
        "caches": node.caches or "unknown",
        "governor": node.governor or "unknown",
        "memory": _format_memory(node),
        "GPUs": gpus or ("none usable" if node.gpu_remarks else "none: no NVIDIA driver"),
        "kernel": f"{node.system} {node.kernel}, {node.architecture}",
        "virtualization": node.virtualization or "none detected",
        "versions": f"Velodrome {node.velodrome_version}, Ray {node.ray_version}",
    }


def _describe_gpu(gpu: Gpu, node: Node) -> str:
    capability = f", compute capability {gpu.compute_capability}" * bool(gpu.compute_capability)
    place = f", NUMA node {gpu.numa_node}" if node.numa_nodes > 1 else ""
    known = place if gpu.numa_node is not None else ""
    return f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB{capability}{known})"


def _format_memory(node: Node) -> str:
    own = f"{node.ram_bytes / 2**30:.1f} GiB"
    of = f" (limited; the machine has {node.machine_ram_bytes / 2**30:.1f} GiB)"
    return own + of * node.is_limited


def format_count(value: object) -> str:
    """Format a count with two digits behind the point: 25.56 M."""
    if value is None:
        return "unknown"
    count = int(str(value))
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)
