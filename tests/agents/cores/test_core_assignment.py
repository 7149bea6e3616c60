"""The CPUs that a task gets on nodes of several shapes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.agents.cores.assignment import DoesNotFit, ResourceRequest, choose, share
from velodrome.agents.node import Core, Gpu, Node


def node(sockets: int, cores: int, smt: int = 1, numa: int = 1, gpus: tuple[Gpu, ...] = ()) -> Node:
    """CPUs are numbered as Linux does: every core's first thread, then every core's second.

    cores per socket; numa nodes per socket.
    """
    total = sockets * cores
    return Node(
        node_id="n",
        hostname="track",
        cpu_model="cpu",
        cores=tuple(
            Core(
                number=number,
                cpus=tuple(number + turn * total for turn in range(smt)),
                socket=number // cores,
                numa_node=number * numa // cores,
            )
            for number in range(total)
        ),
        ram_bytes=2**34,
        gpus=gpus,
    )


SMALL = node(1, 2)  # two cores, no SMT
DESKTOP = node(1, 8, smt=2)
SERVER = node(2, 4)
EPYC = node(1, 16, smt=2, numa=4)
SHAPES = (SMALL, DESKTOP, SERVER, EPYC, node(2, 32, smt=2, numa=4), node(1, 1))


def numbers(shape: Node, threads: int, free: tuple[int, ...] | None = None) -> tuple[int, ...]:
    cores = None if free is None else [shape.cores[number] for number in free]
    allotment = choose(shape, threads, cores)
    return () if allotment is None else tuple(core.number for core in allotment.cores)


def test_the_first_core_is_left_to_the_sampler_if_a_core_is_spare() -> None:
    allotment = choose(SMALL, 1)
    assert allotment is not None
    assert (allotment.cpus, allotment.sampler_cpu) == ((1,), 0)


def test_a_task_that_takes_every_core_leaves_none_to_the_sampler() -> None:
    allotment = choose(SMALL, 2)
    assert allotment is not None
    assert (allotment.cpus, allotment.sampler_cpu) == ((0, 1), None)


@pytest.mark.parametrize(
    ("threads", "cpus"),
    [
        (1, (1,)),
        (7, (1, 2, 3, 4, 5, 6, 7)),
        (8, (0, 1, 2, 3, 4, 5, 6, 7)),
        (9, (0, 1, 2, 3, 4, 5, 6, 7, 8)),
        (16, tuple(range(16))),
    ],
)
def test_smt_siblings_are_used_only_if_there_are_too_few_cores(
    threads: int, cpus: tuple[int, ...]
) -> None:
    allotment = choose(DESKTOP, threads)
    assert allotment is not None
    assert allotment.cpus == cpus


def test_a_numa_node_that_holds_all_threads_is_preferred() -> None:
    assert numbers(SERVER, 3) == (1, 2, 3)
    assert numbers(SERVER, 4) == (4, 5, 6, 7)
    assert numbers(SERVER, 5) == (1, 2, 3, 4, 5)
    assert numbers(EPYC, 4) == (4, 5, 6, 7)


def test_the_numa_node_with_the_fewest_free_cores_is_filled_first() -> None:
    assert numbers(EPYC, 2, free=(1, 2, 3, 4, 5, 8, 9, 10)) == (4, 5)


def test_a_socket_that_holds_all_threads_is_preferred_to_both() -> None:
    two = node(2, 8, numa=2)
    assert numbers(two, 8) == tuple(range(8, 16))
    assert numbers(two, 6) == (1, 2, 3, 4, 5, 6)


def test_a_task_takes_the_first_core_rather_than_wait() -> None:
    assert numbers(DESKTOP, 4, free=(0, 5, 6, 7)) == (0, 5, 6, 7)
    assert numbers(DESKTOP, 4, free=(0, 6, 7)) == ()


def test_more_threads_than_cpus_never_fit() -> None:
    with pytest.raises(DoesNotFit, match=r"17 threads, and track has 16 CPUs. Give 1 to 16"):
        choose(DESKTOP, 17)


@given(st.sampled_from(SHAPES), st.data())
def test_a_task_gets_one_cpu_per_thread_on_its_own_cores(shape: Node, data: st.DataObject) -> None:
    threads = data.draw(st.integers(1, shape.logical))
    free = data.draw(st.sets(st.sampled_from(shape.cores)))
    allotment = choose(shape, threads, free)
    wanted = min(threads, shape.physical)
    assert (allotment is None) == (len(free) < wanted)
    if allotment is not None:
        own = {cpu for core in allotment.cores for cpu in core.cpus}
        assert set(allotment.cores) <= free
        assert len(allotment.cores) == wanted
        assert len(set(allotment.cpus)) == threads
        assert own.issuperset(allotment.cpus)
        assert allotment.sampler_cpu not in own


def test_cores_of_the_numa_node_of_a_tasks_gpu_are_preferred() -> None:
    def near(threads: int, *numa_nodes: int | None, shape: Node = EPYC) -> tuple[int, ...]:
        gpus = [Gpu(0, "L4", f"GPU-{one}", 0, numa_node=one) for one in numa_nodes]
        allotment = choose(shape, threads, None, gpus)
        assert allotment is not None
        return tuple(core.number for core in allotment.cores)

    assert near(2, None) == numbers(EPYC, 2)  # unknown
    far = EPYC.cores[-1].numa_node
    of_far = tuple(core.number for core in EPYC.cores if core.numa_node == far)
    assert near(2, far) == of_far[:2]
    assert near(len(of_far), far) == of_far
    two = node(2, 8, numa=2)
    assert set(near(6, two.cores[-1].numa_node, shape=two)) <= set(range(8, 16))
    last = two.cores[-1].numa_node
    close = [core.number for core in two.cores if core.numa_node == last]
    assert set(close) <= set(near(6, last, shape=two))


A100 = Gpu(0, "NVIDIA A100-SXM4-80GB", "GPU-a", 2**36)
L40S = Gpu(1, "NVIDIA L40S", "GPU-b", 2**35)
OTHER_L40S = Gpu(2, "NVIDIA L40S", "GPU-c", 2**35)
MIXED = node(1, 8, gpus=(A100, L40S, OTHER_L40S))


def test_gpus_are_selected_by_model_in_any_case_or_by_uuid() -> None:
    free = MIXED.cores
    by_model = share(MIXED, ResourceRequest(1, 1, "l40s", exclusive=False), free, MIXED.gpus)
    by_uuid = share(
        MIXED, ResourceRequest(1, 1, gpu_uuids=("GPU-c",), exclusive=False), free, MIXED.gpus
    )
    other = share(MIXED, ResourceRequest(1, 1, "L40S", exclusive=False), free, (A100, OTHER_L40S))
    assert by_model is not None
    assert by_uuid is not None
    assert other is not None
    assert (by_model.gpus, by_uuid.gpus, other.gpus) == ((L40S,), (OTHER_L40S,), (OTHER_L40S,))


def test_a_node_without_such_gpus_never_fits() -> None:
    with pytest.raises(DoesNotFit, match="3 GPUs, and track has 2 such"):
        share(MIXED, ResourceRequest(1, 3, "L40S"), MIXED.cores, MIXED.gpus)


def test_repeats_of_a_task_without_a_model_run_on_one_model_of_a_mixed_node() -> None:
    """The one with most GPUs, so that one GPU and several are of one model, too."""
    any_model = ResourceRequest(1, 1, exclusive=False)
    for free in (MIXED.gpus, (A100, L40S), (A100, OTHER_L40S)):
        part = share(MIXED, any_model, MIXED.cores, free)
        assert part is not None and part.gpus[0].name == "NVIDIA L40S"
    assert share(MIXED, any_model, MIXED.cores, (A100,)) is None  # it waits for one
    with pytest.raises(DoesNotFit, match="3 GPUs, and track has 2 such"):
        share(MIXED, ResourceRequest(1, 3), MIXED.cores, MIXED.gpus)


def test_of_two_models_with_as_many_gpus_the_one_with_more_memory_is_used() -> None:
    two = node(1, 8, gpus=(L40S, A100))
    part = share(two, ResourceRequest(1, 1, exclusive=False), two.cores, two.gpus)
    assert part is not None and part.gpus == (A100,)


def test_mig_partitions_are_assigned_one_at_a_time() -> None:
    parts = tuple(Gpu(0, "NVIDIA H100 MIG 3g.40gb", f"MIG-{n}", 2**35) for n in range(2))
    parted = node(1, 8, gpus=(*parts, A100))
    alone = share(parted, ResourceRequest(1, 1, "H100", exclusive=False), parted.cores, parted.gpus)
    assert alone is not None
    assert alone.gpus == parts[:1]
    with pytest.raises(DoesNotFit, match="2 GPUs, and track has 1 such"):
        share(parted, ResourceRequest(1, 2), parted.cores, parted.gpus)


def test_an_exclusive_task_locks_the_whole_node_and_uses_its_own_part() -> None:
    whole = share(MIXED, ResourceRequest(2, 1, "A100"), MIXED.cores, MIXED.gpus)
    assert whole is not None
    assert (len(whole.allotment.cores), whole.gpus) == (2, (A100,))
    assert (whole.locked_cores, whole.locked_gpus) == (MIXED.cores, MIXED.gpus)
    assert share(MIXED, ResourceRequest(2, 1, "A100"), MIXED.cores[1:], MIXED.gpus) is None
    assert share(MIXED, ResourceRequest(2, 0), MIXED.cores, MIXED.gpus[1:]) is None


def test_a_task_that_shares_locks_only_its_own_part() -> None:
    part = share(MIXED, ResourceRequest(2, exclusive=False), MIXED.cores, ())
    assert part is not None
    assert [core.number for core in part.locked_cores] == [1, 2]
    assert part.locked_gpus == ()


def test_a_gpu_model_matches_whole_words_of_a_name() -> None:
    part = share(MIXED, ResourceRequest(1, 1, "l40s", exclusive=False), MIXED.cores, MIXED.gpus)
    assert part is not None and part.gpus == (L40S,)
    with pytest.raises(DoesNotFit, match="has none such"):
        share(MIXED, ResourceRequest(1, 1, "l4", exclusive=False), MIXED.cores, MIXED.gpus)
