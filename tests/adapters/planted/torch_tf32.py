"""PyTorch with the operands of every product rounded to TF32: 10 bits of mantissa."""

from torch_rounding import rounded_to

Adapter = rounded_to(10)
