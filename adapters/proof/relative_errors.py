"""Relative errors of results against expected ones."""

import numpy


def compute_relative_error(value: float, expected: float) -> float:
    """Return |value - expected| / |expected|; of an expected 0, |value|."""
    return abs(value - expected) / abs(expected) if expected else abs(value)


def measure_distance(found: numpy.ndarray, expected: numpy.ndarray) -> float:
    """Return |found - expected| / |expected|, of arrays or of their sketches."""
    distance = float(numpy.linalg.norm(found - expected))
    length = float(numpy.linalg.norm(expected))
    return distance / length if length else (0.0 if distance == 0.0 else float("inf"))
