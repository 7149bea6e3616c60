"""Models of today in JAX, in every precision, compiled and not."""

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Failed
from velodrome.adapters.tolerances import GRADIENT_TOLERANCE

pytestmark = [pytest.mark.framework, pytest.mark.full, pytest.mark.slow]

TWINS = [name for name in MODELS if name.endswith("-tiny")]

# Prints per layer the types that each product reads and gives, and the other operations of a call.
LISTED = """
    import json, sys
    import jax
    from jax.extend.core import jaxprs_in_params
    from velodrome.adapters.frameworks.jax.adapter import Adapter
    from velodrome.adapters.models import MODELS
    from velodrome.adapters.proof import seeding

    def listed(jaxpr):
        for equation in jaxpr.eqns:
            yield equation
            for inner in jaxprs_in_params(equation.params):
                yield from listed(inner)

    model, dtype = MODELS[sys.argv[1]], sys.argv[2]
    adapter = Adapter(model, "eager", "cpu", 1, dtype)
    adapter.build(seeding.draw_weights(model, 0))
    adapter.load(seeding.draw_batches(model, model.batch_size, 0))
    traced = jax.make_jaxpr(adapter._network.gradient)(
        adapter._trained, adapter._frozen, adapter._rates, adapter._batches[0], adapter._carried
    )
    products, others = [], set()
    for equation in listed(traced.jaxpr):
        name = equation.primitive.name
        is_matrix = all(own.aval.ndim > 1 for own in equation.invars)
        if name in ("dot_general", "conv_general_dilated") and is_matrix:
            products.append([str(own.aval.dtype) for own in equation.invars + equation.outvars])
        else:
            others.add(name)
    print(json.dumps([products, sorted(others)]))
"""


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("jax", NPROC="1")


def test_every_small_twin_agrees_in_every_precision(bench):
    attending = ["float16 " + name for name in TWINS if not name.startswith("resnet")]
    outcomes = bench.verifies_twins("jit,eager", "float32,bfloat16,float16", ",".join(attending))
    for _, error, _ in outcomes["jit"]["bfloat16"].values():
        assert float(error) > GRADIENT_TOLERANCE  # it is not float32 by another name


def test_models_of_the_study_agree_in_a_lower_precision(bench):
    bench.verifies_twins("jit", "bfloat16,float16", models="probe-lstm,probe-gru,probe-gelu")


@pytest.mark.parametrize(
    ("model", "variant", "dtype"),
    [
        ("gpt2-tiny", "jit", "float32"),
        ("resnet50-tiny", "jit", "bfloat16"),
        ("resnet50-tiny", "jit", "float16"),
        ("llama-block-tiny", "eager", "bfloat16"),
    ],
)
def test_a_timed_small_twin_passes_every_check(bench, model, variant, dtype):
    bench.agrees(model, variant=variant, dtype=dtype)


@pytest.mark.parametrize("model", ["resnet50-tiny", "llama-block-tiny"])
def test_no_product_reads_float32_alone_in_a_lower_precision(bench, model):
    products, _ = bench.run_script(LISTED, model, "bfloat16")
    assert products
    # JAX's attention keeps its scores, and so their gradient, in float32.
    assert all("bfloat16" in (left, right) for left, right, _ in products)
    assert any(left == right == given == "bfloat16" for left, right, given in products)


def test_rotary_positions_are_constants_of_a_call(bench):
    _, others = bench.run_script(LISTED, "llama-block-tiny", "float32")
    assert "exp" in others  # of the softmax
    assert not {"sin", "cos", "pow"} & set(others)


def test_a_cpu_has_no_attention_in_float16(bench):
    failed = bench.measure("gpt2-tiny", dtype="float16")[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert failed.reason == "jax.nn.dot_product_attention has no float16 on a CPU"


def test_a_cpu_has_no_tf32(bench):
    failed = bench.measure("gpt2-tiny", dtype="tf32")[-1]
    assert isinstance(failed, Failed)
    assert failed.status == "unsupported"
    assert "'tf32', only float32, bfloat16, float16" in failed.reason
