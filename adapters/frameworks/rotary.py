"""Rotary positions: the constants that every adapter rotates by. The reference computes its own."""

from typing import Tuple

import numpy


def compute_rotations(base: float, steps: int, half: int) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return (cosines, sines), each (steps, half) float64, of the angles step * base^(-i / half).

    half: of the values of a head; velodrome.adapters.models.step_layers.Attention has the formula.
    """
    rates = base ** (-numpy.arange(half) / float(half))
    angles = numpy.arange(steps)[:, None] * rates
    return numpy.cos(angles), numpy.sin(angles)
