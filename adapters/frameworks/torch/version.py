"""The release of torch that is imported, to choose between forms of an operation."""

import torch

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])  # e.g. (2, 13)
