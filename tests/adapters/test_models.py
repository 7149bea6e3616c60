import pytest

from velodrome.adapters.models import MODELS, list_families, products, shapes
from velodrome.adapters.models.layers import (
    Add,
    Conv,
    Embedding,
    Images,
    Linear,
    Loop,
    Lstm,
    MaxPool,
    MeanOverTime,
    Model,
    Sequences,
    SoftmaxCrossEntropy,
    Vectors,
)
from velodrome.adapters.models.lstm import QUANTILES
from velodrome.adapters.models.probes import PROBED
from velodrome.adapters.proof.seeding import count_batches


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lenet", 431_080),
        ("autoencoder-400-200-100/finetune", 415_310),
        ("autoencoder-800-1000-2000/finetune", 3_451_010),
        ("lstm", 1_411_842),
        ("gemm", 4096**2),
        ("copy", 0),
        ("resnet50", 25_557_032),  # torchvision's resnet50, as vit_b_16 in the next line
        ("vit-b16", 86_567_656),
        # bert-base-uncased of 109,482,240, without two segments of 768, with a classifier of 2.
        ("bert-base", 109_482_240 - 2 * 768 + 2 * 768 + 2),
        ("gpt2-128", 124_439_808),
        ("gpt2-1024", 124_439_808),
        ("llama-block-128", 218_112_000),  # of 32 in Llama 3 8B
        ("llama-block-4096", 218_112_000),
    ],
)
def test_models_have_the_published_number_of_parameters(name: str, count: int) -> None:
    assert shapes.count_parameters(MODELS[name]) == count


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("lenet", 0.431080e6, 2.29e6),
        ("alexnet", 60.97e6, 0.72e9),
        ("alexnet-plain", 62.38e6, 1.13e9),
        ("resnet50", 25.557e6, 4.09e9),
        ("vit-b16", 86.57e6, 17.56e9),
    ],
)
def test_image_models_have_the_published_size(name: str, parameters: float, macs: float) -> None:
    assert shapes.count_parameters(MODELS[name]) == pytest.approx(parameters, rel=1e-3)
    assert products.count_forward_macs(MODELS[name]) == pytest.approx(macs, rel=7e-3)


def test_alexnets_windows_divide_their_inputs_evenly() -> None:
    for name in ("alexnet", "alexnet-plain"):
        found, reads = shapes.compute_output_shapes(MODELS[name]), shapes.list_inputs(MODELS[name])
        for layer in MODELS[name].layers:
            if isinstance(layer, Conv | MaxPool):
                size = layer.kernel if isinstance(layer, Conv) else layer.size
                padding = layer.padding if isinstance(layer, Conv) else 0
                height = found[reads[layer.name][0]][1]
                assert (height + 2 * padding - size) % layer.stride == 0


def test_lstm_lengths_ascend_from_12_to_99_by_the_studys_quantiles() -> None:
    lengths = MODELS["lstm"].input.lengths
    assert len(lengths) == 1989
    assert lengths[0] == 12
    assert lengths[-1] == 99
    assert list(lengths) == sorted(lengths)
    assert lengths[994] == QUANTILES[10]
    # The study's own mean is 70.9: straight lines between its quantiles lose half a word.
    assert sum(lengths) / len(lengths) == pytest.approx(70.4, abs=0.05)


def test_an_autoencoder_trains_only_its_own_four_parameters() -> None:
    for family, members in list_families().items():
        assert [name.split("/")[1] for name in members] == ["ae1", "ae2", "ae3", "finetune"]
        for number in (1, 2, 3):
            trained = [entry.name for entry in shapes.list_trained(MODELS[f"{family}/ae{number}"])]
            assert trained == [
                f"encoder{number}.weight",
                f"encoder{number}.bias",
                f"decoder{number}.weight",
                f"decoder{number}.bias",
            ]


def test_nothing_needs_a_gradient_before_the_first_trained_layer() -> None:
    needed = shapes.find_gradient_flow(MODELS["autoencoder-400-200-100/ae3"])
    assert not any(needed[name] for name in ("input", "encoder1", "code1", "encoder2", "code2"))
    assert needed["encoder3"]


def test_lenet_forward_is_two_flops_per_multiply_add() -> None:
    assert products.count_forward_flops(MODELS["lenet"], 64) == 2 * 64 * 2_293_000


def test_lenet_gradient_is_three_forwards_but_for_the_images_gradient() -> None:
    conv1 = 20 * 25 * 24 * 24
    assert products.count_gradient_flops(MODELS["lenet"], 64) == 2 * 64 * (3 * 2_293_000 - conv1)


def test_a_frozen_encoder_costs_only_its_forward_pass() -> None:
    model = MODELS["autoencoder-400-200-100/ae2"]
    frozen, encoder, decoder = 784 * 400, 400 * 200, 200 * 400
    assert products.count_gradient_flops(model, 1) == 2 * (frozen + 2 * encoder + 3 * decoder)


def test_gemm_gradient_is_two_products() -> None:
    assert products.count_gradient_flops(MODELS["gemm"], 4096) == 2 * 2 * 4096**3


def _sequences(*lengths: int) -> Model:
    return Model(
        "sequences",
        "",
        Sequences(11, lengths),
        (Embedding("e", 11, 3), Lstm("l", 4), MeanOverTime("m"), Linear("c", 2)),
        SoftmaxCrossEntropy(),
        2,
        2,
        2,
    )


def test_layers_after_the_mean_over_time_are_counted_once_per_sequence() -> None:
    per_token, per_sequence = 4 * 4 * (3 + 4), 4 * 2
    model = _sequences(2, 4)
    assert products.count_forward_macs(model) == per_token
    assert products.count_forward_flops(model, 2) == 2 * (6 * per_token + 2 * per_sequence)
    assert products.count_gradient_flops(model, 2) == 3 * products.count_forward_flops(model, 2)


def test_sequences_of_an_incomplete_batch_are_not_counted() -> None:
    assert products.count_forward_flops(_sequences(2, 4, 100), 2) == products.count_forward_flops(
        _sequences(2, 4), 2
    )


@pytest.mark.parametrize(
    ("name", "forward", "back"),
    [
        # What stands before, the operation, the classifier.
        ("transposed-conv", 3 * 8 * 25 + 8 * 25 * 6 * 9 + 5 * 6 * 81, 3 * 8 * 25),
        ("dilated-conv", 3 * 8 * 81 + 8 * 81 * 6 * 9 + 5 * 6 * 81, 3 * 8 * 81),
        ("loop", 16 * 12 + 5 * 12**2 + 12 * 5, 16 * 12),
    ],
)
def test_a_probes_matrix_products_are_counted(name: str, forward: int, back: int) -> None:
    model = MODELS["probe-" + name]
    assert products.count_forward_macs(model) == forward
    assert products.count_gradient_flops(model, 1) == 2 * (3 * forward - back)


def test_a_gru_counts_three_gates_and_attention_four_products_per_word() -> None:
    assert products.count_forward_macs(MODELS["probe-gru"]) == 3 * 8 * (8 + 8)
    assert products.count_forward_macs(MODELS["probe-attention"]) == 4 * 8**2 + 2 * 12 * 8


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        # The layer before, the operation, the classifier; per token, or per vector or image.
        ("step-linear", 8 * 8 + 8 * 12 + 12 * 5),
        ("layer-norm", 8 * 8 + 8 * 5),
        ("rms-norm", 8 * 8 + 8 * 5),
        ("positions", 8 * 8 + 8 * 5),
        # Queries, keys, values and output; of six tokens each sees itself and those before.
        ("causal-attention", 8 * 8 + 4 * 8**2 + 7 * 8 + 8 * 5),
        # Two heads of four values share one head of keys and values.
        ("rotary-attention", 8 * 8 + 2 * 8**2 + 2 * 8 * 4 + 7 * 8 + 8 * 5),
        ("tied-linear", 8 * 8 + 50 * 8),
        # Nine patches and one learned step attend to each other.
        ("class-token", 8 * 27 * 9 + 10 * (4 * 8**2 + 2 * 10 * 8) + 8 * 5),
        ("gelu", 16 * 12 + 12 * 5),
        ("silu", 16 * 12 + 12 * 5),
        ("gated", 16 * 12 + 12 * 5),
        ("image-mean", 3 * 8 * 81 + 8 * 5),
    ],
)
def test_each_kind_of_todays_models_counts_its_products(name: str, macs: int) -> None:
    assert products.count_forward_macs(MODELS["probe-" + name]) == macs


def test_gpt2_counts_its_blocks_its_causal_attention_and_the_tied_words_per_token() -> None:
    blocks = 12 * 12 * 768**2
    for length in (128, 1024):
        attention = 12 * (length + 1) * 768
        counted = products.count_forward_macs(MODELS[f"gpt2-{length}"])
        assert counted == blocks + attention + 50257 * 768


def test_a_tied_weight_is_one_parameter_and_two_products_in_the_backward_pass() -> None:
    model = MODELS["probe-tied-linear"]
    assert shapes.count_parameters(model) == 50 * 8 + 8 * 8 + 8
    forward = products.count_forward_flops(model, 2)
    assert forward == 2 * 2 * 6 * (8 * 8 + 50 * 8)
    assert products.count_gradient_flops(model, 2) == 3 * forward


def test_states_that_are_not_trained_get_no_gradient() -> None:
    model = MODELS["probe-step-linear"]
    before, rest = 8 * 8, 8 * 12 + 12 * 5
    assert products.count_gradient_flops(model, 1) == 2 * 6 * (2 * before + 3 * rest)


@pytest.mark.parametrize(
    ("name", "batch_size", "units"),
    [
        ("lenet", 64, ("image", 64, None)),
        ("vit-b16", 2, ("image", 2, None)),
        ("gemm", 4096, ("vector", 4096, None)),
        ("gpt2-128", 1, ("token", 1, 128.0)),
        ("llama-block-tiny", 2, ("token", 2, 24.0)),
    ],
)
def test_the_unit_of_work_follows_from_the_input(
    name: str, batch_size: int, units: tuple[object, ...]
) -> None:
    assert products.count_units(MODELS[name], batch_size) == units


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_default_batches_of_every_model_can_be_filled_twice(device: str) -> None:
    few = [
        name
        for name, model in MODELS.items()
        if count_batches(model, model.default_batch_size(device)) < 2
    ]
    assert few == []


def test_padding_counts_as_no_token() -> None:
    assert products.count_units(_sequences(2, 4), 2) == ("token", 2, 6.0)
    assert products.count_units(_sequences(2, 4, 100), 2) == ("token", 2, 6.0)


def test_a_loops_gradient_flows_through_its_state_even_if_none_goes_further_back() -> None:
    model = _images(Loop("loop", 3))._replace(input=Vectors(4, "normal"))
    assert products.count_gradient_flops(model, 1) == 2 * 16 * (3 + 3 + 2)


def test_probes_are_listed_after_all_other_models() -> None:
    names = list(MODELS)
    first = names.index(next(iter(PROBED)))
    assert names[first:] == list(PROBED)
    assert all(name.startswith("probe-") for name in PROBED)


@pytest.mark.parametrize(
    ("name", "has"), [("alexnet", True), ("alexnet-plain", False), ("probe-depthwise-conv", False)]
)
def test_one_kernel_per_channel_does_not_count_as_groups(name: str, has: bool) -> None:  # noqa: FBT001
    assert shapes.has_groups(MODELS[name]) == has


def test_copy_counts_bytes_read_and_written() -> None:
    assert products.count_copied_bytes(MODELS["copy"], 1) == 2 * 256 * 2**20
    assert products.count_copied_bytes(MODELS["lenet"], 64) == 0


def _images(*layers: object) -> Model:
    return Model("images", "", Images(1, 4, 4), layers, SoftmaxCrossEntropy(), 2, 1, 1)


def test_a_window_larger_than_its_image_is_refused_by_the_layers_name() -> None:
    with pytest.raises(ValueError, match="layer pool: a window of 5 over 4 values"):
        shapes.compute_output_shapes(_images(MaxPool("pool", 5, 1)))


def test_a_layer_with_a_missing_input_is_refused() -> None:
    with pytest.raises(ValueError, match="layer fc reads nowhere"):
        shapes.compute_output_shapes(_images(Linear("fc", 2, inputs=("nowhere",))))


def test_tensors_of_different_shapes_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="layer sum adds unlike shapes"):
        shapes.compute_output_shapes(_images(Linear("fc", 2), Add("sum", inputs=("fc", "input"))))
