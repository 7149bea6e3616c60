"""Distributions of the times of two sides of a comparison of unchanged cells."""

from collections.abc import Callable

import numpy as np

Draw = np.random.Generator
Side = np.ndarray
Sides = tuple[Side, Side]
Shape = tuple[int, int, int]  # trials, cells, repeats


def draw_spread(share: float) -> Callable[[Draw, Shape], Sides]:
    return lambda draw, shape: make_sides(lambda: share * draw.standard_normal(shape))


def make_sides(side: Callable[[], Side]) -> Sides:
    return side(), side()


def draw_scaled(draw: Draw, shape: Shape, spreads: Side) -> Sides:
    """Draw two sides. spreads: of each cell of each trial."""
    return make_sides(lambda: spreads[..., None] * draw.standard_normal(shape))


def draw_varied(draw: Draw, shape: Shape) -> Sides:
    """Draw spreads of 0.5 to 2 %, uniform on a logarithmic scale."""
    return draw_scaled(draw, shape, 0.005 * 4 ** draw.random(shape[:2]))


def draw_one_noisy(draw: Draw, shape: Shape) -> Sides:
    """Draw with spread 1 %, one cell with 10 %."""
    spreads = np.full(shape[:2], 0.01)
    spreads[:, 0] = 0.1
    return draw_scaled(draw, shape, spreads)


def draw_tenth_noisy(draw: Draw, shape: Shape) -> Sides:
    """Draw with spread 1 %, a tenth of the cells with 3 %."""
    spreads = np.full(shape[:2], 0.01)
    spreads[:, : max(1, shape[1] // 10)] = 0.03
    return draw_scaled(draw, shape, spreads)


def draw_heavy(draw: Draw, shape: Shape) -> Sides:
    """Draw Student's t of 3 degrees, times 1 %: one process in 50 is off by 5 % or more."""
    return make_sides(lambda: 0.01 * draw.standard_t(3, shape))


def draw_interference(draw: Draw, shape: Shape) -> Sides:
    """Draw with spread 1 %; one process in ten is slower by 5 % in the mean."""
    return make_sides(
        lambda: (
            0.01 * draw.standard_normal(shape)
            + (draw.random(shape) < 0.1) * draw.exponential(0.05, shape)
        )
    )


def draw_bimodal(share: float, noise: float, gap: float = 0.05) -> Callable[[Draw, Shape], Sides]:
    """Draw bimodal cells. share: of the cells, at least one; both modes have half the processes."""

    def side(draw: Draw, shape: Shape) -> Side:
        values = noise * draw.standard_normal(shape)
        count = max(1, round(share * shape[1]))
        values[:, :count] += gap * (draw.random((shape[0], count, shape[2])) < 0.5)
        return values

    return lambda draw, shape: make_sides(lambda: side(draw, shape))


def draw_drift(draw: Draw, shape: Shape) -> Sides:
    """Draw 1 % of process noise, and 2 % of drift that neighbours share, in mirrored rounds."""
    rounds = np.cumsum(0.02 * draw.standard_normal((shape[0], 1, shape[2])), axis=-1)
    return make_sides(lambda: 0.01 * draw.standard_normal(shape) + rounds)


WITHIN = {
    "spread 1 %": draw_spread(0.01),
    "spread 3 %": draw_spread(0.03),
    "spread 0.5 to 2 %": draw_varied,
    "1 %, one cell 10 %": draw_one_noisy,
    "1 %, a tenth of the cells 3 %": draw_tenth_noisy,
    "heavy tails (t of 3 degrees)": draw_heavy,
    "one process in ten disturbed": draw_interference,
    "two kinds 5 % apart: all cells, noise 0.5 %": draw_bimodal(1, 0.005),
    "two kinds 5 % apart: all cells, noise 1 %": draw_bimodal(1, 0.01),
    "two kinds 5 % apart: a quarter, noise 0.5 %": draw_bimodal(0.25, 0.005),
    "two kinds 5 % apart: a quarter, noise 1 %": draw_bimodal(0.25, 0.01),
    "two kinds 5 % apart: one cell, noise 0.5 %": draw_bimodal(0, 0.005),
    "spread 1 %, shared drift 2 % a round": draw_drift,
}
