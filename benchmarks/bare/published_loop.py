"""ResNet-50 of torchvision and GPT-2 of transformers, with random weights, in eager mode.

For an interpreter that has torch, torchvision and transformers; `alternation.py published MODULE
VARIANT resnet50` holds an adapter against it. Batch normalization keeps its running averages and
GPT-2 drops nothing.
"""

import torchvision
import transformers
from drawing import photographs, texts
from loop import main
from torch import nn
from torch_loop import make_calls, set_threads, tensors


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
    set_threads(threads)
    return make_calls(*MODELS[model](batch_size))


if __name__ == "__main__":
    main(make, MODELS)
