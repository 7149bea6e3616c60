"""Data sets on disk: what a record holds, and files that are kept within a bound."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from small_models import IMAGE, PER_STEP, STATES, TOKENS, VECTOR, WORDS, ZERO, model_of

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.datasets import files, records
from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Images
from velodrome.adapters.protocol import LOADING_PHASES

PICTURES = model_of(IMAGE, kinds.Linear("out", 3))
ROWS = model_of(VECTOR, kinds.Linear("out", 6), loss=ZERO)._replace(classes=0)
SERIES = model_of(STATES, kinds.Gru("states", 4), kinds.MeanOverTime("mean"))
TEXT = model_of(TOKENS, kinds.Embedding("words", 7, 4), kinds.StepLinear("out", 3), loss=PER_STEP)
MODELS_OF = pytest.mark.parametrize("model", [PICTURES, ROWS, SERIES, TEXT], ids=lambda m: m.loss)


def hold(model, folder, **changes):
    settings = {"batch_size": 3, "seed": 5, "purpose": records.TIMED, "batches": 4, **changes}
    return files.hold_dataset(model, folder=str(folder), **settings)


def read(held, number):
    file = held.file
    start = file.header_bytes + number * file.record_bytes
    record = os.pread(held.descriptor, file.record_bytes, start)
    return records.decode_record(record, file.layout)


@MODELS_OF
def test_a_record_holds_the_example_that_the_seed_gives(model, tmp_path):
    held = hold(model, tmp_path)
    for number in range(held.file.records):
        wanted, found = records.draw_example(model, 5, records.TIMED, number), read(held, number)
        assert found.values.dtype == wanted.values.dtype
        assert (found.values == wanted.values).all()
        if wanted.labels is None:
            assert found.labels is None
        else:
            assert (found.labels == wanted.labels).all()


@MODELS_OF
def test_a_batch_has_the_shapes_of_those_that_are_timed_without_a_loader(model):
    batch = records.draw_batch(model, 3, 5, records.TIMED, 1)
    assert batch.inputs.shape == (3, *shapes.compute_input_shape(model))
    assert batch.inputs.dtype == ("int32" if model is TEXT else "float32")
    assert batch.inputs.std() > 0
    if model.classes:
        assert batch.labels.shape == ((3, 5) if model is TEXT else (3,))
        assert batch.labels.dtype == "int32"
        assert 0 <= batch.labels.min() <= batch.labels.max() < model.classes


def test_pixels_become_values_about_zero_without_rounding():
    pixels = numpy.arange(256, dtype=numpy.uint8).reshape(1, 16, 16, 1)
    values = records.decode_pixels(pixels)
    assert values.shape == (1, 1, 16, 16)
    assert (values.astype(numpy.float64).reshape(-1) == (numpy.arange(256) - 128) / 32).all()


def test_an_image_is_compressed_to_about_half_as_a_photograph_in_a_png_file_is():
    model = MODELS["resnet50"]
    example = records.draw_example(model, 0, records.TIMED, 0)
    size = len(records.encode_example(example, records.find_layout(model)))
    assert 0.45 < size / example.values.size < 0.65


def test_another_seed_or_purpose_gives_another_file_with_other_values(tmp_path):
    held = [hold(PICTURES, tmp_path), hold(PICTURES, tmp_path, seed=6)]
    held += [hold(PICTURES, tmp_path, purpose=purpose) for purpose in records.FRESH]
    assert len({one.file.path for one in held}) == len(held)
    values = [read(one, 0).values for one in held]
    assert not any((values[0] == other).all() for other in values[1:])


def test_a_data_set_is_written_once_and_used_again(tmp_path):
    first, second = (Path(hold(PICTURES, tmp_path).file.path).stat() for _ in range(2))
    assert first.st_ino == second.st_ino
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_was_cut_short_is_written_again(tmp_path):
    held = hold(PICTURES, tmp_path)
    size = Path(held.file.path).stat().st_size
    os.truncate(held.file.path, size - 1)
    again = hold(PICTURES, tmp_path)
    assert Path(again.file.path).stat().st_size == size
    assert (read(again, 0).values == records.draw_example(PICTURES, 5, "timed", 0).values).all()


def test_the_files_used_longest_ago_are_removed_and_none_that_is_in_use(tmp_path):
    held = [hold(PICTURES, tmp_path, seed=seed) for seed in range(4)]
    for age, one in zip((400, 300, 200, 100), held, strict=True):
        os.utime(one.file.path, (10**9 - age, 10**9 - age))
    files.release_dataset(held[1])
    files.release_dataset(held[2])
    sizes = [one.size_bytes for one in held]
    files.make_room(str(tmp_path), sizes[0], bound=sum(sizes))
    left = {one.file.path: Path(one.file.path).exists() for one in held}
    assert list(left.values()) == [True, False, True, True]


def test_a_file_that_a_killed_process_left_unfinished_is_removed(tmp_path):
    left = tmp_path / f"a.records.1{files.PARTIAL}"
    left.write_bytes(b"half")
    os.utime(left, (10**9, 10**9))
    hold(PICTURES, tmp_path)
    assert not left.exists()


@pytest.mark.slow
def test_two_processes_that_need_a_data_set_at_once_both_get_a_whole_one(tmp_path):
    code = (
        "import sys; from velodrome.adapters.datasets import files;"
        "from velodrome.adapters.models import MODELS;"
        "held = files.hold_dataset(MODELS['lenet'], 16, 0, sys.argv[1], 'timed', 8);"
        "print(held.size_bytes, held.file.path)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {one.communicate()[0] for one in running}
    assert [one.returncode for one in running] == [0, 0, 0]
    (line,) = printed
    size, path = line.split()
    assert Path(path).stat().st_size == int(size)
    assert list(tmp_path.iterdir()) == [Path(path)]


def test_a_data_set_holds_a_few_large_batches_or_many_small_ones():
    large = model_of(Images(3, 512, 512), kinds.Linear("out", 3))
    assert files.count_batches(large, 16) == files.LEAST_BATCHES
    assert files.count_batches(PICTURES, 4) == files.MOST_BATCHES
    with pytest.raises(Unsupported, match="Give a smaller batch"):
        files.count_batches(large, 512)


def test_padded_sequences_have_no_phases_that_load():
    padded = model_of(WORDS, kinds.Embedding("words", 7, 4), kinds.MeanOverTime("mean"))
    wanted = ("gradient", *LOADING_PHASES)
    assert shapes.list_timed_phases(padded, wanted) == ("gradient",)
    assert shapes.list_timed_phases(PICTURES, wanted) == wanted
