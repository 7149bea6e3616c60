import numpy
import pytest

from velodrome.adapters.proof.sketch import BUCKETS, compute_sketch


def _normal(seed: int, *shape: int) -> numpy.ndarray:
    return numpy.random.RandomState(seed).standard_normal(shape)


def test_a_small_array_is_its_own_sketch() -> None:
    values = _normal(0, 10, 102).astype(numpy.float32)
    assert numpy.array_equal(compute_sketch("w", values), values.reshape(-1))


def test_a_large_array_becomes_one_number_per_bucket() -> None:
    assert compute_sketch("w", _normal(0, 300, 50)).shape == (BUCKETS,)


def test_a_sketch_is_linear_so_that_chunks_of_a_batch_add_up() -> None:
    left, right = _normal(1, 3000), _normal(2, 3000)
    assert compute_sketch("w", left + 2 * right) == pytest.approx(
        compute_sketch("w", left) + 2 * compute_sketch("w", right)
    )


def test_each_value_counts_once_with_its_own_sign() -> None:
    unit = numpy.eye(2 * BUCKETS)[[0, 1, BUCKETS, 2 * BUCKETS - 1]]
    found = [compute_sketch("w", row) for row in unit]
    assert [numpy.flatnonzero(row).tolist() for row in found] == [[0], [1], [0], [BUCKETS - 1]]
    assert {abs(row).sum() for row in found} == {1.0}


def test_values_beyond_the_first_chunk_have_signs_of_their_own() -> None:
    chunk = 1024 * BUCKETS
    first, second = numpy.zeros(2 * chunk), numpy.zeros(2 * chunk)
    first[:BUCKETS] = 1
    second[chunk : chunk + BUCKETS] = 1
    assert set(compute_sketch("w", second)) == {-1.0, 1.0}
    assert abs((compute_sketch("w", first) * compute_sketch("w", second)).mean()) < 0.2


def test_norms_are_estimated_within_their_standard_error() -> None:
    # 60 differences of known length: the mean ratio of squares is 1 within 4 standard errors,
    # their spread sqrt(2 / BUCKETS).
    ratios = []
    for number in range(60):
        values = _normal(number, 20_000)
        found = compute_sketch("layer%d.weight" % number, values)
        ratios.append((found @ found) / (values @ values))
    spread = (2 / BUCKETS) ** 0.5
    assert numpy.mean(ratios) == pytest.approx(1, abs=4 * spread / 60**0.5)
    assert numpy.std(ratios) == pytest.approx(spread, rel=0.4)


def test_an_error_in_a_single_column_is_estimated_too() -> None:
    for columns in (512, 1024, 4096):
        values = numpy.zeros((2000, columns))
        values[:, 7] = _normal(columns, 2000)
        ratio = numpy.linalg.norm(compute_sketch("w", values)) / numpy.linalg.norm(values)
        assert ratio == pytest.approx(1, abs=0.12)


def test_signs_depend_on_the_parameters_name() -> None:
    values = _normal(0, 5000)
    assert numpy.array_equal(compute_sketch("a", values), compute_sketch("a", values))
    assert not numpy.array_equal(compute_sketch("a", values), compute_sketch("b", values))
