"""The device of torch, its threads and precision, and its clock."""

import torch

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.torch.variants import BY_TRIAL
from velodrome.adapters.protocol import monotonic_ns


def find(device):
    """Return the first visible torch.device of `cpu` or `gpu`. Unsupported if there is none."""
    if device == "cpu":
        return torch.device("cpu")
    if device != "gpu":
        raise Unsupported("the torch adapter has no device {!r}".format(device))
    if not torch.backends.cuda.is_built():
        raise Unsupported("this build of torch, {}, has no CUDA".format(torch.__version__))
    if not torch.cuda.is_available():
        # Builds for ROCm name their GPUs `cuda`, too, and have no version of CUDA.
        hip = getattr(torch.version, "hip", None)
        built = "ROCm {}".format(hip) if hip else "CUDA {}".format(torch.version.cuda)
        raise Unsupported("torch was built for {} and sees no GPU".format(built))
    return torch.device("cuda", 0)


def settle(device, threads, dtype, cudnn_choice=BY_TRIAL):
    """Set the host's threads. On a GPU: TF32 only if it is the dtype; cuDNN's choice."""
    torch.set_num_threads(threads)
    # Set it only once: torch 2.0 ends the process at the second time.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn_choice


class EventStopwatch(object):
    """A stopwatch of the device, by CUDA events; `started_ns` is the host's."""

    def __init__(self):
        self._began = torch.cuda.Event(enable_timing=True)
        self._ended = torch.cuda.Event(enable_timing=True)

    def start(self):
        torch.cuda.synchronize()
        started_ns = monotonic_ns()
        self._began.record()
        return started_ns

    def stop(self):
        self._ended.record()
        self._ended.synchronize()
        return int(self._began.elapsed_time(self._ended) * 1e6)
