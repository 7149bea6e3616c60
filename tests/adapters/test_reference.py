from pathlib import Path

import numpy
import pytest
from planted_errors import WORDS

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.layers import (
    Conv,
    Images,
    Linear,
    MaxPool,
    Model,
    Relu,
    SoftmaxCrossEntropy,
)
from velodrome.adapters.proof import (
    batch_results,
    clear_draws,
    reference,
    reference_file,
    seeding,
    tie_distance,
)
from velodrome.adapters.proof.sketch import compute_sketch

LENET, LSTM = MODELS["lenet"], MODELS["lstm"]


@pytest.fixture(scope="module")
def lenet() -> reference.Reference:
    return reference.compute_reference(LENET, 64, 0)


def _ready(model: Model, ref: reference.Reference) -> Adapter:
    adapter = Adapter(model, "float64", "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(model, ref.seed))
    adapter.load(seeding.draw_batches(model, ref.batch_size, ref.seed, ref.draws))
    adapter.set_dropout(False)
    return adapter


def test_a_reference_holds_loss_norms_and_sketches_of_every_trained_parameter(
    lenet: reference.Reference,
) -> None:
    adapter = _ready(LENET, lenet)
    handle = adapter.gradient(0)
    assert lenet.losses == pytest.approx([adapter.loss(adapter.forward(n)) for n in range(2)])
    assert list(lenet.norms) == [entry.name for entry in shapes.list_trained(LENET)]
    for name, gradient in adapter.gradients(handle):
        assert lenet.shapes[name] == gradient.shape
        assert lenet.norms[name][0] == pytest.approx(numpy.linalg.norm(gradient))
        assert lenet.sketches[name][0] == pytest.approx(compute_sketch(name, gradient))


def test_chunks_of_a_batch_add_up_to_the_batch(
    lenet: reference.Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_results, "_CHUNK_BYTES", 3_000_000)  # a few images each
    chunked = reference.compute_reference(LENET, 64, 0)
    assert chunked.losses == pytest.approx(lenet.losses)
    for name in lenet.norms:
        assert chunked.sketches[name] == pytest.approx(lenet.sketches[name])


def test_a_batch_with_batch_norm_is_not_split_into_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = MODELS["probe-batch-norm"]
    whole = reference.compute_reference(model, 8, 0)
    monkeypatch.setattr(batch_results, "_CHUNK_BYTES", 1)
    assert reference.compute_reference(model, 8, 0).losses == whole.losses


def test_the_first_middle_and_last_of_many_batches_are_checked() -> None:
    ref = reference.compute_reference(WORDS, 4, 0)
    assert ref.checked == seeding.choose_checked_batches(WORDS, 4) == (0, 3, 5)
    assert seeding.choose_checked_batches(LSTM, 16) == (0, 62, 123)
    adapter = _ready(WORDS, ref)
    assert ref.losses == pytest.approx([adapter.loss(adapter.forward(n)) for n in range(6)])
    assert ref.draws.shape == (24 + 3 * 4,)
    assert not ref.draws[:24].any() and (ref.draws[24:] == seeding.FIRST_FRESH).all()


def test_all_batches_of_sequences_are_checked_by_their_sum() -> None:
    ref = reference.compute_reference(WORDS, 4, 0)
    adapter = _ready(WORDS, ref)
    total = {name: 0.0 for name in ref.shapes}
    for sign, number in zip(reference.draw_signs(6, 0), range(6), strict=True):
        for name, gradient in adapter.gradients(adapter.gradient(number)):
            total[name] = total[name] + sign * gradient
    for name, added in total.items():
        assert ref.total[name] == pytest.approx(compute_sketch(name, added))
    assert set(numpy.abs(reference.draw_signs(6, 0))) == {1.0}


def test_each_overlapping_batch_has_its_own_reference(
    lenet: reference.Reference,
) -> None:
    adapter = _ready(LENET, lenet)
    fresh = seeding.draw_fresh_batches(LENET, 64, 0, lenet.draws)
    for expected, batches in (
        (lenet, seeding.draw_batches(LENET, 64, 0, lenet.draws)),
        (lenet.fresh, fresh),
    ):
        adapter.load(batches)
        for number in range(2):
            handle = adapter.gradient(number)
            assert expected.losses[number] == pytest.approx(adapter.loss(handle))
            for name, gradient in adapter.gradients(handle):
                assert expected.sketches[name][number] == pytest.approx(
                    compute_sketch(name, gradient)
                )


def test_no_row_holds_the_same_example_in_two_batches() -> None:
    own = seeding.draw_batches(LENET, 16, 0) + seeding.draw_fresh_batches(LENET, 16, 0)
    for row in range(16):
        assert len({batch.inputs[row].tobytes() for batch in own}) == 4
    tokens = [seeding.draw_batches(WORDS, 4, 0), seeding.draw_fresh_batches(WORDS, 4, 0)]
    for number in range(6):
        left, right = (side[number] for side in tokens)
        assert left.inputs.shape == right.inputs.shape
        assert (left.lengths == right.lengths).all()
        is_same = bool((left.inputs == right.inputs).all())
        assert is_same == (number not in seeding.choose_checked_batches(WORDS, 4))


def test_the_loss_with_a_changed_parameter_is_that_of_its_new_values(
    lenet: reference.Reference,
) -> None:
    adapter = _ready(LENET, lenet)
    adapter.load(seeding.draw_fresh_batches(LENET, 64, 0, lenet.draws))
    before = adapter.loss(adapter.forward(0))
    name, values = reference.choose_changed_parameter(LENET, 0)
    assert name == lenet.changed.name == "fc2.bias"
    adapter.set_parameter(name, values)
    assert adapter.loss(adapter.forward(0)) == pytest.approx(lenet.changed.loss)
    assert lenet.changed.loss != pytest.approx(before, rel=1e-4)


def test_a_model_without_a_loss_needs_no_reference() -> None:
    ref = reference.compute_reference(MODELS["copy"], 1, 0)
    assert (ref.losses, ref.norms, ref.checked) == ((), {}, (0, 1))


def _near_ties(model: Model, ref: reference.Reference) -> list[int]:
    network = Network(model, seeding.draw_weights(model, ref.seed), OPERATIONS)
    inputs = seeding.draw_batches(model, ref.batch_size, ref.seed, ref.draws)[0].inputs
    distances = [
        tie_distance.measure_tie_distance(
            network, Batch(inputs[row : row + 1].astype(numpy.float64))
        )
        for row in range(len(inputs))
    ]
    return [row for row, distance in enumerate(distances) if distance < tie_distance.MARGIN]


def test_no_pooling_window_of_an_accepted_lenet_has_a_tied_maximum(
    lenet: reference.Reference,
) -> None:
    network = Network(LENET, seeding.draw_weights(LENET, 0), OPERATIONS)
    inputs = seeding.draw_batches(LENET, 64, 0, lenet.draws)[0].inputs.astype(numpy.float64)
    outputs = network.outputs(Batch(inputs))
    for layer in ("conv1", "conv2"):
        batch, maps, height, width = outputs[layer].shape
        windows = outputs[layer].reshape(batch, maps, height // 2, 2, width // 2, 2)
        ordered = numpy.sort(windows.transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4), axis=1)
        gap = (ordered[:, 3] - ordered[:, 2]).min()
        assert gap > 5e-8 * outputs[layer].std()
    assert lenet.near_ties == 0
    assert _near_ties(LENET, lenet) == []


def test_an_example_with_a_near_tie_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = seeding.draw_example

    def planted(model: Model, seed: int, index: int, attempt: int) -> numpy.ndarray:
        image = drawn(model, seed, index, attempt)
        if (index, attempt) in ((1, 0), (2, 0), (2, 1)):
            image[0, 10:18, 10:18] = 0.5  # a flat patch: all windows on it tie
        return image

    monkeypatch.setattr(seeding, "draw_example", planted)
    ref = reference.compute_reference(LENET, 4, 0)
    assert ref.draws.tolist() == [0, 1, 2, 0, 0, 0, 0]
    assert ref.near_ties == 0
    inputs = seeding.draw_batches(LENET, 4, 0, ref.draws)[0].inputs
    assert numpy.array_equal(inputs[2], drawn(LENET, 0, 2, 2))


def test_an_example_that_always_has_near_ties_is_counted() -> None:
    tied = Model(
        "tied",
        "",
        Images(1, 2, 2),
        (Conv("c", 2, 1), MaxPool("p", 1, 1), Relu("r"), Linear("f", 2)),
        SoftmaxCrossEntropy(),
        2,
        3,
        3,
    )
    weights = {name: 0 * array for name, array in seeding.draw_weights(tied, 0).items()}
    draws, near_ties = clear_draws.find_clear_draws(Network(tied, weights, OPERATIONS), 3, 0)
    assert near_ties == 6
    assert draws.tolist() == [0, 0, 0, 0, 0, 0]


@pytest.mark.full
@pytest.mark.slow
def test_alexnet_needs_few_draws_per_image_and_keeps_no_near_tie() -> None:
    model = MODELS["alexnet"]
    network = Network(model, seeding.draw_weights(model, 0), OPERATIONS)
    draws, near_ties = clear_draws.find_clear_draws(network, 8, 0)
    assert near_ties == 0
    assert 1 < (draws + 1).mean() < 8


@pytest.mark.parametrize(
    ("model", "batch_size"),
    [(LENET, 8), (WORDS, 4), (MODELS["probe-dropout"], 4)],
    ids=["images", "words", "dropout"],
)
def test_a_reference_survives_its_file(tmp_path: Path, model: Model, batch_size: int) -> None:
    path = str(tmp_path / "reference.npz")
    known = reference.compute_reference(model, batch_size, 0)
    reference_file.save_reference(path, known)
    _is_same(reference_file.load_reference(path), known)


def _is_same(found: object, value: object) -> None:
    assert type(found) is type(value)
    if isinstance(value, dict):
        assert list(found) == list(value)
        for key in value:
            _is_same(found[key], value[key])
    elif hasattr(value, "_fields"):
        for name in value._fields:
            _is_same(getattr(found, name), getattr(value, name))
    else:
        assert numpy.array_equal(found, value)


def test_a_reference_without_a_loss_survives_too(tmp_path: Path) -> None:
    ref = reference.compute_reference(MODELS["copy"], 1, 0)
    reference_file.save_reference(str(tmp_path / "copy.npz"), ref)
    assert reference_file.load_reference(str(tmp_path / "copy.npz")).losses == ()


def test_a_reference_file_is_written_atomically(tmp_path: Path, lenet: reference.Reference) -> None:
    path = tmp_path / "lenet.npz"
    reference_file.save_reference(str(path), lenet)
    assert [found.name for found in tmp_path.iterdir()] == ["lenet.npz"]
    with pytest.raises(ValueError, match="no_such_dtype"):
        reference_file.save_reference(str(path), lenet._replace(draws=_Unwritable()))
    assert [found.name for found in tmp_path.iterdir()] == ["lenet.npz"]
    assert reference_file.load_reference(str(path)).losses == lenet.losses


class _Unwritable:
    def __array__(self, *args: object, **more: object) -> numpy.ndarray:
        raise ValueError("no_such_dtype")


def test_an_invalid_reference_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        reference_file.load_reference(str(tmp_path / "missing.npz"))
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(reference_file.UnreadableReference, match=r"half\.npz"):
        reference_file.load_reference(str(tmp_path / "half.npz"))
    numpy.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(reference_file.UnreadableReference, match=r"other\.npz"):
        reference_file.load_reference(str(tmp_path / "other.npz"))


def test_a_reference_is_valid_only_for_its_model_batch_seed_and_dtype(
    lenet: reference.Reference,
) -> None:
    shorter = LENET._replace(layers=LENET.layers[:-1])
    assert reference.is_reference_of(lenet, LENET, 64, 0, "float32")
    assert not reference.is_reference_of(lenet, LENET, 32, 0, "float32")
    assert not reference.is_reference_of(lenet, LENET, 64, 1, "float32")
    assert not reference.is_reference_of(lenet, LENET, 64, 0, "bfloat16")
    assert not reference.is_reference_of(lenet, shorter, 64, 0, "float32")
