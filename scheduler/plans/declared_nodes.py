"""Node types that a cluster.yaml declares, as nodes to plan over before any is started."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.node import Node
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.declared_hardware import EXAMPLE, RayResources, build_node
from velodrome.scheduler.plans.labels import read_labels
from velodrome.scheduler.plans.price_labels import find_label_fault
from velodrome.scheduler.sweeps import value_parsers, yaml_nodes
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Value

TYPES, METADATA_KEY = "available_node_types", "velodrome"
CURRENCY = "currency"  # of all prices, beside the types in the metadata
TYPE_KEYS = (  # what Ray's own schema allows in a node type
    "node_config",
    "resources",
    "labels",
    "min_workers",
    "max_workers",
    "idle_timeout_s",
    "priority",
    "initialization_commands",
    "worker_setup_commands",
    "docker",
)
MAX_WORKERS = 2  # Ray's default for a cluster
MOST = 1_000_000
MOST_OF = {"CPU": 65536, "GPU": 1024}  # each becomes a part of a planned node

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DeclaredType:
    """A node type. node stands for each of its nodes; node_id and hostname are the type's name.

    selector: the label that no other type has. cpus: logical, as Ray counts. derived: messages
    about hardware that is not declared but inferred.
    """

    name: str
    node: Node
    selector: tuple[str, str]
    cpus: int
    max_workers: int
    min_workers: int = 0
    derived: tuple[str, ...] = ()

    @property
    def labels(self) -> Labels:
        return self.node.labels

    @property
    def gpus(self) -> int:
        return len(self.node.gpus)

    def is_type_of(self, node: Node) -> bool:
        """Return True if a running node is of this type."""
        return self.selector in node.labels


def load_types(path: str | os.PathLike[str]) -> tuple[DeclaredType, ...]:
    """Load the node types of a file; see `parse_types`."""
    return parse_types(yaml_nodes.read_text(path), yaml_nodes.name_source(path))


def parse_types(text: str, source: str) -> tuple[DeclaredType, ...]:
    """Parse the node types that can measure: with a CPU, and at least one node allowed.

    ConfigError names the first error and its fix. What concerns only Ray's launcher is left to its
    own validator.
    """
    if not text.strip():
        raise ConfigError(f"{source}:1:1", "the file is empty", f"Start with {TYPES}:.")
    root = yaml_nodes.parse_yaml(text, source)
    kinds = _read_kinds(root, source)
    head = _read_head_type(root, kinds, source)
    most = _read_whole(root, "max_workers", MAX_WORKERS)
    labels = {name: _read_labels(kind) for name, kind in kinds.items()}
    declared, currency = _read_hardware(root, kinds)
    found = []
    for name, kind in kinds.items():
        counted = _read_resources(kind)
        own = _read_whole(kind, "max_workers", most)
        workers = min(most, own) if name != head else 1
        if counted.cpus == 0 or not workers:
            continue
        selector = _choose_selector(name, kind, labels)
        node, derived = build_node(
            name,
            kind.place,
            declared.get(name, Fields(kind.place, ())),
            counted,
            labels[name],
            currency,
        )
        least = _read_whole(kind, "min_workers", 0)
        cpus = counted.cpus or node.logical
        found.append(DeclaredType(name, node, selector, cpus, workers, least, derived))
    if not found:
        problem = "no node type measures: all have CPU: 0 or max_workers: 0"
        raise ConfigError(f"{source}:1:1", problem, "Add a type with resources: {CPU: 16}.")
    return tuple(found)


def _read_kinds(root: Fields, source: str) -> dict[str, Fields]:
    value = root.get(TYPES)
    if value is None:
        provider = root.get("provider")
        kind = provider.get("type") if isinstance(provider, Fields) else None
        is_local = kind is not None and value_parsers.read_text(kind, "type") == "local"
        names = [key.text for key, _ in root.entries]
        mend = (
            "These machines exist already: plan while they run, with velodrome plan --address."
            if is_local
            else f"Add {TYPES}: with a type. The file has: {', '.join(names)}."
        )
        raise ConfigError(f"{source}:1:1", f"there is no `{TYPES}`", mend)
    kinds = {}
    for key, kind in value_parsers.read_fields(
        value, TYPES, "{cpu: {resources: {CPU: 16}}}"
    ).entries:
        found = value_parsers.read_fields(kind, f"node type {key.text}", "{resources: {CPU: 16}}")
        value_parsers.check_keys(found, TYPE_KEYS, "key of a node type")
        kinds[key.text] = Fields(
            key.place, found.entries
        )  # an error names the place of the type's name
    return kinds


def _read_head_type(root: Fields, kinds: Mapping[str, Fields], source: str) -> str:
    value = root.get("head_node_type")
    if value is None:
        mend = f"Add head_node_type: {next(iter(kinds), 'head')}."
        raise ConfigError(f"{source}:1:1", "there is no `head_node_type`", mend)
    return value_parsers.read_one_of(value, "head_node_type", "node type", kinds)


def _read_labels(kind: Fields) -> Labels:
    value = kind.get("labels")
    labels = () if value is None else read_labels(value, "labels")
    if value is not None and (fault := find_label_fault(labels)):
        raise ConfigError(value.place, *fault)
    return labels


def _read_resources(kind: Fields) -> RayResources:
    value = kind.get("resources")
    if value is None:
        return RayResources(None, 0)
    found = value_parsers.read_fields(value, "resources", "{CPU: 16, GPU: 1}")
    counts = {
        key.text: value_parsers.read_whole(
            count, f"resource {key.text}", least=0, most=MOST_OF.get(key.text, 2**53)
        )
        for key, count in found.entries
    }
    return RayResources(counts.get("CPU"), counts.get("GPU", 0), counts.get("memory", 0))


def _read_hardware(root: Fields, kinds: Mapping[str, Fields]) -> tuple[dict[str, Fields], str]:
    """Return the entries of `metadata: velodrome:` by node type, and the currency of prices."""
    metadata = root.get("metadata")
    value = (
        value_parsers.read_fields(metadata, "metadata", "{velodrome: ...}").get(METADATA_KEY)
        if metadata
        else None
    )
    if value is None:
        return {}, ""
    found = value_parsers.read_fields(value, METADATA_KEY, f"{{cpu: {EXAMPLE}}}")
    value_parsers.check_keys(found, (*kinds, CURRENCY), "node type")
    currency = found.get(CURRENCY)
    types = {
        key.text: value_parsers.read_fields(entry, key.text, EXAMPLE)
        for key, entry in found.entries
        if key.text != CURRENCY
    }
    return types, value_parsers.read_text(currency, CURRENCY) if currency else ""


def _choose_selector(name: str, kind: Fields, labels: Mapping[str, Labels]) -> tuple[str, str]:
    """Choose a type's unique label.

    Ours first, Ray's own last, since nodes may set those themselves.
    """
    others = {label for other, own in labels.items() if other != name for label in own}
    own: Sequence[tuple[str, str]] = [label for label in labels[name] if label not in others]
    if not own:
        problem = f"node type '{name}' has no label that the other types lack"
        raise ConfigError(kind.place, problem, f"Add labels: {{velodrome: {name}}}.")
    return min(
        own, key=lambda label: (label[0] != METADATA_KEY, label[0].startswith("ray.io/"), label)
    )


def _read_whole(found: Fields, name: str, default: int) -> int:
    value: Value | None = found.get(name)
    return default if value is None else value_parsers.read_whole(value, name, least=0, most=MOST)
