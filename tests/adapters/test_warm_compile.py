"""A shape is first seen before anything is timed."""

import contextlib

import numpy
import pytest

from velodrome.adapters.frameworks.warm_compile import WarmCompiledFunction


def batch(length):
    return {"inputs": numpy.zeros((length, 2)), "labels": numpy.zeros(2)}


def test_the_first_call_runs_every_shape_once_and_its_own_batch_last():
    seen = []
    call = WarmCompiledFunction(
        lambda own: seen.append(len(own["inputs"])), [batch(length) for length in (3, 5, 3, 8)]
    )
    call(batch(5))
    assert sorted(seen) == [3, 5, 8]
    assert seen[-1] == 5


def test_later_calls_run_only_their_own_batch():
    seen = []
    call = WarmCompiledFunction(lambda own: seen.append(len(own["inputs"])), [batch(3), batch(5)])
    call(batch(3))
    del seen[:]
    call(batch(5))
    call(batch(3))
    assert seen == [5, 3]


def test_runs_on_other_shapes_happen_within_the_rehearsal_and_the_own_one_behind_it():
    seen, rehearsed = [], []

    @contextlib.contextmanager
    def rehearsal():
        yield
        rehearsed.extend(seen)
        del seen[:]

    batches = [batch(length) for length in (3, 5, 8)]
    call = WarmCompiledFunction(lambda own: seen.append(len(own["inputs"])), batches, rehearsal)
    call(batch(5))
    assert (sorted(rehearsed), seen) == ([3, 8], [5])


def test_a_single_shape_needs_no_rehearsal():
    call = WarmCompiledFunction(lambda own: len(own["inputs"]), [batch(3)], rehearsal=pytest.fail)
    assert call(batch(3)) == 3
