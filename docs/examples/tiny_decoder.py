"""A small decoder, written as modules of Hugging Face are: the output has the loss."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

FRAMEWORK = "torch"
NAME = "tiny-decoder"
BATCH_SIZE = 4
TOKENS, WORDS, WIDTH, HEADS, LAYERS = 16, 64, 32, 4, 2
FORWARD_FLOPS = 2 * TOKENS * (LAYERS * (12 * WIDTH * WIDTH + TOKENS * WIDTH) + WIDTH * WORDS)
GRADIENT_FLOPS = 3 * FORWARD_FLOPS


@dataclass
class Output:
    loss: torch.Tensor
    logits: torch.Tensor


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        heads = self.mix(self.norm1(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.words.weight

    def predict(self, input_ids):
        x = self.words(input_ids) + self.places.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def forward(self, input_ids, labels):
        logits = self.predict(input_ids)
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return Output(loss, logits)


def make():
    return Decoder()


def batch(size, draw):
    tokens = draw.randint(0, WORDS, (size, TOKENS))
    return {"input_ids": tokens, "labels": tokens}


def inference(module, batch):
    return module.predict(batch["input_ids"])
