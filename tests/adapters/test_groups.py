"""One model on several processes: the same proof, each rank's result, and one fate."""

import os
import time
from itertools import pairwise

import psutil
import pytest

from velodrome.adapters.protocol import (
    COMPUTED_PHASES,
    Failed,
    Finished,
    FirstCall,
    Sampled,
    Timed,
    Verified,
)
from velodrome.adapters.registry import FRAMEWORKS

pytestmark = pytest.mark.slow

GROUP = {"adapter": "numpy_group", "devices": 2}
MARK, OWN = "TESTED_BY", str(os.getpid())  # in the environment of this file's processes


@pytest.fixture
def bench(workers_of):
    return workers_of("numpy", **{MARK: OWN})


@pytest.fixture
def planted(workers_of):
    return lambda fault: workers_of("numpy", GROUP_FAULT=fault, **{MARK: OWN})


def run_to_failure(bench, model="lenet", **changes):
    began = time.monotonic()
    failed = bench.measure(model, **{**GROUP, "batch_size": 8, **changes})[-1]
    assert isinstance(failed, Failed), failed
    return failed, time.monotonic() - began


def find_followers():
    """Find the followers that this file's tests have left."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, variables = process.info["cmdline"] or (), process.info["environ"] or {}
        if "velodrome.adapters.groups.follower" in words and variables.get(MARK) == OWN:
            found.append(process)
    return found


@pytest.mark.parametrize(
    ("model", "devices"), [("lenet", 2), ("lenet", 4), ("gpt2-tiny", 2), ("resnet50-tiny", 2)]
)
def test_a_group_agrees_with_the_reference_of_the_whole_batch(bench, model, devices):
    verified = bench.agrees(model, batch_size=8, **{**GROUP, "devices": devices})
    assert verified.gradient_error < 1e-12


def test_every_phase_of_a_group_passes_every_check(bench):
    events = bench.measure("bert-base-tiny", phases=COMPUTED_PHASES, **GROUP)
    assert isinstance(events[-1], Finished), events[-1]
    assert {each.phase for each in events if isinstance(each, Timed)} == set(COMPUTED_PHASES)


def test_a_sample_ends_with_the_slowest_rank(planted):
    events = planted("sleeps").measure("lenet", batch_size=8, **GROUP)
    assert isinstance(events[-1], Finished), events[-1]
    timed = {each.phase: each.median_ns for each in events if isinstance(each, Timed)}
    assert timed["gradient"] > 50e6


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("left out", "gradients are off"),
        ("not divided", "gradients are off"),
        ("bfloat16", "gradients are off"),
        ("not shared", "on rank 1 of 2 differs from that on rank 0"),
    ],
)
def test_a_faulty_reduction_disagrees(planted, fault, reason):
    failed, _ = run_to_failure(planted(fault))
    assert failed.status == "disagreed"
    assert reason in failed.reason


def test_a_shard_that_is_never_loaded_again_is_found_by_an_unseen_batch(planted):
    found = planted("stale shard").cheats("lenet", "not_seen_before", batch_size=8, **GROUP)
    assert "loss is off" in found.reason


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "rank 1 of 2: ValueError: planted"),
        ("exits", "rank 1 of 2 exited with status 7"),
        ("killed", "rank 1 of 2 was killed by signal 9"),
        ("stopped", "rank 1 of 2 was stopped by a signal"),
    ],
)
def test_a_rank_that_fails_ends_the_group_with_its_reason(planted, fault, reason):
    failed, took_s = run_to_failure(planted(fault))
    assert failed.status == "crashed"
    assert reason in failed.reason
    assert took_s < 60
    assert not find_followers()


def test_a_finished_group_leaves_no_process(bench):
    bench.measure("lenet", batch_size=8, **GROUP)
    assert not find_followers()


def test_samples_do_not_overlap(bench):
    events = bench.measure("lenet", batch_size=8, **GROUP)
    for phase in ("forward", "gradient"):
        chunks = [each for each in events if isinstance(each, Sampled) and each.phase == phase]
        spans = [
            (start, start + length)
            for chunk in chunks
            for start, length in zip(chunk.started_ns, chunk.elapsed_ns, strict=True)
        ]
        assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch_size": 7}, "2 devices cannot share a batch of 7 examples equally"),
        ({"adapter": FRAMEWORKS["numpy"].adapter}, "it has no form for several"),
        ({"phases": ("load",)}, "several devices do not share a data set"),
    ],
)
def test_what_a_group_cannot_do_is_unsupported(bench, changes, reason):
    failed, _ = run_to_failure(bench, **changes)
    assert failed.status == "unsupported"
    assert reason in failed.reason


def test_a_group_is_verified_before_it_is_timed(bench):
    events = bench.measure("lenet", batch_size=8, **GROUP)
    kinds = [type(each) for each in events]
    assert kinds.index(FirstCall) < kinds.index(Verified) < kinds.index(Timed)
