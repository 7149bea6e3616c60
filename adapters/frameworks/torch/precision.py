"""Precisions in torch: TF32 of a GPU, and autocast to bfloat16 and float16."""

import torch
from torch import nn

from velodrome.adapters.contract import LOSS_SCALE, Unsupported

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Flags of torch.backends.cuda.matmul, on by default: products may round parts of a sum.
_ROUNDS_SUMS = {
    "bfloat16": "allow_bf16_reduced_precision_reduction",
    "float16": "allow_fp16_reduced_precision_reduction",
}
_FIRST_WITH = (8, 0)  # NVIDIA's Ampere, the first GPUs whose products are in TF32 and bfloat16


def require_precision(device, dtype):
    """Raise Unsupported if products on the device cannot be in this precision."""
    if device.type == "cpu" and dtype == "tf32":
        raise Unsupported("TF32 is a precision of GPUs; torch has none on a CPU")
    if device.type == "cuda" and dtype in ("tf32", "bfloat16"):
        capability = torch.cuda.get_device_capability(device)
        if capability < _FIRST_WITH:
            text = "a GPU of compute capability {}.{} has no products in {}"
            raise Unsupported(text.format(capability[0], capability[1], dtype))
    if dtype in AUTOCAST and not _casts(device, AUTOCAST[dtype]):
        text = "torch {} has no autocast to {} on this device"
        raise Unsupported(text.format(torch.__version__, dtype))


def require_lstm(device, dtype):
    """Raise Unsupported if an LSTM fails in autocast: oneDNN has none in float16 on many CPUs."""
    if dtype not in AUTOCAST:
        return
    tiny = nn.LSTM(2, 2).to(device)
    try:
        run_in_autocast(tiny, device, dtype)(torch.zeros(1, 1, 2, device=device))
    except RuntimeError as error:
        text = "torch has no LSTM in {} on this device: {}"
        raise Unsupported(text.format(dtype, str(error).split(".")[0])) from error


def run_in_autocast(call, device, dtype):
    """Return the call in autocast to `dtype`; the call itself if there is none.

    Autocast keeps a weight's cast to the end of one call, so that the next one sees a weight that
    was changed in place.
    """
    if dtype not in AUTOCAST:
        return call

    def run(*arguments):
        with torch.autocast(device.type, dtype=AUTOCAST[dtype]):
            return call(*arguments)

    return run


def differentiate(loss, trained, dtype):
    """Return the gradients of the trained parameters. float16 scales the loss, and undoes it."""
    if dtype != "float16":
        return torch.autograd.grad(loss, trained)
    gradients = torch.autograd.grad(loss * LOSS_SCALE, trained)
    torch._foreach_div_(gradients, LOSS_SCALE)  # all at once, as torch's GradScaler does
    return gradients


def accumulate(loss, trained, dtype):
    """Add the gradients to `.grad` of the trained parameters, where hooks see them arrive.

    float16 scales the loss, and undoes it: on gradients that were empty before.
    """
    if dtype != "float16":
        loss.backward()
        return
    (loss * LOSS_SCALE).backward()
    torch._foreach_div_([parameter.grad for parameter in trained], LOSS_SCALE)


def describe(device, dtype):
    """Yield a note of how the precision is run."""
    if dtype in AUTOCAST:
        yield "autocast to {}; parameters and gradients in float32".format(dtype)
    if dtype == "float16":
        yield "the loss is multiplied by {:g}, the gradients are divided by it".format(LOSS_SCALE)
    if device.type == "cuda":
        yield "{} TF32; {}".format("products in" if dtype == "tf32" else "no", _describe_choice())
        if dtype in AUTOCAST and getattr(torch.backends.cuda.matmul, _ROUNDS_SUMS[dtype], False):
            yield "products may round parts of a sum to {}, torch's default".format(dtype)


def _describe_choice():
    """Say how cuDNN chooses the algorithm of a convolution; see variants.CUDNN_CHOICES."""
    if torch.backends.cudnn.benchmark:
        return "cuDNN times its algorithms to choose one"
    among = " among deterministic ones" if torch.backends.cudnn.deterministic else ""
    return "cuDNN chooses an algorithm{} without timing them".format(among)


def _casts(device, dtype):
    """Return True if a product in autocast has this type: older torch warns and casts nothing."""
    one = torch.ones(1, 1, device=device)
    try:
        with torch.autocast(device.type, dtype=dtype):
            return (one @ one).dtype == dtype
    except RuntimeError:
        return False
