"""Hardware of a node type, from `metadata: velodrome:`, else from Ray's resource counts."""

from dataclasses import dataclass
from functools import partial

from velodrome.agents.node import Core, Gpu, Node, contains_words
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import quantities, value_parsers
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Scalar, Value

KEYS = ("cpu", "cores", "threads", "memory", "disk", "gpus", "architecture", "price_per_hour")
MOST_PRICE = 1e6  # per hour
EXAMPLE = "{cores: 4, threads: 8, memory: 32GiB, gpus: NVIDIA L4}"
ACCELERATOR = "ray.io/accelerator-type"
UNKNOWN_GPU = "GPU"
MOST = 65536


@dataclass(frozen=True)
class RayResources:
    """Resources of a node type in Ray.

    cpus: logical; None: the launcher asks its cloud.
    """

    cpus: int | None
    gpus: int
    memory_bytes: int = 0


@dataclass(frozen=True)
class _Cpus:
    cores: int
    threads: int
    derived: str = ""


def build_node(
    name: str,
    place: str,
    found: Fields,
    resources: RayResources,
    labels: tuple[tuple[str, str], ...],
    currency: str = "",
) -> tuple[Node, tuple[str, ...]]:
    """Build a node of a type, named like it; also describe what was not declared.

    place: where the type is declared, for errors about missing entries. currency: of its price.
    """
    value_parsers.check_keys(found, KEYS, f"key of the hardware of {name}")
    cpus = _read_cpus(name, place, found, resources)
    models, model_note = _read_models(found, resources, dict(labels))
    memory, memory_note = _read_memory(found, resources)
    cpu, disk, architecture = (found.get(key) for key in ("cpu", "disk", "architecture"))
    node = Node(
        node_id=name,
        hostname=name,
        # Types of unknown hardware must not count as the same hardware.
        cpu_model=value_parsers.read_text(cpu, "cpu") if cpu else f"that of {name}",
        cores=_number_cores(cpus),
        ram_bytes=memory,
        architecture=value_parsers.read_text(architecture, "architecture")
        if architecture
        else "x86_64",
        gpus=tuple(
            Gpu(index, model, f"{name}/{index}", memory_bytes=0)
            for index, model in enumerate(models)
        ),
        labels=labels,
        free_disk_bytes=value_parsers.read_memory(disk, "disk") if disk else 0,
        price_per_hour=_read_price(found),
        price_currency=currency,
    )
    return node, tuple(note for note in (cpus.derived, model_note, memory_note) if note)


def _read_cpus(name: str, place: str, found: Fields, resources: RayResources) -> _Cpus:
    threads_value, cores_value = found.get("threads"), found.get("cores")
    threads = (
        value_parsers.read_whole(threads_value, "threads", most=MOST) if threads_value else None
    )
    cores = value_parsers.read_whole(cores_value, "cores", most=MOST) if cores_value else None
    logical = threads or resources.cpus
    if logical is None:
        problem = f"the CPUs of node type '{name}' are not declared"
        raise ConfigError(place, problem, "Add resources: {CPU: 16}, as many as it has.")
    if threads_value and resources.cpus not in (None, threads):
        problem = f"threads is {threads}, but resources CPU: {resources.cpus}"
        raise ConfigError(threads_value.place, problem, "Give CPU as many as there are threads.")
    if cores_value and cores is not None and cores > logical:
        problem = f"cores is {cores}, more than the {logical} threads"
        raise ConfigError(cores_value.place, problem, "Count physical cores.")
    if cores is None:
        return _Cpus(logical, logical, f"{logical} cores, one for each CPU")
    return _Cpus(cores, logical)


def _number_cores(cpus: _Cpus) -> tuple[Core, ...]:
    """Number CPUs as the kernel does: all cores first, then their SMT siblings."""
    return tuple(
        Core(core, tuple(range(core, cpus.threads, cpus.cores))) for core in range(cpus.cores)
    )


def _read_models(
    found: Fields, resources: RayResources, labels: dict[str, str]
) -> tuple[tuple[str, ...], str]:
    """Return a name per GPU, and a note about their source."""
    value, accelerator = found.get("gpus"), labels.get(ACCELERATOR, "")
    if value is None:
        name = accelerator or UNKNOWN_GPU
        source = f"GPU model {name}, from the label" if accelerator else "GPUs of no known model"
        return (name,) * resources.gpus, source if resources.gpus else ""
    models = _read_names(value, resources.gpus)
    for model in models:
        if not contains_words(model, accelerator):
            problem = f"gpus names '{model}', but the label {ACCELERATOR} is {accelerator}"
            raise ConfigError(value.place, problem, "Make them agree.")
    return models, ""


def _read_names(value: Value, count: int) -> tuple[str, ...]:
    """Read GPU names; a single name holds for all."""
    if not count:
        problem = "gpus names a model, but resources have no GPU"
        raise ConfigError(value.place, problem, "Add GPU: 1 to resources, or more.")
    if isinstance(value, Scalar):
        return (value_parsers.read_text(value, "gpus"),) * count
    items = value_parsers.read_items(value, "gpus", "[NVIDIA L4, NVIDIA L4]")
    if len(items) != count:
        problem = f"gpus names {len(items)}, but resources have GPU: {count}"
        raise ConfigError(value.place, problem, "Give GPU as many as there are.")
    return tuple(value_parsers.read_text(item, "gpus") for item in items)


def _read_price(found: Fields) -> float | None:
    value = found.get("price_per_hour")
    if value is None:
        return None
    return value_parsers.read_number(
        value, "price_per_hour", partial(quantities.parse_positive, most=MOST_PRICE)
    )


def _read_memory(found: Fields, resources: RayResources) -> tuple[int, str]:
    value = found.get("memory")
    if value is not None:
        return value_parsers.read_memory(value, "memory"), ""
    if resources.memory_bytes:
        return resources.memory_bytes, "memory from resources"
    return 0, "unknown memory"
