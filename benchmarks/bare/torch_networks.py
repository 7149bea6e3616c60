"""GPT-2 small and ResNet-50 (v1.5) as PyTorch modules, by nn.Module's own layers.

Their sizes are the published ones: 124.4 and 25.6 million parameters. No running statistics are
kept and nothing is dropped, as in Velodrome's models of these names.
"""

import torch
from torch import nn
from torch.nn import functional

VOCABULARY, POSITIONS, WIDTH, HEADS, BLOCKS = 50257, 1024, 768, 12, 12
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # maps, blocks, stride
EXPANSION = 4


class CausalAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(WIDTH, 3 * WIDTH)
        self.outer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, time, _ = x.shape
        parts = self.inner(x).view(batch, time, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.outer(mixed.transpose(1, 2).reshape(batch, time, WIDTH))


class DecoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(WIDTH), CausalAttention())
        self.feed = nn.Sequential(
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * WIDTH, WIDTH),
        )

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.feed(x)


class Gpt2(nn.Module):
    """Tokens (batch, time) to logits (batch, time, vocabulary)."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(POSITIONS, WIDTH)
        self.blocks = nn.Sequential(*(DecoderBlock() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, tokens):
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        return functional.linear(self.norm(self.blocks(x)), self.words.weight)


def convolution(before, maps, kernel, stride=1):
    """Return a convolution without a bias, and its batch normalization."""
    return nn.Sequential(
        nn.Conv2d(before, maps, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(maps, track_running_stats=False),
    )


class Bottleneck(nn.Module):
    def __init__(self, before, maps, stride):
        super().__init__()
        self.first = convolution(before, maps, 1)
        self.second = convolution(maps, maps, 3, stride)
        self.third = convolution(maps, maps * EXPANSION, 1)
        changes = stride != 1 or before != maps * EXPANSION
        self.shortcut = (
            convolution(before, maps * EXPANSION, 1, stride) if changes else nn.Identity()
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.second(self.relu(self.first(x))))
        return self.relu(self.third(y) + self.shortcut(x))


def resnet50():
    before, blocks = 64, []
    for maps, count, stride in STAGES:
        for number in range(count):
            blocks.append(Bottleneck(before, maps, 1 if number else stride))
            before = maps * EXPANSION
    return nn.Sequential(
        convolution(3, 64, 7, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(before, 1000),
    )
