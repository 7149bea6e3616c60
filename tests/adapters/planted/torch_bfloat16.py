"""PyTorch with the operands of every product rounded to bfloat16: 7 bits of mantissa."""

from torch_rounding import rounded_to

Adapter = rounded_to(7)
