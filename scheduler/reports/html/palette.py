"""Which colour, shape and dash each contestant has in every figure of a page.

Colours are those of Okabe and Ito (Color Universal Design, 2008), named as variables of the style
sheet, which has a set for light and one for dark paper. Shape and dash say the same again, so that
nothing is told by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cells import Implementation

COLOURS = 7  # --series-0 ... --series-6 in style.css
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))


@dataclass(frozen=True)
class SeriesStyle:
    """How one contestant is drawn. dash: lengths of line and gap."""

    label: str
    colour: str
    shape: str
    dash: tuple[int, ...]


def palette(implementations: Sequence[Implementation]) -> tuple[SeriesStyle, ...]:
    """One each, in their order: a framework's colour and shape, its variant's dash."""
    frameworks = list(dict.fromkeys(impl.framework for impl in implementations))
    variants: dict[str, int] = {}
    marks = []
    for impl in implementations:
        place = frameworks.index(impl.framework)
        variant = variants[impl.framework] = variants.get(impl.framework, -1) + 1
        colour = f"var(--series-{place % COLOURS})"
        shape = SHAPES[(place + place // COLOURS + variant) % len(SHAPES)]
        marks.append(SeriesStyle(impl.label, colour, shape, DASHES[variant % len(DASHES)]))
    return tuple(marks)
