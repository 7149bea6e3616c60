"""MXNet's automatic mixed precision: products in bfloat16, the rest in float32."""

from pathlib import Path

from mxnet.contrib import amp

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import layers as kinds

# In float32, too: what MXNet would compute and round in bfloat16 behind a product in it.
ROUNDING = ["BatchNorm", "LRN", "sqrt", "square", "tanh"]
ROUNDING_IF = [("Activation", "act_type", ["tanh", "sigmoid"]), ("Pooling", "pool_type", ["avg"])]
# In none of MXNet's lists.
UNLISTED = [
    "_contrib_interleaved_matmul_selfatt_qk",
    "_contrib_interleaved_matmul_selfatt_valatt",
]
LEFT_OUT = (kinds.Lstm, kinds.Gru, kinds.TransposedConv)
FLAG = "avx512bw"  # what oneDNN needs to compute bfloat16 on a CPU


def turn_on(model):
    """Turn it on in this process, for good. Unsupported if the model or the CPU has no use of it.

    A model with layers that MXNet leaves in float32 would be timed under a wrong name.
    """
    if FLAG not in Path("/proc/cpuinfo").read_text():
        raise Unsupported("MXNet computes bfloat16 on CPUs with {} alone".format(FLAG))
    for layer in model.layers:
        if isinstance(layer, LEFT_OUT):
            text = "MXNet's mixed precision leaves {} in float32"
            raise Unsupported(text.format(type(layer).__name__))
    lists = amp.lists.symbol_bf16
    amp.init(
        "bfloat16",
        fp32_ops=lists.FP32_FUNCS + ROUNDING + UNLISTED,
        conditional_fp32_ops=lists.CONDITIONAL_FP32_FUNCS + ROUNDING_IF,
    )
