"""ResNet-50 of torchvision and GPT-2 of transformers, with random weights, in eager mode.

For an interpreter that has torch, torchvision and transformers; `alternation.py published MODULE
VARIANT resnet50` holds an adapter against it. Batch normalization keeps its running averages and
GPT-2 drops nothing.
"""

import torch
import torchvision
import transformers
from drawing import photographs, texts
from loop import Calls, main
from torch import nn
from torch_loop import cross_entropy, tensors


class Gpt2(nn.Module):
    """Tokens (batch, time) to logits (batch, time, vocabulary)."""

    def __init__(self):
        super().__init__()
        configuration = transformers.GPT2Config(
            attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, use_cache=False
        )
        self.network = transformers.GPT2LMHeadModel(configuration)

    def forward(self, tokens):
        return self.network(tokens).logits


MODELS = {
    "gpt2-128": lambda size: (Gpt2(), [tensors(*texts(size, 128))]),
    "resnet50": lambda size: (torchvision.models.resnet50(), [tensors(*photographs(size))]),
}


def make(model, batch_size, threads):
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:  # only to be set once
        torch.set_num_interop_threads(1)
    network, batches = MODELS[model](batch_size)
    parameters = list(network.parameters())

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
