import zlib

import numpy
import pytest

from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.layers import Linear
from velodrome.adapters.proof import seeding

LENET, LSTM = MODELS["lenet"], MODELS["lstm"]
SMALL = MODELS["autoencoder-400-200-100/finetune"]


# Of numpy.random.RandomState, whose streams NumPy keeps: seen alike with NumPy 1.19.5 on Python 3.6
# and 3.8, 2.3.5 on 3.13, 2.4 on 3.11 and 2.5.5 on 3.12. Checksums are CRC-32 of the arrays' bytes.
CONV1 = [0.20162427425384521, -0.17565596103668213, -0.07385162264108658]
WEIGHTS = {
    "conv1.weight": 412481009,
    "conv1.bias": 1595462344,
    "conv2.weight": 216845026,
    "conv2.bias": 1471136566,
    "fc1.weight": 1678795742,
    "fc1.bias": 4076145665,
    "fc2.weight": 2355246649,
    "fc2.bias": 1649664648,
}
IMAGE = [0.6069689393043518, 0.5018606781959534, -0.5420246124267578]
IMAGES = [1058945762, 1581248897]
VECTORS = [1203355890, 1581248897]
TOKENS = [4678, 1258, 3754, 339, 8638, 8849]
SEQUENCES = [2606641269, 3385258621, 3658662402]


def _checksum(array: numpy.ndarray) -> int:
    return zlib.crc32(numpy.ascontiguousarray(array).tobytes())


def test_weights_have_the_same_bytes_on_every_numpy() -> None:
    weights = seeding.draw_weights(LENET, 0)
    assert weights["conv1.weight"].ravel()[:3].tolist() == CONV1
    assert {name: _checksum(array) for name, array in weights.items()} == WEIGHTS


def test_batches_have_the_same_bytes_on_every_numpy() -> None:
    images = seeding.draw_batches(LENET, 64, 7)[0]
    vectors = seeding.draw_batches(SMALL, 64, 7)[0]
    sequences = seeding.draw_batches(LSTM, 16, 7)[123]
    assert images.inputs[0, 0, 0, :3].tolist() == IMAGE
    assert sequences.inputs[0, :6].tolist() == TOKENS
    assert [_checksum(images.inputs), _checksum(images.labels)] == IMAGES
    assert [_checksum(vectors.inputs), _checksum(vectors.labels)] == VECTORS
    assert [_checksum(array) for array in sequences] == SEQUENCES


def test_weights_are_float32_in_canonical_shapes() -> None:
    weights = seeding.draw_weights(LSTM, 0)
    for entry in shapes.list_parameters(LSTM):
        assert weights[entry.name].shape == entry.shape
        assert weights[entry.name].dtype == numpy.float32


def test_weights_are_scaled_by_the_root_of_their_fan_in() -> None:
    for entry in shapes.list_parameters(LENET):
        spread = seeding.draw_weights(LENET, 0)[entry.name].std()
        expected = 0.1 if entry.role == "bias" else entry.fan_in**-0.5
        assert spread == pytest.approx(expected, rel=4 / entry.size**0.5)
    assert seeding.draw_weights(LSTM, 0)["embedding.weight"].std() == pytest.approx(0.1, rel=0.01)


def test_no_bias_is_zero() -> None:
    for model in (LENET, LSTM, SMALL):
        for name, array in seeding.draw_weights(model, 0).items():
            assert not name.endswith("bias") or (array != 0).all()


def test_another_seed_draws_other_weights_and_batches() -> None:
    assert not numpy.array_equal(
        seeding.draw_weights(LENET, 0)["fc2.bias"], seeding.draw_weights(LENET, 1)["fc2.bias"]
    )
    first, second = (seeding.draw_batches(LENET, 2, seed)[0] for seed in (0, 1))
    assert not numpy.array_equal(first.inputs, second.inputs)


def test_an_additional_layer_changes_no_other_weights() -> None:
    longer = LENET._replace(layers=(*LENET.layers[:-1], Linear("more", 500), LENET.layers[-1]))
    before, after = seeding.draw_weights(LENET, 3), seeding.draw_weights(longer, 3)
    assert all(numpy.array_equal(before[name], after[name]) for name in before)


def test_a_large_batch_starts_with_the_small_one() -> None:
    small, large = (seeding.draw_batches(LENET, size, 0)[0] for size in (4, 9))
    assert numpy.array_equal(small.inputs, large.inputs[:4])
    assert numpy.array_equal(small.labels, large.labels[:4])


def test_an_array_longer_than_a_chunk_is_one_stream() -> None:
    drawn = seeding.draw_weights(MODELS["gemm-2048"], 0)["product.weight"].ravel()
    whole = seeding.make_stream(0, "weight", "product.weight").standard_normal(drawn.size)
    assert numpy.array_equal(drawn, (whole * 2048**-0.5).astype(numpy.float32))


def test_lstm_has_124_batches_in_order_of_length() -> None:
    batches = seeding.draw_batches(LSTM, 16, 0)
    assert seeding.count_batches(LSTM, 16) == len(batches) == 124
    lengths = numpy.concatenate([batch.lengths for batch in batches])
    assert lengths.tolist() == list(LSTM.input.lengths[: 124 * 16])


def test_sequences_are_padded_on_the_right_to_the_batchs_longest() -> None:
    for batch in seeding.draw_batches(LSTM, 16, 0):
        assert batch.inputs.dtype == batch.lengths.dtype == batch.labels.dtype == numpy.int32
        assert batch.inputs.shape == (16, batch.lengths.max())
        inside = numpy.arange(batch.inputs.shape[1]) < batch.lengths[:, None]
        assert ((batch.inputs > 0) == inside).all()
        assert batch.inputs.max() < 10_000


def test_images_are_normally_and_vectors_uniformly_distributed() -> None:
    images = seeding.draw_batches(LENET, 64, 0)[0].inputs
    assert images.dtype == numpy.float32
    assert images.mean() == pytest.approx(0, abs=0.02)
    assert images.std() == pytest.approx(1, abs=0.02)
    vectors = seeding.draw_batches(SMALL, 64, 0)[0].inputs
    assert 0 <= vectors.min() < 0.01
    assert 0.99 < vectors.max() < 1
    assert vectors.mean() == pytest.approx(0.5, abs=0.01)


def test_labels_cover_all_classes_and_models_without_classes_have_none() -> None:
    assert set(seeding.draw_batches(LENET, 256, 0)[0].labels) == set(range(10))
    assert seeding.draw_batches(MODELS["autoencoder-400-200-100/ae1"], 4, 0)[0].labels is None


def test_another_draw_changes_only_its_own_example() -> None:
    plain = seeding.draw_batches(LENET, 3, 0)[0]
    drawn = seeding.draw_batches(LENET, 3, 0, numpy.array([0, 2, 0, 0, 0, 0]))[0]
    same = [numpy.array_equal(a, b) for a, b in zip(plain.inputs, drawn.inputs, strict=True)]
    assert same == [True, False, True]
    assert numpy.array_equal(drawn.inputs[1], seeding.draw_example(LENET, 0, 1, 2))
    assert numpy.array_equal(plain.labels, drawn.labels)


def test_draws_for_another_number_of_examples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"draws of shape \(2,\) for 6 examples"):
        seeding.draw_batches(LENET, 3, 0, numpy.array([0, 1]))


def test_a_batch_larger_than_the_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="lstm has 1989 examples and a batch of 2000 needs more"):
        seeding.count_batches(LSTM, 2000)
    with pytest.raises(ValueError, match="Give 1 or more"):
        seeding.count_batches(LENET, 0)
