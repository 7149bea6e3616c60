"""Plans: the node of every cell, and the reason if a cell runs nowhere."""

from dataclasses import replace

from made_nodes import node

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.measurement import Status
from velodrome.agents.node import Gpu, Node
from velodrome.agents.task import Limits
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.placement import ChosenEnvironment, Plan, make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep


def to_be_had(name: str, gpus: tuple[str, ...] = ()) -> DeclaredType:
    label = ("velodrome", name)
    return DeclaredType(name, node(name, gpus=gpus, labels=(label,)), label, cpus=4, max_workers=1)


SIZES = (("full", 2**29), ("roomy", 2**33))


def planned(text: str, *nodes: Node) -> Plan:
    sweep = parse_sweep(f"frameworks: [torch]\nmodels: [lenet]\n{text}", "s.yaml", FRAMEWORKS)
    return make_plan(expand_cells(sweep), sweep, nodes, {})


def where_to(made: Plan) -> list[tuple[str, int, int]]:
    return [(one.node_id, one.task.threads, one.repeat) for one in made.placements]


def reasons(made: Plan) -> list[str]:
    return [entry.reason for entry in made.unplaceable]


class TestThreads:
    def test_physical_and_logical_are_the_numbers_of_the_node(self) -> None:
        made = planned("threads: [physical, logical]\nrepeats: 1", node("a", 4, smt=2))
        assert where_to(made) == [("a", 4, 0), ("a", 8, 0)]

    def test_equal_numbers_of_threads_run_once(self) -> None:
        made = planned("threads: [1, physical, logical]\nrepeats: 1", node("a", 1))
        assert where_to(made) == [("a", 1, 0)]

    def test_a_number_above_the_cores_fits_nowhere(self) -> None:
        made = planned("threads: [8]", node("a", 1), node("b", 2))
        assert made.placements == ()
        assert reasons(made) == ["needs 8 threads, the largest node has 2 cores; nearest: host-b"]
        assert [entry.task.threads for entry in made.unplaceable] == [8]

    def test_smt_threads_are_used_only_when_asked_for(self) -> None:
        made = planned("threads: [3]", node("a", 2, smt=2))
        assert reasons(made) == [
            "needs 3 threads, the largest node has 2 cores "
            "(4 SMT threads: ask for `logical` to use them)"
        ]

    def test_a_task_that_runs_with_logical_threads_is_not_unplaceable(self) -> None:
        made = planned("threads: [8, logical]\nrepeats: 1", node("a", 4, smt=2))
        assert (where_to(made), made.unplaceable) == ([("a", 8, 0)], ())

    def test_an_exclusion_by_number_applies_to_a_nodes_physical_cores(self) -> None:
        text = "threads: [1, physical]\nrepeats: 1\nexclude: [{threads: 4}]"
        assert where_to(planned(text, node("a", 4))) == [("a", 1, 0)]


class TestConditions:
    def test_a_gpu_task_does_not_fit_a_node_without_gpus(self) -> None:
        made = planned("devices: [gpu]", node("a"))
        assert reasons(made) == ["needs 1 GPU, no node has one"]
        assert made.unplaceable[0].status is Status.UNPLACEABLE

    def test_a_task_with_more_gpus_than_any_node_fits_nowhere(self) -> None:
        made = planned("devices: [gpu:4]", node("a", gpus=("H100", "H100")), node("b"))
        assert reasons(made) == ["needs 4 GPUs, no node has more than 2; nearest: host-a"]

    def test_a_gpu_model_matches_a_part_of_its_name_in_any_case(self) -> None:
        nodes = (node("a", gpus=("NVIDIA A100",)), node("b", gpus=("NVIDIA H100 80GB HBM3",)))
        made = planned("devices: [{gpu: h100}]\nrepeats: 1\nthreads: [1]", *nodes)
        assert where_to(made) == [("b", 1, 0)]
        made = planned("devices: [{gpu: V100}]", *nodes)
        assert reasons(made) == [
            "needs 1 GPU of model V100, the nodes have NVIDIA A100, NVIDIA H100 80GB HBM3; "
            "nearest: host-a"
        ]

    def test_several_gpus_of_a_task_are_of_one_model(self) -> None:
        mixed = node("a", gpus=("T4", "L4", "L4"))
        made = planned("devices: [gpu:4]", mixed)
        assert reasons(made) == ["needs 4 GPUs, no node has more than 2 of one model"]
        pairs = planned('devices: ["gpu:2"]\nwhere: each-gpu\nrepeats: 1\nthreads: [1]', mixed)
        (one,) = pairs.placements
        chosen = [gpu.name for gpu in mixed.gpus if gpu.uuid in one.gpu_uuid.split(",")]
        assert chosen == ["L4", "L4"]

    def test_a_gpu_model_matches_whole_words_of_its_name(self) -> None:
        nodes = (node("a", gpus=("NVIDIA L40S",)), node("b", gpus=("NVIDIA A10G",)))
        l40s, a10g = (
            planned("devices: [{gpu: L4}]", *nodes),
            planned("devices: [{gpu: A10}]", *nodes),
        )
        assert (l40s.placements, a10g.placements) == ((), ())
        made = planned(
            "devices: [{gpu: A100}]\nthreads: [1]", node("c", gpus=("NVIDIA A100-SXM4-80GB",))
        )
        assert {one.node_id for one in made.placements} == {"c"}

    def test_a_memory_limit_above_the_node_fits_nowhere(self) -> None:
        made = planned("limits: {memory: 64GiB}", node("a", gib=16), node("b", gib=32))
        assert reasons(made) == [
            "needs 64.0 GiB of memory, the largest node has 32.0 GiB; nearest: host-b"
        ]

    def test_labels_must_match(self) -> None:
        nodes = (node("a", labels=(("pool", "office"),)), node("b", labels=(("pool", "lab"),)))
        made = planned("labels: {pool: lab}\nrepeats: 1\nthreads: [1]", *nodes)
        assert where_to(made) == [("b", 1, 0)]
        assert reasons(planned("labels: {pool: lap}", *nodes)) == [
            "needs the label pool=lap, the nodes have pool=lab, office; nearest: host-a"
        ]
        assert reasons(planned("labels: {rack: '3'}", *nodes)) == [
            "needs the label rack=3, no node has it"
        ]

    def test_an_environment_must_exist_for_the_nodes_platform(self) -> None:
        """torch is locked for two platforms, numpy for any."""
        power, intel = replace(node("a"), architecture="ppc64le"), node("b")
        made = planned("threads: [1]\nrepeats: 1", power, intel)
        assert where_to(made) == [("b", 1, 0)]
        assert reasons(planned("", power)) == [
            "needs linux-x86_64 or linux-aarch64, which torch is locked for, the nodes are "
            "linux-ppc64le"
        ]
        numpy = parse_sweep("frameworks: [numpy]\nmodels: [lenet]", "s.yaml", FRAMEWORKS)
        assert make_plan(expand_cells(numpy), numpy, [power], {}).unplaceable == ()

    def test_disk_space_for_environments_comes_from_the_sweep_or_the_locks(self) -> None:
        """The smallest environment of torch for a CPU takes 960 MB."""
        full, roomy = (replace(node(name), free_disk_bytes=size) for name, size in SIZES)
        made = planned("threads: [1]\nrepeats: 1", full, roomy)
        assert where_to(made) == [("roomy", 1, 0)]
        assert reasons(planned("", full)) == [
            "needs 0.9 GiB of disk for torch, the node with most has 0.5 GiB"
        ]
        assert reasons(planned("limits: {disk: 20GiB}", full, roomy)) == [
            "needs 20.0 GiB of disk, the node with most has 8.0 GiB; nearest: host-roomy"
        ]
        assert planned("limits: {disk: 20GiB}", node("unknown")).unplaceable == ()

    def test_conditions_that_no_node_meets_together_name_the_nearest_node(self) -> None:
        nodes = (node("a", 2, gpus=("H100",)), node("b", 16, gib=64))
        made = planned("threads: [8]\ndevices: [gpu]", *nodes)
        assert reasons(made) == [
            "needs 8 threads and 1 GPU, no node has both; nearest: host-b, lacks 1 GPU"
        ]
        made = planned("threads: [8]\ndevices: [gpu]\nlimits: {memory: 32GiB}", *nodes)
        assert reasons(made) == [
            "needs 8 threads and 1 GPU and 32.0 GiB of memory, no node has all; "
            "nearest: host-b, lacks 1 GPU"
        ]

    def test_a_fleet_without_nodes_is_the_reason(self) -> None:
        assert reasons(planned("")) == ["there is no node"]

    def test_a_framework_without_a_path_for_the_device_is_unsupported_and_not_dropped(self) -> None:
        sweep = parse_sweep("frameworks: [numpy]\nmodels: [lenet]\ndevices: [gpu]", "s", FRAMEWORKS)
        made = make_plan(expand_cells(sweep), sweep, [node("a", gpus=("H100",))], {})
        assert [(entry.reason, entry.status) for entry in made.unplaceable] == [
            ("numpy has no gpu path: NumPy computes on CPUs alone", Status.UNSUPPORTED)
        ]

    def test_a_model_with_none_of_the_phases_is_unsupported_and_keeps_what_was_asked(self) -> None:
        text = "models: [lstm, lenet]\nphases: [load]\nthreads: [1]\nrepeats: 1"
        sweep = parse_sweep(f"frameworks: [torch]\n{text}", "s.yaml", FRAMEWORKS)
        made = make_plan(expand_cells(sweep), sweep, [node("a")], {})
        assert [one.task.model for one in made.placements] == ["lenet"]
        (entry,) = made.unplaceable
        assert (entry.task.model, entry.task.phases) == ("lstm", ("load",))
        assert entry.status is Status.UNSUPPORTED
        assert entry.reason.startswith(
            "lstm has no load: its examples are sequences of many lengths"
        )

    def test_tf32_on_a_cpu_is_unsupported_and_needs_no_node(self) -> None:
        text = "devices: [cpu, gpu]\ndtypes: [tf32]\nthreads: [1]\nrepeats: 1"
        made = planned(text, node("a", gpus=("H100",)))
        assert [one.task.device for one in made.placements] == ["gpu"]
        assert [(entry.reason, entry.status) for entry in made.unplaceable] == [
            ("no CPU computes in tf32", Status.UNSUPPORTED)
        ]


class TestWhere:
    NODES = (node("a"), node("b"), node("c", 8))

    def test_any_means_one_node_shared_by_compared_cells(self) -> None:
        text = "frameworks: [torch, tensorflow, numpy]\nmodels: [lenet, alexnet, lstm]\nrepeats: 2"
        sweep = parse_sweep(text, "s.yaml", FRAMEWORKS)
        made = make_plan(expand_cells(sweep), sweep, self.NODES, {})
        nodes_of_models = {(one.task.model, one.node_id) for one in made.placements}
        assert nodes_of_models == {("lenet", "a"), ("alexnet", "b"), ("lstm", "c")}
        assert len(made.placements) == 3 * 3 * 2

    def test_precisions_of_one_model_share_a_node(self) -> None:
        text = "frameworks: [torch]\nmodels: [lenet, lstm]\nrepeats: 1\nthreads: [1]\n"
        sweep = parse_sweep(f"{text}dtypes: [float32, bfloat16]", "s.yaml", FRAMEWORKS)
        made = make_plan(expand_cells(sweep), sweep, self.NODES, {})
        assert {(one.task.model, one.task.dtype, one.node_id) for one in made.placements} == {
            (model, dtype, name)
            for model, name in (("lenet", "a"), ("lstm", "b"))
            for dtype in ("float32", "bfloat16")
        }

    def test_any_prefers_a_node_type_without_unneeded_gpus(self) -> None:
        sweep = parse_sweep(
            "frameworks: [torch]\nmodels: [lenet, lstm, alexnet]\nthreads: [1]\n"
            "devices: [cpu, gpu]\nwhere: any\nrepeats: 1\n",
            "s.yaml",
            FRAMEWORKS,
        )
        types = [to_be_had("a-l4x4", ("L4",) * 4), to_be_had("b-l4", ("L4",)), to_be_had("c-cpu")]
        made = make_plan(expand_cells(sweep), sweep, (), {}, declared=types)
        went = {(one.task.gpu_count, one.node_id) for one in made.placements}
        assert went == {(0, "c-cpu"), (1, "b-l4")}

    def test_each_type_means_one_node_of_every_type(self) -> None:
        made = planned("where: each-type\nthreads: [1]\nrepeats: 1", *self.NODES)
        assert [one.node_id for one in made.placements] == ["a", "c"]
        assert [one.spot for one in made.placements] == [
            self.NODES[0].node_type,
            self.NODES[2].node_type,
        ]

    def test_each_node_means_every_suitable_node(self) -> None:
        made = planned("where: each-node\nthreads: [6]\nrepeats: 1", *self.NODES, node("d", 6))
        assert [one.node_id for one in made.placements] == ["c", "d"]

    def test_each_gpu_means_every_gpu_of_the_requested_model(self) -> None:
        nodes = (node("a", gpus=("H100", "A100", "H100")), node("b", gpus=("H100",)))
        text = "where: each-gpu\nthreads: [1]\nrepeats: 1\ndevices: [{gpu: H100}]"
        assert [one.gpu_uuid for one in planned(text, *nodes).placements] == [
            "a-gpu0",
            "a-gpu2",
            "b-gpu0",
        ]

    def test_each_gpu_takes_the_requested_number_at_a_time(self) -> None:
        text = "where: each-gpu\nthreads: [1]\nrepeats: 1\ndevices: [gpu:2]"
        made = planned(text, node("a", gpus=("H100",) * 5))
        assert [one.gpu_uuid for one in made.placements] == ["a-gpu0,a-gpu1", "a-gpu2,a-gpu3"]

    def test_mig_partitions_are_not_taken_two_at_a_time(self) -> None:
        parts = tuple(Gpu(0, "NVIDIA H100 MIG 3g.40gb", f"MIG-{n}", 2**35) for n in range(2))
        made = planned("threads: [1]\nrepeats: 1\ndevices: [gpu:2]", replace(node("a"), gpus=parts))
        assert reasons(made) == ["needs 2 GPUs, the nodes have NVIDIA H100 MIG 3g.40gb"]
        each = "where: each-gpu\nthreads: [1]\nrepeats: 1\ndevices: [gpu]"
        made = planned(each, replace(node("a"), gpus=parts))
        assert [one.gpu_uuid for one in made.placements] == ["MIG-0", "MIG-1"]

    def test_each_gpu_means_each_node_for_a_cpu_task(self) -> None:
        made = planned("where: each-gpu\nthreads: [1]\nrepeats: 1", *self.NODES)
        assert [one.node_id for one in made.placements] == ["a", "b", "c"]


class TestOrder:
    def test_repeats_are_interleaved_over_tasks_and_every_other_round_runs_backwards(self) -> None:
        made = planned("threads: [1, 2]\nrepeats: 3", node("a"))
        there, back = [("a", 1, 0), ("a", 2, 0)], [("a", 2, 1), ("a", 1, 1)]
        assert where_to(made) == [*there, *back, ("a", 1, 2), ("a", 2, 2)]

    def test_a_steady_drift_affects_every_task_equally_in_an_even_number_of_rounds(self) -> None:
        made = planned("threads: [1, 2, 3]\nrepeats: 4", node("a"))
        moments: dict[int, list[int]] = {}
        for moment, (_, threads, _) in enumerate(where_to(made)):
            moments.setdefault(threads, []).append(moment)
        assert len({sum(each) for each in moments.values()}) == 1

    def test_repeats_of_a_task_are_numbered_across_its_nodes(self) -> None:
        text = "where: each-node\nthreads: [1]\nrepeats: 2"
        made = planned(text, node("a"), node("b"))
        assert where_to(made) == [("a", 1, 0), ("b", 1, 2), ("b", 1, 3), ("a", 1, 1)]

    def test_nodes_in_another_order_make_the_same_plan(self) -> None:
        text = "where: each-node\nthreads: [1]"
        assert planned(text, node("a"), node("b")) == planned(text, node("b"), node("a"))

    def test_numbers_of_an_earlier_plan_are_kept_when_the_fleet_has_changed(self) -> None:
        text = "frameworks: [torch]\nmodels: [lenet]\nwhere: each-node\nthreads: [1]\nrepeats: 2"
        sweep = parse_sweep(text, "s.yaml", FRAMEWORKS)
        earlier = make_plan(expand_cells(sweep), sweep, [node("b"), node("c")], {})
        numbers: dict[str, dict[str, int]] = {}
        for one in earlier.placements:
            numbers.setdefault(one.task.key, {}).setdefault(one.spot, one.repeat)
        now = make_plan(expand_cells(sweep), sweep, [node("a"), node("c")], {}, numbers)
        assert where_to(now) == [("a", 1, 4), ("c", 1, 2), ("c", 1, 3), ("a", 1, 5)]

    def test_a_task_has_the_settings_of_its_sweep_and_the_lock_of_its_environment(self) -> None:
        text = (
            "frameworks: [torch, tensorflow]\nmodels: [lenet]\nseed: 3\nexclusive: false\n"
            "timing: {target: 5%}\nlimits: {deadline: 1m}\nsampling_hz: 2"
        )
        sweep = parse_sweep(text, "s.yaml", FRAMEWORKS)
        made = make_plan(
            expand_cells(sweep), sweep, [node("a")], {("torch", "cpu"): ChosenEnvironment("abc")}
        )
        first, second = made.placements[:2]
        assert (first.task.lock_hash, second.task.lock_hash) == ("abc", "")
        task = first.task
        assert (task.seed, task.exclusive, task.sampling_hz) == (3, False, 2.0)
        assert (task.timing.target, task.limits) == (0.05, Limits(deadline_s=60.0))


def test_tasks_with_few_eligible_nodes_come_first() -> None:
    """Nodes without a GPU take over the rest, which must be CPU work."""
    made = planned(
        "batch_sizes: {lenet: [64, 8]}\ndevices: [cpu, gpu]\nthreads: [1]\nrepeats: 1",
        node("a"),
        node("b", gpus=("A100",)),
    )
    assert [one.task.device for one in made.placements] == ["gpu", "gpu", "cpu", "cpu"]
