"""JAX where calls are queued, as on a GPU: `synchronize` waits for all of them.

The CPU stands in for a GPU: JAX queues its calls, too, unless it is told not to.
"""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full, pytest.mark.slow]

QUEUED = """
    import json
    import jax
    from velodrome.adapters.frameworks.jax import {module} as module

    def find_cpu(device, dtype):
        jax.config.update("jax_default_matmul_precision", "highest")
        jax.config.update("jax_platforms", "cpu")
        return jax.devices("cpu")[0]

    module.find_device = find_cpu
"""


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("jax", NPROC="2")


@pytest.mark.parametrize("variant", ["jit", "eager"])
def test_every_phase_is_queued_and_waited_for(bench, variant):
    script = (
        QUEUED.format(module="adapter")
        + """
    from velodrome.adapters.models import MODELS
    from velodrome.adapters.proof import seeding

    model = MODELS["autoencoder-800-1000-2000/finetune"]
    adapter = module.Adapter(model, "{variant}", "gpu", 2, "float32")
    weights = seeding.draw_weights(model, 0)
    adapter.build(weights)
    adapter.load(seeding.draw_batches(model, 256, 0))
    adapter.start_training("sgd", weights)
    calls = {{
        "forward": lambda: adapter.forward(0),
        "gradient": lambda: adapter.gradient(1),
        "update": adapter.update,
        "step": lambda: adapter.step(0),
    }}
    adapter.keep_gradients(0)
    found = {{}}
    for name, call in calls.items():
        call()
        adapter.synchronize()
        early = 0
        for _ in range(5):
            results = call() or (adapter._trained, adapter._state)
            early += not all(array.is_ready() for array in jax.tree.leaves(results))
            adapter.synchronize()
            assert all(array.is_ready() for array in jax.tree.leaves(results)), name
        found[name] = early
    print(json.dumps(found))
    """.format(variant=variant)
    )
    queued = bench.run_script(script)
    assert queued["gradient"] == 5, queued


def test_each_reading_moves_a_result_to_the_host_again(bench):
    """JAX keeps what the host has read of an array; a second reading would cost nothing."""
    script = (
        QUEUED.format(module="adapter")
        + """
    import jax.numpy as jnp
    from velodrome.adapters.frameworks.jax.placement import Devices, OneDevice

    cpu = jax.devices("cpu")
    placements = OneDevice(cpu[0], queues=True), Devices(cpu[:1], queues=True)
    result = jnp.ones(4)
    places = [
        read(result).unsafe_buffer_pointer() if hasattr(read(result), "unsafe_buffer_pointer")
        else read(result).ctypes.data
        for placement in placements
        for read in (lambda array: placement.read("it", array), placement.read_own)
    ]
    print(json.dumps([place == result.unsafe_buffer_pointer() for place in places]))
    """
    )
    assert bench.run_script(script) == [False] * 4
