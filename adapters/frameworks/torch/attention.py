"""Self-attention in torch, by scaled_dot_product_attention, over sequences (batch, time, n)."""

import torch
from torch import nn
from torch.nn import functional

from velodrome.adapters.frameworks.rotary import compute_rotations
from velodrome.adapters.frameworks.torch.version import RELEASE

SHARES_HEADS = RELEASE >= (2, 5)  # scaled_dot_product_attention takes fewer keys than queries


class MaskModule(nn.Module):
    """The keys that are true steps, (batch, 1, 1, time), from tokens and their lengths (batch,)."""

    def forward(self, tokens, lengths):
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        return (steps < lengths[:, None])[:, None, None]


class AttentionModule(nn.Module):
    """Self-attention, from x (batch, time, n) and, of padded sequences, MaskModule's mask.

    Causal attention is given no mask: padding stands behind all true steps.
    """

    def __init__(self, layer, source):
        super(AttentionModule, self).__init__()
        self.steps, n = source
        self.causal, self.rotary = layer.causal, layer.rotary
        self.size = n // layer.heads
        shared = layer.key_value_heads or layer.heads
        self.parts = (n, shared * self.size, shared * self.size)
        self.repeats = layer.heads // shared
        for role in ("bias_input", "bias_output"):
            self.register_parameter(role, None)

    def settle(self):
        """Keep the tables of rotary positions in float32, beside the weights."""
        if not self.rotary:
            return
        tables = compute_rotations(self.rotary, self.steps, self.size // 2)
        for role, table in zip(("cosine", "sine"), tables):
            on_device = torch.from_numpy(table).float().to(self.weight_input.device)
            self.register_buffer(role, on_device)

    def forward(self, x, mask=None):
        product = functional.linear(x, self.weight_input, self.bias_input)
        query, key, value = (self._split(part) for part in product.split(self.parts, dim=2))
        if self.rotary:
            query, key = self._rotate(query), self._rotate(key)
        mixed = self._attend(query, key, value, mask)
        return functional.linear(
            mixed.transpose(1, 2).flatten(2), self.weight_output, self.bias_output
        )

    def _split(self, x):
        """Split (batch, time, n) to (batch, heads, time, n / heads)."""
        return x.unflatten(2, (-1, self.size)).transpose(1, 2)

    def _rotate(self, x):
        """Rotate each pair by its step's angle, in float32: the tables are float32."""
        cosine, sine = self.cosine[: x.shape[2]], self.sine[: x.shape[2]]
        first, second = x.chunk(2, dim=3)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=3)

    def _attend(self, query, key, value, mask):
        options = {"attn_mask": mask, "is_causal": self.causal}
        if self.repeats > 1 and SHARES_HEADS:
            options["enable_gqa"] = True
        elif self.repeats > 1:
            key, value = (own.repeat_interleave(self.repeats, dim=1) for own in (key, value))
        return functional.scaled_dot_product_attention(query, key, value, **options)
