"""LeNet, an auto-encoder's fine-tuning, an LSTM, GPT-2 and ResNet-50 in PyTorch, in eager mode.

python torch_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import torch
from drawing import digits, photographs, pixels, sentences, texts
from loop import Calls, main
from torch import nn
from torch.nn import functional
from torch_networks import Gpt2, resnet50


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


def autoencoder():
    return nn.Sequential(
        nn.Linear(784, 400),
        nn.Sigmoid(),
        nn.Linear(400, 200),
        nn.Sigmoid(),
        nn.Linear(200, 100),
        nn.Sigmoid(),
        nn.Linear(100, 10),
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


def tensors(*arrays):
    """(inputs, labels); whole numbers of 64 bit, as PyTorch's own indices are."""
    *inputs, labels = (
        torch.tensor(own if own.dtype.kind == "f" else own.astype("int64")) for own in arrays
    )
    return inputs, labels


def cross_entropy(logits, labels):
    """Return the mean over the batch, or over all steps."""
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten())


MODELS = {
    "lenet": lambda size: (lenet(), [tensors(*digits(size))]),
    "autoencoder-400-200-100/finetune": lambda size: (autoencoder(), [tensors(*pixels(size))]),
    "lstm": lambda size: (Sentiment(), [tensors(*own) for own in sentences(size)]),
    "gpt2-128": lambda size: (Gpt2(), [tensors(*texts(size, 128))]),
    "resnet50": lambda size: (resnet50(), [tensors(*photographs(size))]),
}


def make(model, batch_size, threads):
    set_threads(threads)
    return make_calls(*MODELS[model](batch_size))


def set_threads(threads):
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:  # only to be set once
        torch.set_num_interop_threads(1)


def make_calls(network, batches):
    """Return forward and gradient of a network on batches (inputs, labels)."""
    parameters = [value for value in network.parameters() if value.requires_grad]

    def forward(index):
        inputs, labels = batches[index]
        with torch.no_grad():
            return cross_entropy(network(*inputs), labels)

    def gradient(index):
        inputs, labels = batches[index]
        loss = cross_entropy(network(*inputs), labels)
        return loss, torch.autograd.grad(loss, parameters)

    return Calls(forward, gradient, lambda: None, len(batches))


if __name__ == "__main__":
    main(make, MODELS)
