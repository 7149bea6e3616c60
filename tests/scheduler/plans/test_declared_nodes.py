"""Node types of a cluster.yaml: declared and derived hardware, and errors."""

import pytest

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.declared_nodes import DeclaredType, parse_types

HEAD = "  head: {resources: {CPU: 0}, node_config: {}}\n"
CPU = "  cpu: {resources: {CPU: 16}, labels: {velodrome: cpu}, node_config: {}}\n"
L4 = (
    "  l4: {resources: {CPU: 8, GPU: 2}, node_config: {}, max_workers: 3, "
    "labels: {velodrome: l4, ray.io/accelerator-type: L4}}\n"
)


def cluster(*types: str, hardware: str = "", more: str = "max_workers: 8\n") -> str:
    metadata = f"metadata:\n  velodrome:\n{hardware}" if hardware else ""
    kinds = "".join(types)
    return f"available_node_types:\n{HEAD}{kinds}head_node_type: head\n{more}{metadata}"


def read(*types: str, hardware: str = "", more: str = "max_workers: 8\n") -> list[DeclaredType]:
    return list(parse_types(cluster(*types, hardware=hardware, more=more), "c.yaml"))


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_types(text, "c.yaml")
    return str(caught.value)


def test_hardware_is_as_the_metadata_declares_it() -> None:
    says = (
        "    l4: {cpu: AMD EPYC, cores: 4, threads: 8, memory: 32GiB, gpus: NVIDIA L4, "
        "architecture: aarch64}\n"
    )
    (l4,) = read(L4, hardware=says)
    node = l4.node
    assert (node.node_id, node.hostname, node.cpu_model) == ("l4", "l4", "AMD EPYC")
    assert (node.physical, node.logical, node.ram_bytes) == (4, 8, 32 * 2**30)
    assert [gpu.name for gpu in node.gpus] == ["NVIDIA L4", "NVIDIA L4"]
    assert len({gpu.uuid for gpu in node.gpus}) == 2
    assert node.architecture == "aarch64"
    assert node.cores[1].cpus == (1, 5)
    assert l4.derived == ()


def test_undeclared_hardware_is_derived_and_noted() -> None:
    cpu, l4 = read(CPU, L4)
    assert (cpu.node.physical, cpu.node.logical, cpu.node.ram_bytes) == (16, 16, 0)
    assert cpu.derived == ("16 cores, one for each CPU", "unknown memory")
    assert [gpu.name for gpu in l4.node.gpus] == ["L4", "L4"]
    assert "GPU model L4, from the label" in l4.derived
    assert cpu.node.node_type != read(CPU.replace("cpu:", "same:"))[0].node.node_type


def test_a_type_knows_what_ray_needs_to_start_it_and_which_nodes_are_its_own() -> None:
    cpu, l4 = read(CPU, L4)
    assert (l4.cpus, l4.gpus, l4.max_workers, l4.selector) == (8, 2, 3, ("velodrome", "l4"))
    assert l4.labels == (("ray.io/accelerator-type", "L4"), ("velodrome", "l4"))
    assert cpu.max_workers == 8
    assert l4.is_type_of(l4.node) and not l4.is_type_of(cpu.node)


def test_the_cluster_bounds_its_types_and_one_without_workers_measures_nothing() -> None:
    assert [one.max_workers for one in read(L4, more="")] == [2]
    none = CPU.replace("labels:", "max_workers: 0, labels:")
    assert [one.name for one in read(L4, none)] == ["l4"]


def test_each_error_names_its_place_and_fix() -> None:
    right_one = cluster(CPU, L4, hardware="    cpu: {cores: 8, threads: 16}\n")

    def of(wrong: str, right: str) -> str:
        return complaint(right_one.replace(right, wrong))

    assert of("cpv: {cores", "cpu: {cores") == (
        "c.yaml:9:5: no such node type 'cpv'. Did you mean 'cpu'?"
    )
    assert of("core: 8", "cores: 8") == (
        "c.yaml:9:11: no such key of the hardware of cpu 'core'. Did you mean 'cores'?"
    )
    assert of("cores: 32", "cores: 8") == (
        "c.yaml:9:18: cores is 32, more than the 16 threads. Count physical cores."
    )
    assert of("threads: 32", "threads: 16") == (
        "c.yaml:9:30: threads is 32, but resources CPU: 16. Give CPU as many as there are threads."
    )
    assert of("label: {velodrome: cpu", "labels: {velodrome: cpu") == (
        "c.yaml:3:31: no such key of a node type 'label'. Did you mean 'labels'?"
    )
    assert of("head_node_type: hed", "head_node_type: head") == (
        "c.yaml:5:17: no such node type 'hed'. Did you mean 'head'?"
    )


def test_labels_follow_the_syntax_that_nodes_insist_on() -> None:
    def of(label: str) -> str:
        return complaint(cluster(CPU.replace("velodrome: cpu", label)))

    assert of("-bad: x").startswith("c.yaml:3:40: '-bad' is not a valid label name. Use letters")
    assert of("velodrome: in(x)").startswith("c.yaml:3:51: 'in(x)' is not a valid label value.")
    assert (
        of("rack: 3") == 'c.yaml:3:46: label rack is not a text in YAML. Put it into quotes: "3".'
    )
    assert of(f"{'a' * 64}: x").startswith("c.yaml:3:40: 'aaa")
    assert read(CPU.replace("velodrome: cpu", "example.org/rack: r3.a_b-c"))[0].selector == (
        "example.org/rack",
        "r3.a_b-c",
    )


def test_a_type_without_a_label_of_its_own_is_refused() -> None:
    twin = CPU.replace("  cpu:", "  twin:")
    assert complaint(cluster(CPU, twin)) == (
        "c.yaml:3:3: node type 'cpu' has no label that the other types lack. "
        "Add labels: {velodrome: cpu}."
    )


def test_gpus_agree_in_number_and_name_with_what_ray_is_told() -> None:
    def of(gpus: str) -> str:
        return complaint(cluster(L4, hardware=f"    l4: {{gpus: {gpus}}}\n"))

    assert of("[NVIDIA L4]") == (
        "c.yaml:8:16: gpus names 1, but resources have GPU: 2. Give GPU as many as there are."
    )
    assert of("NVIDIA L40S") == (
        "c.yaml:8:16: gpus names 'NVIDIA L40S', but the label ray.io/accelerator-type is L4. "
        "Make them agree."
    )


def test_a_file_without_types_says_where_machines_that_exist_are_found() -> None:
    assert complaint("provider: {type: local}\n") == (
        "c.yaml:1:1: there is no `available_node_types`. "
        "These machines exist already: plan while they run, with velodrome plan --address."
    )
    assert "all have CPU: 0" in complaint(cluster())
