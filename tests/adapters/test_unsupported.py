"""Missing operations and missing devices end as unsupported, and are named."""

import pytest

pytestmark = pytest.mark.framework

LACKING = """
    import json
    import sys
    from importlib import import_module
    from typing import NamedTuple
    from velodrome.adapters.contract import Unsupported
    from velodrome.adapters.models import MODELS

    class Teleport(NamedTuple):
        name: str
        inputs: tuple = ()

    model = MODELS["copy"]._replace(layers=(Teleport("away"),))
    try:
        import_module(sys.argv[1]).Adapter(model, sys.argv[2], "cpu", 1, "float32").build({})
    except Unsupported as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.parametrize(
    ("framework", "variant"), [("torch", "eager"), ("tensorflow", "eager"), ("jax", "jit")]
)
def test_a_layer_that_the_adapter_lacks_is_named(workers_of, framework, variant):
    bench = workers_of(framework)
    output = bench.run_script(LACKING, bench.framework.adapter, variant)
    assert output == f"the {framework} adapter has no Teleport"


@pytest.mark.parametrize(
    ("framework", "lacks"), [("torch", "CUDA"), ("tensorflow", "CUDA"), ("jax", "no GPU")]
)
def test_a_missing_gpu_is_named(workers_of, framework, lacks):
    failed = workers_of(framework).measure("lenet", device="gpu", batch_size=2)[-1]
    assert failed.status == "unsupported"
    assert lacks in failed.reason
