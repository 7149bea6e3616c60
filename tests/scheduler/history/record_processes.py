"""A program that records processes.csv: CPU times of some models, each in a fresh process.

In a shell, with an interpreter that has PyTorch and NumPy:

    for i in $(seq 14); do OMP_NUM_THREADS=1 python record_processes.py; done

Each run prints a line per cell: framework,model,forward_ns,gradient_ns.
"""

import statistics
import time

import numpy
import torch

SAMPLES = 15


def median_ns(call) -> float:
    """Measure the CPU time of a call, which other processes on the machine hardly affect."""
    for _ in range(2):
        call()
    found = []
    for _ in range(SAMPLES):
        started = time.process_time_ns()
        for _ in range(3):
            call()
        found.append((time.process_time_ns() - started) / 3)
    return statistics.median(found)


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = torch.nn.LSTM(128, 128, batch_first=True), torch.nn.Linear(128, 2)

    def forward(self, batch):
        return self.out(self.layer(batch)[0].mean(1))


def in_torch(name: str, model: torch.nn.Module, batch: torch.Tensor) -> None:
    def forward() -> None:
        with torch.no_grad():
            model(batch).square().mean()

    def gradient() -> None:
        model.zero_grad()
        model(batch).square().mean().backward()

    print(f"torch,{name},{median_ns(forward):.0f},{median_ns(gradient):.0f}")


def in_numpy() -> None:
    draw = numpy.random.default_rng(0).standard_normal
    first, second, batch = draw((784, 400)), draw((400, 784)), draw((16, 784))

    def forward():
        hidden = 1 / (1 + numpy.exp(-batch @ first))
        return hidden, hidden @ second

    def gradient():
        hidden, out = forward()
        back = 2 * (out - batch) / out.size
        return batch.T @ (back @ second.T * hidden * (1 - hidden)), hidden.T @ back

    print(f"numpy,autoencoder,{median_ns(forward):.0f},{median_ns(gradient):.0f}")


if __name__ == "__main__":
    from torch.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Sigmoid

    torch.set_num_threads(1)
    ends = (Flatten(), Linear(800, 500), ReLU(), Linear(500, 10))
    lenet = Sequential(Conv2d(1, 20, 5), MaxPool2d(2), Conv2d(20, 50, 5), MaxPool2d(2), *ends)
    in_torch("lenet", lenet, torch.randn(8, 1, 28, 28))
    in_torch("lstm", Recurrent(), torch.randn(4, 40, 128))
    coder = Sequential(Linear(784, 400), Sigmoid(), Linear(400, 784))
    in_torch("autoencoder", coder, torch.randn(16, 784))
    in_numpy()
