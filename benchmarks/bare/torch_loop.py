"""LeNet and the LSTM timed by hand in PyTorch: what Velodrome's own figures are held against.

Nothing of Velodrome is in here. Prints one line of JSON, the median ns of one batch:
{"forward_ns": ..., "gradient_ns": ...}.

    python torch_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import argparse
import ctypes
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

EXAMPLES = 1989
QUANTILES = (12, 43, 48, 52, 55, 58, 61, 64, 66, 68, 71, 74, 77, 79, 82, 85, 88, 91, 94, 96, 99)
WARM_UP_S = 1.0


def keep_freed_memory():
    """glibc gives freed memory back and faults it in again: a gradient of LeNet costs up to 2000

    faults (a tenth of its time) in one process and none in the next, as allocations happen to lie.
    A worker has none once it has verified.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    c_library = ctypes.CDLL(None)
    if hasattr(c_library, "mallopt"):
        c_library.mallopt(trim_threshold, 2**30)
        c_library.mallopt(mmap_threshold, 2**25)


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


class Sentiment(nn.Module):
    """(tokens (time, batch), lengths (batch,)) to logits (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10000, 128)
        self.lstm = nn.LSTM(128, 128)
        self.lstm.bias_hh_l0.requires_grad_(requires_grad=False)  # one bias, as in other frameworks
        nn.init.zeros_(self.lstm.bias_hh_l0)
        self.classifier = nn.Linear(128, 2)

    def forward(self, tokens, lengths):
        h, _ = self.lstm(self.embedding(tokens))
        within = torch.arange(h.shape[0])[:, None] < lengths
        return self.classifier((h * within[:, :, None]).sum(0) / lengths[:, None])


def images(batch_size):
    """One batch of ((images,), labels)."""
    return [((torch.randn(batch_size, 1, 28, 28),), torch.randint(10, (batch_size,)))]


def sentences(batch_size):
    """All batches of ((tokens, lengths), labels), by ascending length, 0 behind a sentence."""
    at = torch.linspace(0, len(QUANTILES) - 1, EXAMPLES, dtype=torch.float64)
    low = at.long().clamp(max=len(QUANTILES) - 2)
    quantiles = torch.tensor(QUANTILES, dtype=torch.float64)
    values = quantiles[low] + (at - low) * (quantiles[low + 1] - quantiles[low])
    batches = []
    for lengths in (values + 0.5).long().split(batch_size):
        if len(lengths) == batch_size:
            time_steps = int(lengths.max())
            tokens = torch.randint(1, 10000, (time_steps, batch_size))
            tokens[torch.arange(time_steps)[:, None] >= lengths] = 0
            batches.append(((tokens, lengths), torch.randint(2, (batch_size,))))
    return batches


def forward_pass(model, batches):
    with torch.no_grad():
        for inputs, labels in batches:
            functional.cross_entropy(model(*inputs), labels)


def gradient_pass(model, batches):
    parameters = [value for value in model.parameters() if value.requires_grad]
    for inputs, labels in batches:
        loss = functional.cross_entropy(model(*inputs), labels)
        torch.autograd.grad(loss, parameters)


def sample_ns(one_pass, model, batches):
    started = time.perf_counter_ns()
    one_pass(model, batches)
    return time.perf_counter_ns() - started


def median_ns(one_pass, model, batches, options):
    """Of one batch, after a warm-up."""
    ends = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < ends:
        one_pass(model, batches)
    samples, ends = [], time.perf_counter() + options.seconds
    while len(samples) < options.samples or time.perf_counter() < ends:
        samples.append(sample_ns(one_pass, model, batches))
    return statistics.median(samples) / len(batches)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=("lenet", "lstm"))
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--samples", type=int, default=10, help="the fewest to take")
    parser.add_argument("--seconds", type=float, default=4.0, help="to sample for, per phase")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    if options.model == "lenet":
        model, batches = lenet(), images(options.batch_size)
    else:
        model, batches = Sentiment(), sentences(options.batch_size)
    found = {
        "forward_ns": median_ns(forward_pass, model, batches, options),
        "gradient_ns": median_ns(gradient_pass, model, batches, options),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
